//! The kernel's device.

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

use crate::sys;
use crate::transport::{Interest, Sent, Transport, Wait};
use crate::waker::Waker;

/// The largest payload that the device takes, in bytes: the kernel's buffer holds 4096, and the
/// header is among them. What comes back may be larger.
pub const DEVICE_PAYLOAD_MAX: usize = PAYLOAD_MAX - Header::LEN;

/// The kernel's way to the xenstored, usually `/dev/xen/xenbus`: the only one that a guest has.
///
/// It looks like a socket and is none. Behind each descriptor the kernel has one buffer, which
/// takes a message and is in use until the reply has come; behind all of them it has the one
/// connection of the domain. This is what follows, and who keeps to it:
///
/// | on the device | kept to by |
/// |---|---|
/// | a request that is written while another has no answer spoils that one; if it is a WATCH or an UNWATCH, Xenstore is dead for the whole domain | [`Limits::one_at_a_time`] |
/// | what follows the first message of a write is dropped | [`Limits::one_at_a_time`] |
/// | a payload beyond [`DEVICE_PAYLOAD_MAX`] is refused | [`Limits::payload`] |
/// | RESET_WATCHES ends the watches and transactions of all descriptors | [`Limits::shared_session`] |
/// | TRANSACTION_END without a transaction is never answered | `ClientConnection` |
/// | old kernels answer WATCH and UNWATCH with id 0; watch events have any ids | `ClientConnection` |
/// | a WATCH that the daemon refuses fails in write(2) and has no reply | [`Sent::Refused`] |
/// | a read of length 0 never ends | [`recv`](Transport::recv) |
/// | poll(2) never says that it can be written to, and it always can | [`wait`](Transport::wait) |
///
/// What the daemon says to WATCH comes through the kernel as a number. One that the kernel does not
/// know, oxenstored's EQUOTA, arrives as EINVAL.
///
/// A blocking request costs three system calls: write, poll, read. The second cannot be spared,
/// because no other thread could end a read that waits.
///
/// Suspending and resuming a domain asks nothing of who waits here. The kernel lets all replies
/// in first and holds new requests back until it is over, then sets the watches again, each of
/// which fires. Only transactions do not outlive it: their commit fails with EAGAIN.
///
/// ```no_run
/// use xs_transport::XenbusTransport;
///
/// let transport = XenbusTransport::open("/dev/xen/xenbus")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct XenbusTransport {
    device: Box<dyn Device>,
    name: String,
    /// The type of a message of which the device has taken a part. Only the sender looks at it.
    half_sent: Mutex<Option<u32>>,
    closed: AtomicBool,
    /// Ends every wait once this side has closed; never cleared.
    closing: Waker,
    waker: Waker,
}

/// An open device, non-blocking: the kernel's, or what stands in for it.
pub(crate) trait Device: Debug + Send + Sync {
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// For poll(2).
    fn fd(&self) -> BorrowedFd<'_>;
}

impl Device for File {
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
    /// Opens the device at `path`; [`discover`](crate::discover) knows the usual ones.
    ///
    /// # Errors
    /// As of open(2): `PermissionDenied`, because it is for root alone; `NotFound`.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // The standard library adds O_CLOEXEC.
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Self::with_device(file, path.display().to_string())
    }

    /// Takes a descriptor of the device that is open already, by a process that was allowed to,
    /// say; `name` tells people which. Nobody else may use the descriptor.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn from_fd(fd: OwnedFd, name: impl Into<String>) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd())?;
        Self::with_device(File::from(fd), name.into())
    }

    pub(crate) fn with_device(device: impl Device + 'static, name: String) -> io::Result<Self> {
        Ok(XenbusTransport {
            device: Box::new(device),
            name,
            half_sent: Mutex::new(None),
            closed: AtomicBool::new(false),
            closing: Waker::new()?,
            waker: Waker::new()?,
        })
    }

    /// Waits for something to read, a wake or the close; says whether it was woken.
    fn poll(&self, wait: Wait) -> io::Result<bool> {
        let fds = [self.device.fd(), self.closing.as_fd(), self.waker.as_fd()];
        let [_, _, woken] = sys::poll(fds.map(|fd| (fd, libc::POLLIN)), wait)?;
        if woken != 0 {
            self.waker.clear();
        }
        Ok(woken != 0)
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
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                *half_sent = msg_type;
                Err(error)
            }
            Err(error) => match refusal(msg_type, error.raw_os_error()) {
                Some(code) => Ok(Sent::Refused(code)),
                None => Err(error),
            },
        }
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        if buf.is_empty() {
            // The kernel would never come back from it.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let woken = wait != Wait::No && self.poll(wait)?;
        if self.closed.load(Ordering::Acquire) {
            return Ok(0);
        }
        match self.device.read(buf) {
            // The time is not over.
            Err(error) if woken && error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::Interrupted.into())
            }
            result => result,
        }
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        if interest.send() {
            return Ok(());
        }
        match self.poll(Wait::Until(deadline)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
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

/// What a failed write(2) says about the message that it would have completed; `None`: that it
/// was not the message's fault, and that the device is of no use any more.
fn refusal(msg_type: Option<u32>, errno: Option<i32>) -> Option<ErrorCode> {
    let errno = errno?;
    let (_, name) = ERRNOS.iter().find(|(number, _)| *number == errno)?;
    // The kernel does these two itself, and passes on what the daemon said. Other messages it
    // only looks at. None of its errors means "later": there is nothing that could be waited for.
    let asked_the_daemon =
        [MessageType::Watch, MessageType::Unwatch].iter().any(|&t| msg_type == Some(t as u32));
    let looked_at = matches!(errno, libc::EINVAL | libc::E2BIG | libc::ENOMEM | libc::EAGAIN);
    (asked_the_daemon || looked_at).then(|| ErrorCode::from_name(name))
}

/// What the kernel makes of a daemon's error; of one that it does not know, EINVAL.
#[cfg(feature = "mock")]
pub(crate) fn errno(code: &ErrorCode) -> i32 {
    let known = ERRNOS.iter().find(|(_, name)| *name == code.name());
    known.map_or(libc::EINVAL, |(number, _)| *number)
}

/// The errors that a daemon answers with (`xsd_errors` in `xs_wire.h`), by the system's number.
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A socket in the device's place: both are descriptors that can be read, written and polled.
    fn pair() -> (XenbusTransport, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (XenbusTransport::from_fd(ours.into(), "a pair").unwrap(), theirs)
    }

    #[test]
    fn an_answer_to_watch_is_no_lost_connection() {
        let watch = Some(MessageType::Watch as u32);
        let unwatch = Some(MessageType::Unwatch as u32);
        for (errno, name) in ERRNOS {
            let code = refusal(watch, Some(*errno)).unwrap();
            assert_eq!(code.name(), *name);
            assert!(!matches!(code, ErrorCode::Other(_)), "{name}");
            assert_eq!(refusal(unwatch, Some(*errno)), Some(code));
        }
        // Every error of xs_wire.h; oxenstored's EQUOTA has no number.
        assert_eq!(ERRNOS.len(), ErrorCode::KNOWN.len() - 1);
        for errno in [libc::EBADF, libc::EFAULT, libc::ENODEV, libc::ENXIO, libc::EPIPE] {
            assert_eq!(refusal(watch, Some(errno)), None);
        }
    }

    #[test]
    fn other_messages_are_refused_only_for_what_they_are() {
        for msg_type in [Some(MessageType::Read as u32), None] {
            assert_eq!(refusal(msg_type, Some(libc::E2BIG)), Some(ErrorCode::TooBig));
            assert_eq!(refusal(msg_type, Some(libc::EINVAL)), Some(ErrorCode::Invalid));
            for errno in [libc::EIO, libc::EACCES, libc::EBADF, libc::ENODEV] {
                assert_eq!(refusal(msg_type, Some(errno)), None);
            }
        }
    }

    #[test]
    fn waiting_ends_at_the_deadline_with_a_wake_and_with_the_close() {
        let (transport, _theirs) = pair();
        let mut buf = [0; 16];
        let soon = Some(Instant::now() + Duration::from_millis(5));
        let error = transport.recv(&mut buf, Wait::Until(soon)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);

        // The time is not over then, and who counts it must not think so.
        for wait in [Wait::Long, Wait::Until(None), Wait::UntilWoken(None)] {
            transport.wake();
            let error = transport.recv(&mut buf, wait).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        }

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
        assert_eq!(transport.recv(&mut buf, Wait::No).unwrap(), 0);
        assert!(transport.send(&[0; 16]).is_err());
    }

    #[test]
    fn it_can_always_be_written_to_and_never_read_for_nothing() {
        let (transport, theirs) = pair();
        // As long as the other end takes nothing, a socket would wait.
        theirs.set_nonblocking(true).unwrap();
        transport.wait(Interest::Send, None).unwrap();
        transport.wait(Interest::Both, None).unwrap();
        let error = transport.recv(&mut [], Wait::Until(None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
