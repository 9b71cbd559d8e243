//! The state of the callback thread.

use xs_transport::Failure;

use super::deferred::{Deferred, Waiter};
use super::group::GroupId;
use super::token::WatchToken;
use crate::sync::thread::{JoinHandle, ThreadId};

/// Whether the callback thread runs, and which callback it runs.
///
/// A thread that was stopped may still run a callback when the next thread starts. The next thread
/// takes over when the stopped one has left, so that one callback runs at a time.
#[derive(Debug, Default)]
pub(crate) struct CallbackThread {
    /// The thread that was started last, unless it was stopped.
    pub(crate) handle: Option<JoinHandle<()>>,
    /// A thread has taken over, and has not left yet.
    pub(crate) is_present: bool,
    /// The callback that runs.
    pub(crate) running: Option<Running>,
    /// The failure with which all callbacks were called for the last time.
    pub(crate) ended: Option<Failure>,
    /// The parties that wait for a change of this state.
    waiting: Vec<Waiter>,
}

/// A callback that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) group: GroupId,
    /// The watch of the event, if it concerns a single one.
    pub(crate) token: Option<WatchToken>,
    pub(crate) thread: ThreadId,
}

impl CallbackThread {
    /// Returns whether a thread has been stopped or replaced.
    pub(crate) fn is_stopped(&self, id: ThreadId) -> bool {
        self.handle.as_ref().is_none_or(|handle| handle.thread().id() != id)
    }

    /// Registers the party to wake when this state changes.
    pub(crate) fn register(&mut self, waiter: &Waiter, deferred: &mut Deferred) {
        deferred.register_in(&mut self.waiting, waiter);
    }

    /// Wakes the parties that wait for a change of this state.
    pub(crate) fn changed(&mut self, deferred: &mut Deferred) {
        deferred.wake_all(self.waiting.drain(..));
    }
}
