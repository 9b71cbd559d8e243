//! A waker that exists only once its descriptor is used.

use std::io;
use std::sync::OnceLock;

use super::{Descriptor, Waker};

/// A [`Waker`] that is created when its descriptor is used for the first time.
///
/// It shows whether some condition of its owner holds. The owner's lock protects the condition, and
/// the caller of each method holds this lock.
#[derive(Debug, Default)]
pub(crate) struct LazyWaker(OnceLock<Waker>);

impl LazyWaker {
    /// Makes the descriptor readable.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake();
        }
    }

    /// Makes the descriptor unreadable.
    pub(crate) fn clear(&self) {
        if let Some(waker) = self.0.get() {
            waker.clear();
        }
    }

    /// Returns the descriptor. If it is new, it is readable if `is_readable`.
    pub(crate) fn descriptor(&self, is_readable: bool) -> io::Result<Descriptor<'_>> {
        if self.0.get().is_none() {
            let waker = Waker::new()?;
            if is_readable {
                waker.wake();
            }
            // Cannot fail: the caller holds the lock.
            let _ = self.0.set(waker);
        }
        self.0.get().map(Waker::descriptor).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
