//! An event channel of Linux, `/dev/xen/evtchn`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use xs_proto::DomId;

use super::channel::EventChannel;
use crate::sys::{self, Epoll, Waker};

/// An event channel of Linux: a port of `/dev/xen/evtchn`, with a descriptor of its own.
pub struct EvtchnChannel {
    device: Box<dyn EventDevice>,
    port: u32,
    /// Readable after [`raise`](EventChannel::raise).
    raised: Waker,
    /// Readable while the device or `raised` is.
    both: Epoll,
}

/// An open non-blocking device: the kernel's, or a simulated one.
trait EventDevice: Send + Sync {
    fn notify(&self, port: u32) -> io::Result<()>;
    /// Reads the numbers of the pending ports, each as a u32. The device masks these ports.
    fn read(&self, ports: &mut [u8]) -> io::Result<usize>;
    /// Unmasks ports.
    fn write(&self, ports: &[u8]) -> io::Result<usize>;
    fn fd(&self) -> BorrowedFd<'_>;
}

impl EventDevice for File {
    fn notify(&self, port: u32) -> io::Result<()> {
        sys::evtchn_notify(self.as_fd(), port)
    }

    fn read(&self, ports: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, ports)
    }

    fn write(&self, ports: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, ports)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl EvtchnChannel {
    /// Opens the device at `path`, usually `/dev/xen/evtchn`, and binds a local port to the port
    /// `remote`, which the domain `domid` has offered to this domain.
    ///
    /// # Errors
    /// The error of open(2), or of the device: ESRCH if there is no such domain, EINVAL if it does
    /// not offer the port or the port is bound already.
    pub fn bind(path: impl AsRef<Path>, domid: DomId, remote: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path)?;
        let port = sys::evtchn_bind(file.as_fd(), domid.get(), remote)?;
        Self::with_device(file, port)
    }

    /// Creates a channel from an open descriptor of the device. Only the local port `port` must be
    /// bound to it.
    ///
    /// # Errors
    /// Fails if the descriptor cannot be made non-blocking, or if the system has no descriptors
    /// left.
    pub fn from_fd(fd: OwnedFd, port: u32) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd(), true)?;
        Self::with_device(File::from(fd), port)
    }

    fn with_device(device: impl EventDevice + 'static, port: u32) -> io::Result<Self> {
        let raised = Waker::new()?;
        let both = Epoll::new(&[device.fd(), raised.descriptor()])?;
        Ok(EvtchnChannel { device: Box::new(device), port, raised, both })
    }
}

impl EventChannel for EvtchnChannel {
    fn notify(&self) -> io::Result<()> {
        self.device.notify(self.port)
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        sys::poll([(self.both.descriptor(), libc::POLLIN)], deadline).map(|_| ())
    }

    fn clear(&self) -> io::Result<()> {
        self.raised.clear();
        let mut ports = [0; 64];
        loop {
            match self.device.read(&mut ports) {
                Ok(0) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(len) => {
                    self.device.write(&ports[..len])?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn raise(&self) {
        self.raised.wake();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.both.descriptor())
    }
}

impl fmt::Debug for EvtchnChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvtchnChannel").field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    /// A socket in place of the device. Its other end sends pending ports, and receives unmasked
    /// and notified ones.
    struct Socket(UnixStream);

    impl EventDevice for Socket {
        fn notify(&self, port: u32) -> io::Result<()> {
            (&self.0).write_all(&(port | NOTIFIED).to_ne_bytes())
        }

        fn read(&self, ports: &mut [u8]) -> io::Result<usize> {
            (&self.0).read(ports)
        }

        fn write(&self, ports: &[u8]) -> io::Result<usize> {
            (&self.0).write(ports)
        }

        fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    const NOTIFIED: u32 = 1 << 31;

    fn channel(port: u32) -> (EvtchnChannel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (EvtchnChannel::with_device(Socket(ours), port).unwrap(), theirs)
    }

    fn next(device: &mut UnixStream) -> u32 {
        let mut port = [0; 4];
        device.read_exact(&mut port).unwrap();
        u32::from_ne_bytes(port)
    }

    fn is_pending(channel: &EvtchnChannel) -> bool {
        let fds = [(channel.fd().unwrap(), libc::POLLIN)];
        sys::poll(fds, Some(Instant::now())).unwrap() != [0]
    }

    #[test]
    fn port_is_unmasked_when_its_event_is_cleared() {
        let (channel, mut device) = channel(7);
        assert!(!is_pending(&channel));
        device.write_all(&7_u32.to_ne_bytes()).unwrap();
        channel.wait(None).unwrap();
        assert!(is_pending(&channel));
        channel.clear().unwrap();
        assert!(!is_pending(&channel));
        assert_eq!(next(&mut device), 7);
        channel.notify().unwrap();
        assert_eq!(next(&mut device), 7 | NOTIFIED);
    }

    #[test]
    fn raised_events_are_cleared_without_a_port() {
        let (channel, mut device) = channel(7);
        channel.raise();
        channel.wait(None).unwrap();
        channel.clear().unwrap();
        assert!(!is_pending(&channel));
        channel.notify().unwrap();
        assert_eq!(next(&mut device), 7 | NOTIFIED, "nothing was unmasked");
        let deadline = Instant::now() + Duration::from_millis(2);
        channel.wait(Some(deadline)).unwrap();
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn other_descriptors_are_no_event_channels() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let channel = EvtchnChannel::from_fd(ours.into(), 7).unwrap();
        assert!(channel.notify().is_err());
    }
}
