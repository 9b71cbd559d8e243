//! Waiting with one time limit, which only a hang exceeds.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than any step of a test takes on a slow machine. A test that reaches it hangs.
pub(crate) const HANG_GUARD: Duration = Duration::from_secs(60);

/// Runs the closure on a new thread and returns its result.
///
/// # Panics
/// Panics if the closure panics or takes longer than [`HANG_GUARD`].
pub(crate) fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || drop(sender.send(run())));
    receiver.recv_timeout(HANG_GUARD).expect("the closure panicked or hangs")
}

/// Polls the condition until it holds.
///
/// # Panics
/// Panics if that takes longer than [`HANG_GUARD`].
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG_GUARD, "timed out: {what}");
        thread::yield_now();
    }
}
