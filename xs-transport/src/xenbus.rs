//! The transport over the kernel's xenbus device.

use std::fmt;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use xs_proto::{ErrorCode, Header, Limits, MessageType, PAYLOAD_MAX};

use crate::sys::{self, Waker};
use crate::transport::{Interest, Sent, Transport, Wait};

/// The largest payload that the device accepts, in bytes.
///
/// The kernel's buffer holds 4096 bytes, including the header. Replies may be larger.
pub const DEVICE_PAYLOAD_MAX: usize = PAYLOAD_MAX - Header::LEN;

/// A connection to the Xenstore daemon through the kernel's device, usually `/dev/xen/xenbus`.
///
/// A guest has no other connection. The device looks like a socket but does not behave like one.
/// The kernel has one buffer for each open descriptor; it holds one message and is in use until the
/// reply has arrived. All descriptors share the one connection of the domain. The consequences, and
/// the part of this workspace that handles each of them:
///
/// | behaviour of the device | handled by |
/// |---|---|
/// | A request written before the previous one is answered corrupts the previous one. If it is a WATCH or UNWATCH, Xenstore hangs for the whole domain. | [`Limits::one_at_a_time`] |
/// | Bytes after the first message of a write are dropped. | [`Limits::one_at_a_time`] |
/// | Payloads larger than [`DEVICE_PAYLOAD_MAX`] are rejected. | [`Limits::payload`] |
/// | RESET_WATCHES ends the watches and transactions of all descriptors. | [`Limits::shared_session`] |
/// | TRANSACTION_END without a transaction is never answered. | `ClientConnection` |
/// | Old kernels answer WATCH and UNWATCH with request id 0; the ids of watch events are arbitrary. | `ClientConnection` |
/// | A WATCH that the daemon rejects fails in write(2) and has no reply. | [`Sent::Refused`] |
/// | A read of length 0 never returns. | [`recv`](Transport::recv) |
/// | poll(2) never reports the device as writable, although it always is. | [`wait`](Transport::wait) |
///
/// The kernel passes on the daemon's error for a WATCH as a number. An error that the kernel does
/// not know, such as EQUOTA of oxenstored, becomes EINVAL.
///
/// A blocking request takes three system calls: write, poll and read. The poll is necessary,
/// because no other thread could end a blocking read.
///
/// Suspending and resuming the domain needs no action here. The kernel first waits for all replies
/// and holds back new requests. After the resume it sets the watches again, and each of them fires.
/// Transactions do not survive: their commit fails with EAGAIN.
///
/// ```no_run
/// use xs_transport::XenbusTransport;
///
/// let transport = XenbusTransport::open("/dev/xen/xenbus")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct XenbusTransport {
    device: Box<dyn DeviceFile>,
    name: String,
    /// The type of the message of which only a part has been sent. Used only by `send`.
    half_sent: Mutex<Option<u32>>,
    closed: AtomicBool,
    /// Ends all waits after [`close`](Transport::close); never cleared.
    closing: Waker,
    waker: Waker,
}

/// The operations on an open, non-blocking device: that of the kernel, or its stand-in.
pub(crate) trait DeviceFile: Debug + Send + Sync {
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// Returns the descriptor to poll.
    fn fd(&self) -> BorrowedFd<'_>;
}

impl DeviceFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buf)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl XenbusTransport {
    /// Opens the device at `path`. [`discover::DEVICES`](crate::discover::DEVICES) lists the usual
    /// paths.
    ///
    /// # Errors
    /// The error of open(2), such as `NotFound`, or `PermissionDenied`: only root may open it.
    /// Otherwise the error of creating the descriptors with which other threads end a wait.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Self::with_device(file, path.display().to_string())
    }

    /// Creates a transport from an open descriptor of the device, for example one that a privileged
    /// process has opened. [`describe`](Transport::describe) returns `name`.
    ///
    /// Nothing else may use a duplicate of the descriptor: all duplicates share one buffer in the
    /// kernel.
    ///
    /// # Errors
    /// The error of making the descriptor non-blocking, or of creating the descriptors with which
    /// other threads end a wait.
    pub fn from_fd(fd: OwnedFd, name: impl Into<String>) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd(), true)?;
        Self::with_device(File::from(fd), name.into())
    }

    pub(crate) fn with_device(device: impl DeviceFile + 'static, name: String) -> io::Result<Self> {
        Ok(XenbusTransport {
            device: Box::new(device),
            name,
            half_sent: Mutex::new(None),
            closed: AtomicBool::new(false),
            closing: Waker::new()?,
            waker: Waker::new()?,
        })
    }

    /// Waits for bytes to read, a wake-up, the close or the deadline.
    fn poll(&self, deadline: Option<Instant>) -> io::Result<()> {
        let fds = [self.device.fd(), self.closing.descriptor(), self.waker.descriptor()];
        let [_, _, woken] = sys::poll(fds.map(|fd| (fd, libc::POLLIN)), deadline)?;
        if woken != 0 {
            self.waker.clear();
        }
        Ok(())
    }
}

impl Transport for XenbusTransport {
    fn limits(&self) -> Limits {
        Limits::default()
            .with_payload(DEVICE_PAYLOAD_MAX)
            .with_one_at_a_time()
            .with_shared_session()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        if self.closed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut half_sent = self.half_sent.lock().unwrap_or_else(PoisonError::into_inner);
        let msg_type = half_sent.take().or_else(|| {
            bytes.first_chunk().map(|header: &[u8; Header::LEN]| Header::decode(header).msg_type)
        });
        match self.device.write(bytes) {
            Ok(n) => {
                if n < bytes.len() {
                    *half_sent = msg_type;
                }
                Ok(Sent::Bytes(n))
            }
            Err(error) => match refusal(msg_type, error.raw_os_error()) {
                Some(code) => Ok(Sent::Refused(code)),
                None => {
                    *half_sent = msg_type;
                    Err(error)
                }
            },
        }
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        if buf.is_empty() {
            // The kernel would never return.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(deadline) = wait.deadline() {
            self.poll(deadline)?;
        }
        if self.closed.load(Ordering::Acquire) {
            return Ok(0);
        }
        self.device.read(buf)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        if interest.send() {
            return Ok(());
        }
        match self.poll(deadline) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    fn wake(&self) {
        self.waker.wake();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.wake();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.device.fd())
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

/// Returns why the device rejected a message, given the error of the write(2) that would have
/// completed it. `None` if the error does not concern the message: the device is unusable.
fn refusal(msg_type: Option<u32>, errno: Option<i32>) -> Option<ErrorCode> {
    let errno = errno?;
    let (_, name) = ERRNOS.iter().find(|(number, _)| *number == errno)?;
    // The kernel sends WATCH and UNWATCH itself, waits for the reply and returns the daemon's
    // error. It only validates other messages. None of these errors, not even EAGAIN, means "try
    // later".
    let has_reply =
        [MessageType::Watch, MessageType::Unwatch].iter().any(|&t| msg_type == Some(t as u32));
    let is_validation = matches!(errno, libc::EINVAL | libc::E2BIG | libc::ENOMEM | libc::EAGAIN);
    (has_reply || is_validation).then(|| ErrorCode::from_name(name))
}

/// Returns the error number to which the kernel converts a daemon's error: EINVAL if unknown.
#[cfg(feature = "mock")]
pub(crate) fn errno(code: &ErrorCode) -> i32 {
    let known = ERRNOS.iter().find(|(_, name)| *name == code.name());
    known.map_or(libc::EINVAL, |(number, _)| *number)
}

/// The errors in a daemon's replies (`xsd_errors` in `xs_wire.h`), with their error numbers.
const ERRNOS: &[(i32, &str)] = &[
    (libc::EINVAL, "EINVAL"),
    (libc::EACCES, "EACCES"),
    (libc::EEXIST, "EEXIST"),
    (libc::EISDIR, "EISDIR"),
    (libc::ENOENT, "ENOENT"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EIO, "EIO"),
    (libc::ENOTEMPTY, "ENOTEMPTY"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::EROFS, "EROFS"),
    (libc::EBUSY, "EBUSY"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::EISCONN, "EISCONN"),
    (libc::E2BIG, "E2BIG"),
    (libc::EPERM, "EPERM"),
];

impl fmt::Debug for XenbusTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("XenbusTransport").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A transport over a socket instead of the device, and the other end of the socket.
    fn pair() -> (XenbusTransport, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (XenbusTransport::from_fd(ours.into(), "a pair").unwrap(), theirs)
    }

    #[test]
    fn failed_watch_writes_are_replies_of_the_daemon() {
        let watch = Some(MessageType::Watch as u32);
        let unwatch = Some(MessageType::Unwatch as u32);
        for (errno, name) in ERRNOS {
            let code = refusal(watch, Some(*errno)).unwrap();
            assert_eq!(code.name(), *name);
            assert!(!matches!(code, ErrorCode::Other(_)), "{name}");
            assert_eq!(refusal(unwatch, Some(*errno)), Some(code));
        }
        // All errors of xs_wire.h are listed. EQUOTA of oxenstored has no number.
        assert_eq!(ERRNOS.len(), ErrorCode::KNOWN.len() - 1);
        for errno in [libc::EBADF, libc::EFAULT, libc::ENODEV, libc::ENXIO, libc::EPIPE] {
            assert_eq!(refusal(watch, Some(errno)), None);
        }
    }

    #[test]
    fn other_failed_writes_are_rejections_only_if_the_message_is_invalid() {
        for msg_type in [Some(MessageType::Read as u32), None] {
            assert_eq!(refusal(msg_type, Some(libc::E2BIG)), Some(ErrorCode::TooBig));
            assert_eq!(refusal(msg_type, Some(libc::EINVAL)), Some(ErrorCode::Invalid));
            for errno in [libc::EIO, libc::EACCES, libc::EBADF, libc::ENODEV] {
                assert_eq!(refusal(msg_type, Some(errno)), None);
            }
        }
    }

    #[test]
    fn recv_returns_at_the_deadline() {
        let (transport, _theirs) = pair();
        let deadline = Instant::now() + Duration::from_millis(5);
        let error = transport.recv(&mut [0; 16], Wait::Until(Some(deadline))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn wake_ends_every_kind_of_wait() {
        let (transport, _theirs) = pair();
        for wait in [Wait::Until(None), Wait::UntilWoken(None)] {
            transport.wake();
            let error = transport.recv(&mut [0; 16], wait).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        transport.wake();
        transport.wait(Interest::Receive, None).unwrap();
    }

    #[test]
    fn close_ends_all_waits() {
        let (transport, _theirs) = pair();
        let transport = Arc::new(transport);
        let waits = [Wait::Until(None), Wait::UntilWoken(None)].map(|wait| {
            let transport = Arc::clone(&transport);
            thread::spawn(move || transport.recv(&mut [0; 16], wait).unwrap())
        });
        transport.close();
        for wait in waits {
            assert_eq!(wait.join().unwrap(), 0);
        }
        transport.wait(Interest::Receive, None).unwrap();
        assert_eq!(transport.recv(&mut [0; 16], Wait::No).unwrap(), 0);
        assert!(transport.send(&[0; 16]).is_err());
    }

    #[test]
    fn device_is_always_writable() {
        let (transport, _theirs) = pair();
        transport.wait(Interest::Send, None).unwrap();
        transport.wait(Interest::Both, None).unwrap();
    }

    #[test]
    fn empty_reads_are_rejected() {
        let (transport, _theirs) = pair();
        let error = transport.recv(&mut [], Wait::Until(None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
