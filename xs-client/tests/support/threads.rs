//! Threads that a test stops at a chosen point, and threads whose progress it observes.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle, ThreadId};

use super::waiting::{HANG_GUARD, wait_until};

/// A point at which threads stop while the test keeps it closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// How many threads have stopped here since the gate was closed.
    arrivals: usize,
}

impl Gate {
    /// Creates an open gate.
    pub(crate) fn opened() -> Self {
        Self::default()
    }

    /// Creates a closed gate.
    pub(crate) fn closed() -> Self {
        let gate = Self::default();
        gate.close();
        gate
    }

    /// Stops the threads that come from now on.
    pub(crate) fn close(&self) {
        *self.0.0.lock().unwrap() = State { is_closed: true, arrivals: 0 };
    }

    /// Lets all threads pass.
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_closed = false;
        self.0.1.notify_all();
    }

    /// Blocks the calling thread while the gate is closed. Returns whether it was closed.
    pub(crate) fn pass(&self) -> bool {
        let mut state = self.0.0.lock().unwrap();
        if !state.is_closed {
            return false;
        }
        state.arrivals += 1;
        self.0.1.notify_all();
        let wait = self.0.1.wait_timeout_while(state, HANG_GUARD, |state| state.is_closed);
        let timed_out = wait.unwrap().1.timed_out();
        assert!(!timed_out, "the test does not open the gate");
        true
    }

    /// Waits until a thread has stopped at the gate.
    pub(crate) fn wait_for_arrival(&self) {
        let state = self.0.0.lock().unwrap();
        let wait = self.0.1.wait_timeout_while(state, HANG_GUARD, |state| state.arrivals == 0);
        let timed_out = wait.unwrap().1.timed_out();
        assert!(!timed_out, "no thread reaches the gate");
    }
}

/// The threads that have reached a point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitors(Arc<Mutex<HashSet<ThreadId>>>);

impl Visitors {
    /// Adds the calling thread.
    pub(crate) fn add(&self) {
        self.0.lock().unwrap().insert(thread::current().id());
    }

    /// Waits until the thread has been added.
    pub(crate) fn wait_for<T>(&self, thread: &JoinHandle<T>) {
        let id = thread.thread().id();
        wait_until(|| self.0.lock().unwrap().contains(&id), "the thread does not come by");
    }
}

/// A thread whose state the kernel tells.
#[derive(Debug)]
pub(crate) struct ThreadState {
    /// The file with the state, below `/proc`.
    stat: PathBuf,
}

impl ThreadState {
    /// Returns the state of the calling thread.
    pub(crate) fn of_current() -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap();
        ThreadState { stat: PathBuf::from("/proc").join(thread).join("stat") }
    }

    /// Waits until the thread sleeps or has ended.
    ///
    /// A thread that only waits for a lock sleeps, too. A test that goes on too early for this
    /// reason may miss a bug, but never reports a false one.
    pub(crate) fn wait_until_asleep(&self) {
        let is_asleep = || match fs::read_to_string(&self.stat) {
            // The state follows the name, which is in parentheses and may contain any character.
            Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S')),
            Err(_) => true,
        };
        wait_until(is_asleep, "the thread does not sleep");
    }
}

/// A thread of a test, whose state the test can observe.
pub(crate) struct Observed<T> {
    handle: JoinHandle<T>,
    pub(crate) state: ThreadState,
}

impl<T: Send + 'static> Observed<T> {
    /// Starts a thread.
    pub(crate) fn spawn(run: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        let handle = thread::spawn(move || {
            sender.send(ThreadState::of_current()).unwrap();
            run()
        });
        Observed { handle, state: receiver.recv().unwrap() }
    }

    /// Waits for the end of the thread and returns its result.
    pub(crate) fn join(self) -> T {
        wait_until(|| self.handle.is_finished(), "the thread does not end");
        self.handle.join().unwrap()
    }
}
