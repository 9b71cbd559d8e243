//! Who runs on which core.

use rustix::io;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Core(usize);

impl Core {
    /// Those that this process may use.
    pub(crate) fn all() -> io::Result<Vec<Core>> {
        let set = sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|at| set.is_set(*at)).map(Core).collect())
    }

    /// Puts a thread there; `None`: the present one.
    pub(crate) fn pin(self, thread: Option<Pid>) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(self.0);
        sched_setaffinity(thread, &set)
    }

    /// Does something there, and returns.
    pub(crate) fn run<T>(self, action: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        let before = sched_getaffinity(None)?;
        self.pin(None)?;
        let result = action();
        sched_setaffinity(None, &before)?;
        result
    }
}
