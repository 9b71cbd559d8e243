//! Pins threads to cores.

use rustix::io;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Core(usize);

impl Core {
    /// Returns the cores that this process may use.
    pub(crate) fn all() -> io::Result<Vec<Core>> {
        let set = sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|at| set.is_set(*at)).map(Core).collect())
    }

    /// Pins a thread to this core. `None` is the current thread.
    pub(crate) fn pin(self, thread: Option<Pid>) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(self.0);
        sched_setaffinity(thread, &set)
    }

    /// Runs `action` with the current thread pinned to this core. Processes that it starts inherit
    /// the pinning.
    pub(crate) fn run<T>(self, action: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        let before = sched_getaffinity(None)?;
        self.pin(None)?;
        let result = action();
        sched_setaffinity(None, &before)?;
        result
    }
}
