//! Taking the events of a watch, or of the watches of a set.

#[cfg(feature = "futures")]
use std::task::{Context, Poll};
use std::time::Instant;

#[cfg(feature = "futures")]
use crate::engine::Waiter;
use crate::engine::{Attempt, GroupId, Next, NextEvent, Pace, WatchEvent};
use crate::error::Result;
use crate::tree::Tree;

/// The owner's end of a group of watches.
#[derive(Debug)]
pub(crate) struct Events {
    /// The tree of the client that has made the group.
    pub(crate) tree: Tree,
    pub(crate) group: GroupId,
    /// Pauses the owner in a flood of events.
    pace: Pace,
    /// The iterator or stream has ended.
    pub(crate) has_ended: bool,
}

impl Events {
    pub(crate) fn new(tree: Tree, group: GroupId) -> Self {
        Events { tree, group, pace: Pace::default(), has_ended: false }
    }

    /// Waits indefinitely for the next item.
    pub(crate) fn wait(&mut self) -> Next {
        loop {
            if let Some(next) = self.next_until(None) {
                return next;
            }
        }
    }

    /// Waits for the next item until a deadline; `None` waits indefinitely.
    pub(crate) fn next_until(&mut self, deadline: Option<Instant>) -> Option<Next> {
        let condition = NextEvent::new(self.group, &mut self.pace);
        self.tree.handle.lock().wait(deadline, condition)
    }

    /// Returns the next item, if it has already come or can be received without waiting. If the
    /// connection is lost, makes one attempt to connect, if one may begin now.
    pub(crate) fn try_next(&mut self) -> Option<Next> {
        let mut guard = self.tree.handle.lock();
        let mut next = guard.take_next(self.group);
        if next.is_none() {
            guard.try_receive();
            next = guard.take_next(self.group);
        }
        if let Some(Next::Failed(_)) = next {
            if !matches!(guard.try_connect(Instant::now()), Attempt::Never) {
                next = None;
            }
        }
        next
    }

    #[cfg(feature = "futures")]
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut guard = self.tree.handle.lock();
        match guard.take_next(self.group) {
            Some(next) if !matches!(next, Next::Failed(_)) || guard.is_lost() => Poll::Ready(next),
            next => {
                if next.is_some() {
                    // The driver replaces the connection, which then wakes this task.
                    guard.wake_pollers();
                }
                let state = &mut *guard;
                let waiter = Waiter::Task(cx.waker().clone());
                state.watches.register(self.group, &waiter, &mut state.deferred);
                Poll::Pending
            }
        }
    }

    /// Converts an item to that of an iterator or stream. `path` is that of a single watch.
    pub(crate) fn item(&mut self, next: Next, path: Option<&str>) -> Option<Result<WatchEvent>> {
        self.has_ended = matches!(next, Next::Removed | Next::Failed(_));
        match next {
            Next::Removed => None,
            next => Some(next.into_result(path)),
        }
    }
}
