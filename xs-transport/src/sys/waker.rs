//! Ends a poll(2) from another thread.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use super::Descriptor;

/// A pair of sockets. The waiting thread polls one; it becomes readable when another thread writes
/// a byte to the other.
#[derive(Debug)]
pub(crate) struct Waker {
    polled: UnixStream,
    written: UnixStream,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let (polled, written) = UnixStream::pair()?;
        polled.set_nonblocking(true)?;
        written.set_nonblocking(true)?;
        Ok(Waker { polled, written })
    }

    pub(crate) fn wake(&self) {
        // A full socket is readable already. Any other error, such as a shortage of memory, passes,
        // and without the byte the poll might never end.
        while let Err(error) = (&self.written).write(&[0]) {
            if error.kind() == io::ErrorKind::WouldBlock {
                break;
            }
            thread::yield_now();
        }
    }

    /// Discards the wake-ups so far.
    pub(crate) fn clear(&self) {
        let mut buf = [0; 64];
        while (&self.polled).read(&mut buf).is_ok_and(|n| n == buf.len()) {}
    }

    /// Returns the descriptor to poll.
    pub(crate) fn descriptor(&self) -> Descriptor<'_> {
        self.polled.as_fd()
    }
}
