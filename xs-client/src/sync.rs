//! Locks and threads: those of the standard library, or those of the crate shuttle, which explores
//! schedules of threads. `tests/schedules` selects shuttle.

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
