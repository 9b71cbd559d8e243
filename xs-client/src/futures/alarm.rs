//! The conditions that a task waits for beside the reply to a request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::engine::{RoomTicket, Timer, Waiter};
use crate::handle::Handle;

/// Wakes a task at an instant of the driver's clock, or when there is room for a request, unless it
/// is dropped before.
pub(super) struct Alarm<'a> {
    handle: &'a Arc<Handle>,
    timer: Option<Timer>,
    /// Set while the task waits for room.
    pub(super) ticket: Option<RoomTicket>,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(handle: &'a Arc<Handle>) -> Self {
        Alarm { handle, timer: None, ticket: None }
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
        if self.timer.is_some() || self.ticket.is_some() {
            let mut guard = self.handle.lock();
            guard.stop_timer(&mut self.timer);
            self.ticket.take().into_iter().for_each(|ticket| guard.leave_room(ticket));
        }
    }
}
