//! A transport for unit tests, over which nothing moves.

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use xs_transport::{Descriptor, Interest, Sent, Transport, Wait};

/// A transport that accepts nothing and receives nothing. No call waits.
#[derive(Default)]
pub(super) struct Stalled {
    wakes: AtomicUsize,
    on_wait: Mutex<Option<OnWait>>,
}

type OnWait = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl Stalled {
    /// Returns the number of calls of `wake` since the last call of this function.
    pub(super) fn take_wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::Relaxed)
    }

    /// Sets the function that the next call of `wait` calls.
    pub(super) fn on_wait(&self, call: impl FnOnce() -> io::Result<()> + Send + 'static) {
        *self.on_wait.lock().unwrap() = Some(Box::new(call));
    }
}

impl Transport for Stalled {
    fn send(&self, _: &[u8]) -> io::Result<Sent> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn recv(&self, _: &mut [u8], _: Wait) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        let on_wait = self.on_wait.lock().unwrap().take();
        on_wait.map_or(Ok(()), |call| call())
    }

    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }

    fn close(&self) {}

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn describe(&self) -> String {
        "a stalled transport".into()
    }
}

impl fmt::Debug for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stalled").finish_non_exhaustive()
    }
}
