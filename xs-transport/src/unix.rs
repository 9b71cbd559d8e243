//! The transport over a Unix socket.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::{self, Waker};
use crate::transport::{Interest, Sent, Transport, Wait};

/// A connection to the Unix socket of a Xenstore daemon, usually `/run/xenstored/socket`.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use xs_transport::{Sent, Transport, UnixTransport, Wait};
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let transport = UnixTransport::from_stream(ours, "a pair")?;
/// assert_eq!(transport.send(b"hello")?, Sent::Bytes(5));
/// # use std::io::Write;
/// (&theirs).write_all(b"hi")?;
/// let mut buf = [0; 16];
/// assert_eq!(transport.recv(&mut buf, Wait::Until(None))?, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixTransport {
    stream: UnixStream,
    name: String,
    /// This transport has created the open file, so no duplicate of its descriptor can change the
    /// receive timeout.
    owns_open_file: bool,
    /// Created with the connection: later the process may have no descriptor left.
    waker: Waker,
}

/// The receive timeout of the socket (SO_RCVTIMEO).
///
/// A poll(2) before each receive would double the system calls of a round trip. A wait that may
/// last at least this long therefore begins in recv(2), which this timeout ends at the latest, and
/// goes on in poll(2). Waits with a nearer deadline use only poll(2). So do all waits with a deadline
/// on a socket that the caller has opened: the owner of a duplicate may have made the timeout longer.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between attempts to connect, on systems where connect(2) does not wait by itself.
const RETRY: Duration = Duration::from_millis(10);

impl UnixTransport {
    /// Connects to the socket at `path`, waiting for at most `timeout`.
    ///
    /// Xenstore daemons listen with a queue of one, so an attempt may have to wait while other
    /// clients connect.
    ///
    /// # Errors
    /// `TimedOut` if the daemon did not accept the connection in time. Otherwise the error of
    /// connect(2), such as `NotFound`, `ConnectionRefused` or `PermissionDenied`.
    pub fn connect(path: impl AsRef<Path>, timeout: Duration) -> io::Result<Self> {
        let path = path.as_ref();
        // A timeout that overflows the clock never ends.
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
        loop {
            let left = left();
            match sys::connect_unix(path, left) {
                Ok(fd) => return Self::new(fd.into(), path.display().to_string(), true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if left.is_zero() {
                        return Err(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "the daemon did not accept the connection in time",
                        ));
                    }
                    thread::sleep(RETRY.min(left));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Creates a transport from a connected socket. [`describe`](Transport::describe) returns
    /// `name`.
    ///
    /// Each receive with a deadline needs one system call more than on a socket from
    /// [`connect`](Self::connect), because duplicates of the descriptor share its receive timeout.
    ///
    /// # Errors
    /// The error of making the socket blocking, of setting its receive timeout, or of creating the
    /// descriptors with which other threads end a wait.
    pub fn from_stream(stream: UnixStream, name: impl Into<String>) -> io::Result<Self> {
        Self::new(stream, name.into(), false)
    }

    fn new(stream: UnixStream, name: String, owns_open_file: bool) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        sys::set_no_signal(&stream)?;
        stream.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        Ok(UnixTransport { stream, name, owns_open_file, waker: Waker::new()? })
    }

    /// Returns whether a wait may block in recv(2) without missing its deadline.
    fn may_block_in_recv(&self, deadline: Option<Instant>) -> bool {
        let is_far = |at: Instant| at.saturating_duration_since(Instant::now()) >= RECEIVE_TIMEOUT;
        deadline.is_none_or(|at| self.owns_open_file && is_far(at))
    }
}

impl Transport for UnixTransport {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        sys::send(&self.stream, bytes).map(Sent::Bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        match wait {
            Wait::No => {}
            Wait::Until(deadline) if self.may_block_in_recv(deadline) => {
                match sys::recv(&self.stream, buf) {
                    // The receive timeout has passed, or the owner of a duplicate has set O_NONBLOCK
                    // or a shorter timeout. Only poll(2) waits in either case.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        sys::poll([(self.stream.as_fd(), libc::POLLIN)], deadline)?;
                    }
                    result => return result,
                }
            }
            Wait::Until(deadline) => {
                sys::poll([(self.stream.as_fd(), libc::POLLIN)], deadline)?;
            }
            Wait::UntilWoken(deadline) => self.wait(Interest::Receive, deadline)?,
        }
        sys::recv_now(&self.stream, buf)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        let mut events = 0;
        if interest.receive() {
            events |= libc::POLLIN;
        }
        if interest.send() {
            events |= libc::POLLOUT;
        }
        let fds = [(self.stream.as_fd(), events), (self.waker.descriptor(), libc::POLLIN)];
        let [_, woken] = match sys::poll(fds, deadline) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        if woken != 0 {
            self.waker.clear();
        }
        Ok(())
    }

    fn wake(&self) {
        self.waker.wake();
    }

    fn close(&self) {
        // Ends recv(2) and poll(2) in other threads. Fails only if the peer is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.stream.as_fd())
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

impl fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixTransport").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn connect_timeout_may_overflow_the_clock() {
        let path = std::env::temp_dir().join(format!("xs-unix-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let connected = UnixTransport::connect(&path, Duration::MAX);
        fs::remove_file(&path).unwrap();
        connected.unwrap();
        drop(listener);
    }

    #[test]
    fn waits_block_in_recv_only_if_the_deadline_allows() {
        let now = Instant::now();
        for owns_open_file in [true, false] {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let transport = UnixTransport::new(ours, "a pair".into(), owns_open_file).unwrap();
            assert!(transport.may_block_in_recv(None));
            let far = Some(now + 2 * RECEIVE_TIMEOUT);
            assert_eq!(transport.may_block_in_recv(far), owns_open_file);
            for near in [now, now + RECEIVE_TIMEOUT / 2] {
                assert!(!transport.may_block_in_recv(Some(near)));
            }
        }
    }

    /// The flag O_NONBLOCK and the receive timeout belong to the open file, which the owner of a
    /// duplicate can change.
    #[test]
    fn waits_last_until_bytes_arrive_whatever_duplicates_change() {
        let far = Some(Instant::now() + 3 * RECEIVE_TIMEOUT);
        let changes: [fn(&UnixStream); 2] = [
            |duplicate| duplicate.set_nonblocking(true).unwrap(),
            |duplicate| duplicate.set_read_timeout(Some(Duration::from_millis(1))).unwrap(),
        ];
        for change in changes {
            for wait in [Wait::Until(None), Wait::Until(far), Wait::UntilWoken(far)] {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let duplicate = ours.try_clone().unwrap();
                let transport = UnixTransport::from_stream(ours, "a pair").unwrap();
                change(&duplicate);
                let sending = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(30));
                    theirs.write_all(b"x").unwrap();
                    theirs
                });
                assert_eq!(transport.recv(&mut [0; 16], wait).ok(), Some(1), "{wait:?}");
                sending.join().unwrap();
            }
        }
    }

    #[test]
    fn near_deadlines_are_kept() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let transport = UnixTransport::from_stream(ours, "a pair").unwrap();
        for wait in [Wait::Until, Wait::UntilWoken] {
            let deadline = Instant::now() + Duration::from_millis(5);
            let error = transport.recv(&mut [0], wait(Some(deadline))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(Instant::now() >= deadline);
        }
    }
}
