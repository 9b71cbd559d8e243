//! The object on which a blocked thread sleeps.

use std::cell::OnceCell;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::sync::{Condvar, Mutex, MutexGuard, thread};

/// Blocks a thread until another thread unparks it.
///
/// Each wait has a parker of its own. The token of [`std::thread::park`] does not suffice: a waker
/// or a subscriber may park the same thread for its own purpose and consume the token.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    state: Mutex<State>,
    changed: Condvar,
}

/// The parker of a wait, which is created when the thread sleeps for the first time.
#[derive(Debug, Default)]
pub(crate) struct LazyParker(OnceCell<Arc<Parker>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Parked,
    Unparked,
}

impl LazyParker {
    /// Returns the parker. The first call creates it.
    pub(crate) fn arc(&self) -> Arc<Parker> {
        self.0.get_or_init(Arc::default).clone()
    }
}

impl Parker {
    /// Blocks until [`unpark`](Self::unpark) was called since the last `park`, or until `until`.
    pub(crate) fn park(&self, until: Option<Instant>) {
        let mut state = self.lock();
        while *state != State::Unparked {
            *state = State::Parked;
            let Some(at) = until else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if cfg!(xs_shuttle) {
                // Shuttle has no clock: a timeout fires at once, or after any step of another thread.
                drop(state);
                thread::yield_now();
                state = self.lock();
                break;
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *state = State::Running;
    }

    /// Ends the current [`park`](Self::park), or the next one.
    pub(crate) fn unpark(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Unparked);
        if before == State::Parked {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
