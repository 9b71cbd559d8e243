//! When to give up.

use std::time::{Duration, Instant};

use xs_transport::{Turn, Wait};

/// A point in time at which those who wait give up.
///
/// One that is far away is first a timeout only: where Xen is the clock, as in most of its domains,
/// each look at it is a system call, and an answer that comes at once has no use for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// `None`: never.
    At(Option<Instant>),
    /// So long after it was made, which was a moment ago.
    Far(Duration),
    /// Likewise, but for one wait since.
    AfterWait(Duration),
}

impl Deadline {
    #[inline]
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        match timeout {
            Some(timeout) if timeout >= Wait::LONG => Deadline::Far(timeout),
            timeout => Deadline::At(timeout.and_then(from_now)),
        }
    }

    /// When it is. Known from then on.
    pub(crate) fn at(&mut self) -> Option<Instant> {
        let at = match *self {
            Deadline::At(at) => return at,
            Deadline::Far(timeout) | Deadline::AfterWait(timeout) => from_now(timeout),
        };
        *self = Deadline::At(at);
        at
    }

    /// Whether it has passed, after a [wait](Self::wait) with this result.
    pub(crate) fn has_passed(&mut self, turn: Turn) -> bool {
        if let (Deadline::AfterWait(timeout), Turn::Nothing) = (*self, turn) {
            *self = Deadline::At(from_now(timeout.saturating_sub(Wait::LONG)));
        }
        self.at().is_some_and(|at| at <= Instant::now())
    }

    /// How to wait for something now.
    #[inline]
    pub(crate) fn wait(&mut self) -> Wait {
        match *self {
            Deadline::Far(timeout) => {
                *self = Deadline::AfterWait(timeout);
                Wait::Long
            }
            _ => self.wait_by_clock(),
        }
    }

    fn wait_by_clock(&mut self) -> Wait {
        let at = self.at();
        let far = |at: Instant| at.saturating_duration_since(Instant::now()) >= Wait::LONG;
        if at.is_none_or(far) { Wait::Long } else { Wait::Until(at) }
    }
}

/// A timeout beyond what a clock can hold never ends.
#[cold]
fn from_now(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl From<Option<Instant>> for Deadline {
    fn from(at: Option<Instant>) -> Self {
        Deadline::At(at)
    }
}

/// The one that comes first; `None`: never.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// How long it is from now to the deadline, whose timeout was `TIMEOUT` some moments ago.
    fn left(deadline: &mut Deadline) -> Duration {
        deadline.at().unwrap().duration_since(Instant::now())
    }

    #[test]
    fn a_far_one_takes_no_look_at_the_clock_before_the_first_wait_has_ended() {
        let mut deadline = Deadline::after(Some(TIMEOUT));
        assert_eq!(deadline.wait(), Wait::Long);
        assert!(matches!(deadline, Deadline::AfterWait(TIMEOUT)));
        // From now on it is known.
        assert!(!deadline.has_passed(Turn::Received));
        let at = deadline.at();
        assert_eq!(deadline.wait(), Wait::Long);
        assert_eq!(deadline.at(), at);
        assert!(left(&mut deadline) > TIMEOUT - Wait::LONG);
    }

    #[test]
    fn a_long_wait_in_vain_counts() {
        let mut deadline = Deadline::after(Some(TIMEOUT));
        deadline.wait();
        assert!(!deadline.has_passed(Turn::Nothing));
        assert!(left(&mut deadline) <= TIMEOUT - Wait::LONG);
        // Once.
        let at = deadline.at();
        assert!(!deadline.has_passed(Turn::Nothing));
        assert_eq!(deadline.at(), at);

        let mut deadline = Deadline::after(Some(Wait::LONG));
        deadline.wait();
        assert!(deadline.has_passed(Turn::Nothing));
    }

    #[test]
    fn one_that_was_asked_for_before_or_after_a_wait_counts_from_then() {
        for waits in 0..3 {
            let mut deadline = Deadline::after(Some(Wait::LONG));
            let waits: Vec<_> = (0..waits).map(|_| deadline.wait()).collect();
            let at = deadline.at();
            assert!(left(&mut deadline) <= Wait::LONG);
            assert_eq!((deadline.wait(), deadline.at()), (Wait::Until(at), at), "{waits:?}");
        }
    }

    #[test]
    fn near_and_never() {
        let mut near = Deadline::after(Some(Duration::ZERO));
        assert_eq!(near.wait(), Wait::Until(near.at()));
        assert!(near.has_passed(Turn::Received));
        for mut never in [Deadline::after(None), Deadline::after(Some(Duration::MAX)), None.into()]
        {
            for turn in [Turn::Received, Turn::Nothing, Turn::Nothing] {
                assert_eq!(never.wait(), Wait::Long);
                assert!(!never.has_passed(turn));
            }
            assert_eq!(never.at(), None);
        }
    }
}
