//! How eagerly to wait for events.

use std::time::{Duration, Instant};

/// Notices a flood of events.
///
/// Who waits for each single event of a flood is woken for each, and most of that is paid by the
/// daemon, which everything on the host needs. Who keeps away for a moment takes several at once.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the last wait began.
    last: Option<Instant>,
    /// Waits in a row that were over soon.
    soon: u32,
}

/// A wait that is over within this time, with what it brought taken, found events or was about to.
const SOON: Duration = Duration::from_micros(300);

/// So many of them in a row are a flood.
const FLOOD: u32 = 16;

/// How long to keep away: some events of what the daemons send at most, and no time for anybody
/// who waits for a change.
const PAUSE: Duration = Duration::from_micros(100);

impl Pace {
    /// A wait is about to begin, and there is nothing to be taken: until when to keep away first.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Instant> {
        let soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < SOON);
        self.soon = if soon { (self.soon + 1).min(FLOOD) } else { 0 };
        let pause = (self.soon == FLOOD).then(|| now + PAUSE);
        self.last = pause.or(Some(now));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_waits_in_a_row_are_a_flood_until_one_is_long() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        for _ in 0..2 {
            for _ in 0..FLOOD {
                assert_eq!(pace.pause(now), None);
                now += SOON / 2;
            }
            for _ in 0..3 {
                assert_eq!(pace.pause(now), Some(now + PAUSE));
                // The pause itself does not count.
                now += PAUSE + SOON / 2;
            }
            now += SOON;
        }
        // That is no flood any more.
        for _ in 0..=FLOOD {
            now += SOON;
            assert_eq!(pace.pause(now), None);
        }
    }
}
