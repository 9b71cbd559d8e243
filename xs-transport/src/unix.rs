//! The socket of a xenstored.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;
use crate::transport::{Interest, Sent, Transport, Wait};
use crate::waker::Waker;

/// A connection to the Unix socket of a xenstored, usually `/run/xenstored/socket`.
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
#[derive(Debug)]
pub struct UnixTransport {
    stream: UnixStream,
    name: String,
    /// Made when somebody waits in a way that can be interrupted.
    waker: OnceLock<Waker>,
}

/// Between two attempts to connect where the system does not wait by itself.
const RETRY: Duration = Duration::from_millis(10);

impl UnixTransport {
    /// Connects to the socket at `path`, until `timeout` is over.
    ///
    /// The daemons listen with a queue of one: while others connect, there may be no room.
    ///
    /// # Errors
    /// `TimedOut`: there was no room for so long. Others as of connect(2): `NotFound`,
    /// `ConnectionRefused`, `PermissionDenied`, …
    pub fn connect(path: impl AsRef<Path>, timeout: Duration) -> io::Result<Self> {
        let path = path.as_ref();
        // A timeout beyond what a clock can hold never ends.
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
        loop {
            let left = left();
            match sys::connect_unix(path, left) {
                Ok(fd) => return Self::from_stream(fd.into(), path.display().to_string()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if left.is_zero() {
                        return Err(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "the xenstored did not accept the connection in time",
                        ));
                    }
                    thread::sleep(RETRY.min(left));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a connection that exists already; `name` tells people which.
    ///
    /// # Errors
    /// The socket's timeout cannot be set.
    pub fn from_stream(stream: UnixStream, name: impl Into<String>) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        // Set once, and a deadline is a poll before the receive.
        stream.set_read_timeout(Some(Wait::LONG))?;
        Ok(UnixTransport { stream, name: name.into(), waker: OnceLock::new() })
    }
}

impl UnixTransport {
    #[cold]
    fn wait_to_receive(&self, wait: Wait) -> io::Result<()> {
        match wait {
            Wait::UntilWoken(deadline) => self.wait(Interest::Receive, deadline),
            Wait::Until(_) => sys::poll([(self.stream.as_fd(), libc::POLLIN)], wait).map(drop),
            Wait::Long | Wait::No => Ok(()),
        }
    }
}

impl Transport for UnixTransport {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        sys::send(&self.stream, bytes).map(Sent::Bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        if wait != Wait::Long {
            self.wait_to_receive(wait)?;
        }
        sys::recv(&self.stream, buf, wait == Wait::Long)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        let waker = Waker::get_or_new(&self.waker)?;
        let mut events = 0;
        if interest.receive() {
            events |= libc::POLLIN;
        }
        if interest.send() {
            events |= libc::POLLOUT;
        }
        let fds = [(self.stream.as_fd(), events), (waker.as_fd(), libc::POLLIN)];
        let [_, woken] = match sys::poll(fds, Wait::Until(deadline)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        if woken != 0 {
            waker.clear();
        }
        Ok(())
    }

    fn wake(&self) {
        // Without a waker nobody waits, and nobody can.
        if let Ok(waker) = Waker::get_or_new(&self.waker) {
            waker.wake();
        }
    }

    fn close(&self) {
        // Whoever is in recv or poll returns; an error means that it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.stream.as_fd())
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_timeout_beyond_what_a_clock_can_hold_is_for_ever() {
        let path = std::env::temp_dir().join(format!("xs-unix-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let connected = UnixTransport::connect(&path, Duration::MAX);
        fs::remove_file(&path).unwrap();
        connected.unwrap();
        drop(listener);
    }
}
