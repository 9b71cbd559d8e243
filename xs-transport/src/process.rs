//! The detection of a fork.

use crate::sys;

/// The process that created a value. After a fork(2), the value also exists in the child, which is
/// another process.
///
/// [`is_current`](Self::is_current) needs no system call: a handler of pthread_atfork(3) counts the
/// forks. A child that runs no such handlers, as after vfork(2), is taken for its parent.
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
    /// Returns the current process, and makes the process count its forks from now on.
    pub fn current() -> Self {
        sys::count_forks();
        Process { forks: sys::forks() }
    }

    /// Returns whether this is the current process, and not one from which it was forked.
    pub fn is_current(self) -> bool {
        self.forks == sys::forks()
    }
}
