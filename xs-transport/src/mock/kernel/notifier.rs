//! Descriptors that are readable when it is said so.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::sys;

/// Tells the open devices of a kernel that something may have come.
///
/// It may be rung while the locks of the xenstored are held; its own is never held while another
/// one is taken.
#[derive(Debug, Default)]
pub(in crate::mock) struct Bell {
    state: Mutex<State>,
    rang: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    /// Counts what happened.
    turns: u64,
    signals: HashMap<u64, Arc<Signal>>,
}

impl Bell {
    pub(in crate::mock) fn add(&self, id: u64, signal: Arc<Signal>) {
        self.lock().signals.insert(id, signal);
    }

    pub(in crate::mock) fn remove(&self, id: u64) {
        self.lock().signals.remove(&id);
    }

    /// Something came from outside: everybody shall look.
    pub(in crate::mock) fn ring(&self) {
        let mut state = self.lock();
        state.rung = true;
        state.signals.values().for_each(|signal| signal.set(true));
        state.turns += 1;
        self.rang.notify_all();
    }

    /// Takes back the ringing that there was; from now on it counts anew.
    pub(in crate::mock) fn silence(&self) {
        self.lock().rung = false;
    }

    /// Makes those readable that have something to read; not if it rang meanwhile. `news`: it is
    /// worth looking for those who wait.
    pub(in crate::mock) fn settle(&self, news: bool, has_something: impl Fn(u64) -> bool) -> bool {
        let mut state = self.lock();
        if news {
            state.turns += 1;
            self.rang.notify_all();
        }
        if !state.rung {
            state.signals.iter().for_each(|(id, signal)| signal.set(has_something(*id)));
        }
        !state.rung
    }

    /// To be given to [`wait`](Self::wait).
    pub(in crate::mock) fn turns(&self) -> u64 {
        self.lock().turns
    }

    /// Waits until something happens, unless it did since.
    pub(in crate::mock) fn wait(&self, turns: u64) {
        let mut state = self.lock();
        while state.turns == turns {
            state = self.rang.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipe's end to read from: unlike a socket, and like the device, poll(2) never says that it
/// could be written to.
#[derive(Debug)]
pub(in crate::mock) struct Signal {
    polled: File,
    written: File,
    is_set: Mutex<bool>,
}

impl Signal {
    pub(in crate::mock) fn new() -> io::Result<Self> {
        let (polled, written) = sys::pipe()?;
        Ok(Signal { polled, written, is_set: Mutex::new(false) })
    }

    fn set(&self, to: bool) {
        let mut is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_set != to {
            // One byte in an empty pipe, or out of it: neither can fail.
            let done = if to { (&self.written).write(&[0]) } else { (&self.polled).read(&mut [0]) };
            debug_assert!(done.is_ok());
            *is_set = to;
        }
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.polled.as_fd()
    }
}
