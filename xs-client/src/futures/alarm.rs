//! A timer for a task that also waits for other events.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::link::Handle;
use crate::timers::Timer;

/// Wakes a task at a point in time with the timers of the driver. Dropping it cancels the timer.
pub(super) struct Alarm<'a> {
    handle: &'a Arc<Handle>,
    timer: Option<Timer>,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(handle: &'a Arc<Handle>) -> Self {
        Alarm { handle, timer: None }
    }

    /// Sets the time, and replaces the waker.
    pub(super) fn set(&mut self, at: Instant, waker: &Waker) {
        let mut guard = self.handle.drive.lock();
        guard.set_timer(&mut self.timer, at, waker);
        drop(self.handle.wake_ready(guard));
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let mut guard = self.handle.drive.lock();
            let core = &mut *guard;
            core.timers.remove(timer, &mut core.books.ready);
            drop(self.handle.wake_ready(guard));
        }
    }
}
