//! A point in time that a task waits for beside other things.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::link::Handle;
use crate::timers::Timer;

/// Wakes a task at some time, with the driver's clock. Nothing of it stays when it is dropped.
pub(super) struct Alarm<'a> {
    handle: &'a Arc<Handle>,
    timer: Option<Timer>,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(handle: &'a Arc<Handle>) -> Self {
        Alarm { handle, timer: None }
    }

    /// Wakes this waker then, and no other one.
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
