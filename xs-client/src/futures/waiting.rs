//! Waits of tasks for anything but the reply to a request: room, events, instants.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::engine::{RoomTicket, Timer, Waiter};
use crate::handle::Handle;

/// A task that waits. When this is dropped, the task leaves the tables of the engine.
pub(super) struct Waiting<'a> {
    handle: &'a Arc<Handle>,
    timer: Option<Timer>,
    /// Set while the task waits for room in flight or a connection.
    pub(super) ticket: Option<RoomTicket>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(handle: &'a Arc<Handle>) -> Self {
        Waiting { handle, timer: None, ticket: None }
    }

    /// Calls `poll` until it is ready. Its last argument says whether the deadline has passed, and
    /// `poll` is then ready.
    pub(super) async fn until<T>(
        &mut self,
        deadline: Option<Instant>,
        mut poll: impl FnMut(&mut Context<'_>, &mut Option<RoomTicket>, bool) -> Poll<T>,
    ) -> T {
        poll_fn(|cx| {
            let polled = poll(cx, &mut self.ticket, false);
            match deadline {
                Some(at) if polled.is_pending() && self.has_passed(at, cx) => {
                    poll(cx, &mut self.ticket, true)
                }
                _ => polled,
            }
        })
        .await
    }

    /// Returns whether an instant has passed. If not, the task is woken at this instant.
    fn has_passed(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        if at <= self.handle.task_now() {
            return true;
        }
        let waiter = Waiter::Task(cx.waker().clone());
        self.handle.lock().poll_timer(&mut self.timer, at, &waiter).is_ready()
    }
}

/// Sleeps, and returns early if the connection is lost.
pub(super) async fn sleep_until(handle: &Arc<Handle>, at: Instant) {
    let poll = |_: &mut Context<'_>, _: &mut Option<RoomTicket>, has_passed| {
        if has_passed || handle.lock().failure().is_some() {
            return Poll::Ready(());
        }
        Poll::Pending
    };
    Waiting::new(handle).until(Some(at), poll).await;
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.timer.is_none() && self.ticket.is_none() {
            return;
        }
        let mut guard = self.handle.lock();
        guard.stop_timer(&mut self.timer);
        self.ticket.take().into_iter().for_each(|ticket| guard.leave_room(ticket));
    }
}
