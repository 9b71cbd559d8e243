//! Locks and threads, of the standard library or of the crate shuttle.
//!
//! Shuttle runs a test under many schedules of its threads. `tests/schedules` selects it.

#[cfg(not(xs_shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(xs_shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
