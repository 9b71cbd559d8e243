//! Points in time that tasks wait for.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;
use std::time::Instant;

use crate::wakers::Ready;

/// Who is to be woken when.
///
/// Deadlines come and go with each request; whoever watches the clock should not have to be told
/// each time. So it says until when it sleeps anyway ([`Timers::arm`]), and is only told of what
/// comes before.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    armed: Option<Instant>,
}

/// Names a timer.
pub(crate) type Timer = (Instant, u64);

impl Timers {
    /// Adds a timer; true if the one who watches the clock has to be told.
    pub(crate) fn add(&mut self, at: Instant, waker: Waker) -> (Timer, bool) {
        self.last += 1;
        let timer = (at, self.last);
        self.due.insert(timer, waker);
        (timer, self.armed.is_none_or(|armed| at < armed))
    }

    pub(crate) fn remove(&mut self, timer: Timer, ready: &mut Ready) {
        ready.let_go(self.due.remove(&timer));
    }

    /// Who waits has another waker now. False if the timer was due.
    pub(crate) fn update(&mut self, timer: Timer, waker: &Waker, ready: &mut Ready) -> bool {
        let Some(known) = self.due.get_mut(&timer) else {
            return false;
        };
        if !known.will_wake(waker) {
            ready.let_go(Some(mem::replace(known, waker.clone())));
        }
        true
    }

    /// Takes out everybody.
    pub(crate) fn wake_all(&mut self, ready: &mut Ready) {
        ready.extend(mem::take(&mut self.due).into_values());
    }

    /// Takes out who is to be woken by now, and says until when to sleep.
    pub(crate) fn arm(&mut self, now: Instant, ready: &mut Ready) -> Option<Instant> {
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                break;
            }
            ready.push(entry.remove());
        }
        // An earlier promise to look again costs less than to change it.
        let next = self.due.first_key_value().map(|(timer, _)| timer.0);
        let promised = self.armed.filter(|armed| *armed > now);
        self.armed = match (next, promised) {
            (Some(next), Some(promised)) => Some(next.min(promised)),
            (next, promised) => next.or(promised),
        };
        self.armed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_comes_earlier_has_to_be_told() {
        let mut timers = Timers::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waker = Waker::noop();

        let (first, tell) = timers.add(at(10), waker.clone());
        assert!(tell);
        assert_eq!(timers.arm(at(0), &mut Ready::default()), Some(at(10)));
        timers.remove(first, &mut Ready::default());
        assert!(!timers.add(at(20), waker.clone()).1);
        assert!(!timers.add(at(10), waker.clone()).1, "that is when it looks again");
        assert!(timers.add(at(5), waker.clone()).1);
        assert_eq!(timers.arm(at(1), &mut Ready::default()), Some(at(5)));

        let mut ready = Ready::default();
        assert_eq!(timers.arm(at(5), &mut ready), Some(at(10)));
        assert_eq!(ready.len(), 1);
        assert_eq!(timers.arm(at(10), &mut ready), Some(at(20)));
        assert_eq!(timers.arm(at(20), &mut ready), None);
        assert_eq!(ready.len(), 3);
    }

    #[test]
    fn it_looks_again_when_it_was_going_to() {
        let mut timers = Timers::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (first, _) = timers.add(at(10), Waker::noop().clone());
        timers.add(at(20), Waker::noop().clone());
        assert_eq!(timers.arm(at(0), &mut Ready::default()), Some(at(10)));
        timers.remove(first, &mut Ready::default());
        assert_eq!(timers.arm(at(1), &mut Ready::default()), Some(at(10)));
        assert_eq!(timers.arm(at(10), &mut Ready::default()), Some(at(20)));
    }

    #[test]
    fn each_is_woken_once() {
        let mut timers = Timers::default();
        let now = Instant::now();
        let (timer, _) = timers.add(now, Waker::noop().clone());
        timers.add(now, Waker::noop().clone());
        assert!(timers.update(timer, Waker::noop(), &mut Ready::default()));
        let mut ready = Ready::default();
        timers.wake_all(&mut ready);
        assert_eq!(ready.len(), 2);
        assert!(!timers.update(timer, Waker::noop(), &mut Ready::default()));
        timers.wake_all(&mut ready);
        timers.arm(now, &mut ready);
        assert_eq!(ready.len(), 2);
    }
}
