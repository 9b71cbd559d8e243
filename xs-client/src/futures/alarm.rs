//! An instant that a task waits for beside other things.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
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

/// Waits with the timers of the driver. Returns early if the connection is lost.
pub(super) async fn sleep_until(handle: &Arc<Handle>, at: Instant) {
    let mut alarm = Alarm::new(handle);
    poll_fn(|cx| {
        if at <= Instant::now() || handle.lock().failure().is_some() {
            return Poll::Ready(());
        }
        alarm.set(at, cx.waker());
        Poll::Pending
    })
    .await;
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if self.timer.is_some() {
            self.handle.lock().stop_timer(&mut self.timer);
        }
    }
}
