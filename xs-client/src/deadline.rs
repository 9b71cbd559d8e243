//! When to give up.

use std::time::{Duration, Instant};

use xs_transport::Wait;

/// A point in time at which those who wait give up.
///
/// It is made when an operation begins. If it is far away then, the first wait needs no further
/// look at the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// `None`: never.
    pub(crate) at: Option<Instant>,
    /// It was far away a moment ago.
    far: bool,
}

impl Deadline {
    #[inline]
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        // A timeout beyond what a clock can hold never ends.
        let at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Deadline { at, far: timeout.is_none_or(|timeout| timeout >= Wait::LONG) }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// How to wait for something now.
    #[inline]
    pub(crate) fn wait(&mut self) -> Wait {
        // Afterwards it will not be known any more.
        if std::mem::take(&mut self.far) { Wait::Long } else { self.wait_by_clock() }
    }

    fn wait_by_clock(&self) -> Wait {
        let far = |at: Instant| at.saturating_duration_since(Instant::now()) >= Wait::LONG;
        if self.at.is_none_or(far) { Wait::Long } else { Wait::Until(self.at) }
    }
}

impl From<Option<Instant>> for Deadline {
    fn from(at: Option<Instant>) -> Self {
        Deadline { at, far: false }
    }
}

/// The one that comes first; `None`: never.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_deadline_is_far_without_a_look() {
        let mut deadline = Deadline::after(Some(Wait::LONG));
        assert_eq!(deadline.wait(), Wait::Long);
        // It is nearer now, by however little.
        assert_eq!(deadline.wait(), Wait::Until(deadline.at));
        let mut deadline = Deadline::after(Some(2 * Wait::LONG));
        assert_eq!([deadline.wait(), deadline.wait()], [Wait::Long; 2]);
    }

    #[test]
    fn near_and_never() {
        let mut near = Deadline::after(Some(Duration::ZERO));
        assert_eq!(near.wait(), Wait::Until(near.at));
        assert!(near.has_passed());
        for mut never in [Deadline::after(None), Deadline::after(Some(Duration::MAX)), None.into()]
        {
            assert_eq!([never.wait(), never.wait()], [Wait::Long; 2]);
            assert!(!never.has_passed());
        }
    }
}
