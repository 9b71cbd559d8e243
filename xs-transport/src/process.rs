//! Detects that the current process is a fork.

use crate::sys;

/// The process that created a value, which a fork(2) also puts into another process.
///
/// [`is_current`](Self::is_current) costs no system call: a handler of pthread_atfork(3) counts the
/// forks. Children that run no such handlers, as those of vfork(2), are taken for their parents.
///
/// ```
/// use xs_transport::Process;
///
/// let creator = Process::current();
/// assert!(creator.is_current());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// How many forks lie between this process and the first ancestor that counted them.
    forks: usize,
}

impl Process {
    /// Returns the current process.
    pub fn current() -> Self {
        sys::count_forks();
        Process { forks: sys::forks() }
    }

    /// Returns whether this is the current process, and not one from which it was forked.
    pub fn is_current(self) -> bool {
        self.forks == sys::forks()
    }
}
