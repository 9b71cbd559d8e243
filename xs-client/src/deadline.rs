//! When an operation times out.

use std::time::{Duration, Instant};

use xs_transport::Wait;

/// The time at which an operation gives up. `None` waits indefinitely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Starts the timeout now. A timeout that overflows the clock never ends.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    pub(crate) fn at(self) -> Option<Instant> {
        self.0
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    pub(crate) fn wait(self) -> Wait {
        Wait::Until(self.0)
    }
}

impl From<Option<Instant>> for Deadline {
    fn from(at: Option<Instant>) -> Self {
        Deadline(at)
    }
}

/// Returns the earlier of two deadlines.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_timeout_has_passed() {
        assert!(Deadline::after(Some(Duration::ZERO)).has_passed());
    }

    #[test]
    fn overflowing_timeout_never_ends() {
        for deadline in [Deadline::after(None), Deadline::after(Some(Duration::MAX))] {
            assert_eq!(deadline.at(), None);
            assert!(!deadline.has_passed());
        }
    }
}
