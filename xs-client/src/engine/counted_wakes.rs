//! A waiter for unit tests, which counts how often it is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::deferred::{Deferred, Due, Waiter};

/// Counts the wake-ups of its waiters.
#[derive(Clone, Default)]
pub(super) struct CountedWakes(Arc<Count>);

#[derive(Default)]
struct Count(AtomicUsize);

impl CountedWakes {
    pub(super) fn waiter(&self) -> Waiter {
        Waiter::Task(Waker::from(self.0.clone()))
    }

    /// Runs the deferred user code, and returns the number of wake-ups since the last call.
    pub(super) fn run(&self, deferred: &mut Deferred) -> usize {
        deferred.take(true).into_iter().for_each(Due::run);
        self.0.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
