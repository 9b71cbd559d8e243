//! The deadlines of tasks.

use std::collections::BTreeMap;
use std::time::Instant;

use super::deferred::{Deferred, Waiter};

/// The tasks to wake at given instants of the clock of tasks.
///
/// A timer that is no longer in the table has fired, so no task has to read the clock.
///
/// An alarm or the task thread watches the clock. Each request adds a timer and removes it, so the
/// watching party does not learn of each timer: it has an instant at which it looks at the clock
/// next ([`Timers::expire`]), and learns only of a timer before this instant.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The waiter of each timer. `None` if it was woken early.
    entries: BTreeMap<Timer, Option<Waiter>>,
    last: u64,
    /// When the watching party looks at the clock next.
    next_look: Option<Instant>,
}

/// The key of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    at: Instant,
    id: u64,
}

impl Timers {
    /// Adds a timer. Also returns true if the watching party has to learn of it.
    pub(crate) fn add(&mut self, at: Instant, waiter: Waiter) -> (Timer, bool) {
        self.last += 1;
        let timer = Timer { at, id: self.last };
        self.entries.insert(timer, Some(waiter));
        (timer, self.next_look.is_none_or(|look| at < look))
    }

    /// Notes that the watching party looks at the clock next at `at`.
    pub(crate) fn look_at(&mut self, at: Instant) {
        self.next_look = Some(at);
    }

    pub(crate) fn remove(&mut self, timer: Timer, deferred: &mut Deferred) {
        deferred.release(self.entries.remove(&timer).flatten());
    }

    /// Replaces the waiter of a timer. Returns false if the timer has fired.
    pub(crate) fn update(
        &mut self,
        timer: Timer,
        waiter: &Waiter,
        deferred: &mut Deferred,
    ) -> bool {
        let Some(slot) = self.entries.get_mut(&timer) else {
            return false;
        };
        deferred.register(slot, waiter);
        true
    }

    /// Wakes all tasks early. Their timers stay in the table.
    pub(crate) fn wake_all(&mut self, deferred: &mut Deferred) {
        deferred.wake_all(self.entries.values_mut().filter_map(Option::take));
    }

    /// Fires the timers that have expired, and returns the instant of the next look at the clock.
    #[cfg(any(test, feature = "futures"))]
    pub(crate) fn expire(&mut self, now: Instant, deferred: &mut Deferred) -> Option<Instant> {
        while let Some(entry) = self.entries.first_entry() {
            if entry.key().at > now {
                break;
            }
            deferred.wake_all(entry.remove());
        }
        // An earlier instant that was promised stays, even if its timer is gone: arming the alarm
        // anew for each timer would cost more than one look too many.
        let next = self.entries.first_key_value().map(|(timer, _)| timer.at);
        let promised = self.next_look.filter(|look| *look > now);
        self.next_look = next.into_iter().chain(promised).min();
        self.next_look
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counted_wakes::CountedWakes;
    use super::*;

    struct Fixture {
        timers: Timers,
        deferred: Deferred,
        start: Instant,
        wakes: CountedWakes,
    }

    impl Fixture {
        fn new() -> Self {
            let (timers, deferred) = (Timers::default(), Deferred::default());
            Fixture { timers, deferred, start: Instant::now(), wakes: CountedWakes::default() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn add(&mut self, seconds: u64) -> (Timer, bool) {
            self.timers.add(self.at(seconds), self.wakes.waiter())
        }

        /// Returns the second at which to look again.
        fn expire(&mut self, seconds: u64) -> Option<u64> {
            let next = self.timers.expire(self.at(seconds), &mut self.deferred)?;
            Some(next.duration_since(self.start).as_secs())
        }

        fn woken(&mut self) -> usize {
            self.wakes.run(&mut self.deferred)
        }
    }

    #[test]
    fn only_earlier_timers_are_reported() {
        let mut fixture = Fixture::new();
        let (first, report) = fixture.add(10);
        assert!(report);
        assert_eq!(fixture.expire(0), Some(10));
        fixture.timers.remove(first, &mut fixture.deferred);
        assert!(!fixture.add(20).1);
        assert!(!fixture.add(10).1, "the clock is looked at then anyway");
        assert!(fixture.add(5).1);
        assert_eq!(fixture.expire(1), Some(5));
        assert_eq!(fixture.expire(5), Some(10));
        assert_eq!(fixture.woken(), 1);
        assert_eq!(fixture.expire(10), Some(20));
        assert_eq!(fixture.expire(20), None);
        assert_eq!(fixture.woken(), 2);
    }

    #[test]
    fn promised_look_is_kept_when_its_timer_goes() {
        let mut fixture = Fixture::new();
        let (first, _) = fixture.add(10);
        fixture.add(20);
        assert_eq!(fixture.expire(0), Some(10));
        fixture.timers.remove(first, &mut fixture.deferred);
        assert_eq!(fixture.expire(1), Some(10));
        assert_eq!(fixture.expire(10), Some(20));
    }

    #[test]
    fn each_timer_fires_once() {
        let mut fixture = Fixture::new();
        let (timer, _) = fixture.add(0);
        let waiter = fixture.wakes.waiter();
        assert!(fixture.timers.update(timer, &waiter, &mut fixture.deferred));
        fixture.expire(0);
        assert_eq!(fixture.woken(), 1);
        assert!(!fixture.timers.update(timer, &waiter, &mut fixture.deferred));
        fixture.expire(0);
        assert_eq!(fixture.woken(), 0);
    }

    #[test]
    fn task_that_was_woken_early_keeps_its_timer() {
        let mut fixture = Fixture::new();
        let (timer, _) = fixture.add(5);
        for _ in 0..2 {
            fixture.timers.wake_all(&mut fixture.deferred);
        }
        assert_eq!(fixture.woken(), 1);
        let waiter = fixture.wakes.waiter();
        assert!(fixture.timers.update(timer, &waiter, &mut fixture.deferred));
        assert_eq!(fixture.expire(0), Some(5));
        fixture.expire(5);
        assert_eq!(fixture.woken(), 1);
    }
}
