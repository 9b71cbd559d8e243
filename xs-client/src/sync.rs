//! What threads meet at: the standard library's, or that of shuttle, which tries schedules.

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread, thread_local,
};

#[cfg(shuttle)]
pub(crate) use self::shuttled::{Condvar, Mutex, MutexGuard, thread, thread_local};

#[cfg(shuttle)]
mod shuttled {
    pub(crate) use shuttle::{
        sync::{Condvar, Mutex, MutexGuard},
        thread_local,
    };

    pub(crate) mod thread {
        use std::time::Duration;

        pub(crate) use shuttle::thread::*;

        /// There is no time in shuttle: it is over at once, or after anything else.
        pub(crate) fn park_timeout(_: Duration) {
            yield_now();
        }
    }
}
