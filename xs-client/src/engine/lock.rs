//! The lock over the state.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};

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
        if !self.process.is_current() {
            return Access::forked();
        }
        // A panic while the lock is held leaves nothing half done that others rely on.
        Access::Locked(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the state unless another thread has locked it.
    pub(super) fn try_access(&self) -> Option<Access<'_>> {
        if !self.process.is_current() {
            return Some(Access::forked());
        }
        match self.state.try_lock() {
            Ok(state) => Some(Access::Locked(state)),
            Err(TryLockError::Poisoned(error)) => Some(Access::Locked(error.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Access<'_> {
    fn forked() -> Self {
        Access::Forked(Box::new(State::forked()))
    }
}

impl Deref for Access<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        match self {
            Access::Locked(state) => state,
            Access::Forked(state) => state,
        }
    }
}

impl DerefMut for Access<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        match self {
            Access::Locked(state) => state,
            Access::Forked(state) => state,
        }
    }
}
