//! Connecting to a Unix socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::stream::StreamTransport;
use crate::sys;

/// A connection to the Unix socket of a Xenstore daemon, usually `/run/xenstored/socket`.
pub type UnixTransport = StreamTransport<UnixStream>;

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
        // A deadline that overflows the clock never passes.
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
        loop {
            let left = left();
            match sys::connect_unix(path, left) {
                Ok(fd) => return Self::with(fd.into(), path.display().to_string(), true),
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
}

#[cfg(test)]
mod tests {
    use std::fs;
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
}
