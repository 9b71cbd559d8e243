//! The synchronisation of threads: that of the standard library, or that of shuttle, which explores
//! schedules. `tests/schedules` selects shuttle.

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
