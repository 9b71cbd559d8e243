//! Tells devices and threads that input from the xenstored may have come.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::sys;

/// Makes devices readable, and wakes threads that wait for an answer.
///
/// [`notify`](Self::notify) may be called with the xenstored's locks held: the notifier's own lock
/// is never held while another one is taken.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Input may have come since the last [`clear`](Notifier::clear).
    is_pending: bool,
    /// Counts the changes.
    epoch: u64,
    devices: HashMap<u64, Arc<Readiness>>,
}

impl Notifier {
    /// Adds a device.
    pub(super) fn add(&self, device: u64, readiness: Arc<Readiness>) {
        self.lock().devices.insert(device, readiness);
    }

    /// Removes a device.
    pub(super) fn remove(&self, device: u64) {
        self.lock().devices.remove(&device);
    }

    /// Reports that input may have come. Makes all devices readable, because only the next
    /// [`update`](Self::update) finds out which ones are.
    pub(super) fn notify(&self) {
        let mut state = self.lock();
        state.is_pending = true;
        state.devices.values().for_each(|readiness| readiness.set(true));
        state.epoch += 1;
        self.changed.notify_all();
    }

    /// Begins a round of reading input. [`update`](Self::update) ends it.
    pub(super) fn clear(&self) {
        self.lock().is_pending = false;
    }

    /// Ends a round of reading input, and sets for each device whether it is readable. Returns
    /// false, and leaves the devices alone, if more input may have come during the round.
    ///
    /// Wakes waiting threads if the round has changed something.
    pub(super) fn update(&self, has_changed: bool, is_readable: impl Fn(u64) -> bool) -> bool {
        let mut state = self.lock();
        if has_changed {
            state.epoch += 1;
            self.changed.notify_all();
        }
        if !state.is_pending {
            state.devices.iter().for_each(|(id, readiness)| readiness.set(is_readable(*id)));
        }
        !state.is_pending
    }

    /// Returns the current epoch, for [`wait_past`](Self::wait_past).
    pub(super) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Waits until something changes, or returns at once if it has since `epoch`.
    pub(super) fn wait_past(&self, epoch: u64) {
        let mut state = self.lock();
        while state.epoch == epoch {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A descriptor that poll(2) reports as readable while it is set, and never as writable.
///
/// It is the read end of a pipe. A socket would be writable, which the device never is.
#[derive(Debug)]
pub(super) struct Readiness {
    read_end: File,
    write_end: File,
    is_set: Mutex<bool>,
}

impl Readiness {
    pub(super) fn new() -> io::Result<Self> {
        let (read_end, write_end) = sys::pipe()?;
        Ok(Readiness { read_end, write_end, is_set: Mutex::new(false) })
    }

    fn set(&self, to: bool) {
        let mut is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_set != to {
            // The pipe holds one byte or none, so neither call can fail.
            let done =
                if to { (&self.write_end).write(&[0]) } else { (&self.read_end).read(&mut [0]) };
            debug_assert!(done.is_ok());
            *is_set = to;
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }
}
