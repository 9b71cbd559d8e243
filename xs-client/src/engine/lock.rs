//! The lock over the state.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use xs_transport::Process;

use super::state::State;
use crate::sync::{Mutex, MutexGuard};

/// The state behind its lock, for the threads of the process that created it.
#[derive(Debug)]
pub(super) struct Lock {
    state: Mutex<State>,
    process: Process,
}

/// Access to the state while the lock is held.
#[derive(Debug)]
pub(super) enum Access<'a> {
    Locked(MutexGuard<'a, State>),
    /// This process is a fork. It has a failed state of its own: another thread may have held the
    /// lock at the fork, and will never release it here.
    Forked(Box<State>),
}

impl Lock {
    pub(super) fn new(state: State) -> Self {
        Lock { state: Mutex::new(state), process: Process::current() }
    }

    pub(super) fn access(&self) -> Access<'_> {
        if self.process.is_current() {
            // A panic while the lock is held leaves nothing half done that others rely on.
            Access::Locked(self.state.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Access::Forked(Box::new(State::forked()))
        }
    }
}

impl Deref for Access<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match self {
            Access::Locked(state) => state,
            Access::Forked(state) => state,
        }
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut State {
        match self {
            Access::Locked(state) => state,
            Access::Forked(state) => state,
        }
    }
}
