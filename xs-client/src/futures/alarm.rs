//! An instant that a task waits for beside other things.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::engine::{Timer, Waiter};
use crate::handle::Handle;

/// Wakes a task at an instant of the driver's clock, unless it is dropped before.
pub(super) struct Alarm<'a> {
    handle: &'a Arc<Handle>,
    timer: Option<Timer>,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(handle: &'a Arc<Handle>) -> Self {
        Alarm { handle, timer: None }
    }

    /// Sets the instant, if none is set, and the waker to call then.
    pub(super) fn set(&mut self, at: Instant, waker: &Waker) {
        self.handle.lock().set_timer(&mut self.timer, at, &Waiter::Task(waker.clone()));
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if self.timer.is_some() {
            self.handle.lock().stop_timer(&mut self.timer);
        }
    }
}
