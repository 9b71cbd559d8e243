//! Pauses in a flood of events, before a reader waits for the next one.

use std::time::{Duration, Instant};

/// Detects a flood of events and spaces out the waits in it.
///
/// A reader that waits for each event of a flood is woken for each one, at the expense of the
/// daemon, which serves the whole host. A reader that pauses takes several events at once.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last_wait: Option<Instant>,
    short_waits: u32,
}

/// A wait shorter than this, including the time to take its events, counts as short.
const SHORT: Duration = Duration::from_micros(300);

/// The number of short waits in a row that make a flood.
const FLOOD: u32 = 16;

/// The length of a pause. A daemon can send several events in it, and no user notices it.
const PAUSE: Duration = Duration::from_micros(100);

impl Pace {
    /// Notes that a wait is about to begin. In a flood, returns until when to pause first.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Instant> {
        let short = self.last_wait.is_some_and(|last| now.saturating_duration_since(last) < SHORT);
        self.short_waits = if short { (self.short_waits + 1).min(FLOOD) } else { 0 };
        let pause = (self.short_waits == FLOOD).then(|| now + PAUSE);
        self.last_wait = pause.or(Some(now));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_in_a_row_are_a_flood_until_a_long_one() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        for _ in 0..2 {
            for _ in 0..FLOOD {
                assert_eq!(pace.pause(now), None);
                now += SHORT / 2;
            }
            for _ in 0..3 {
                assert_eq!(pace.pause(now), Some(now + PAUSE));
                // The pause itself does not count as waiting.
                now += PAUSE + SHORT / 2;
            }
            now += SHORT;
        }
        for _ in 0..=FLOOD {
            now += SHORT;
            assert_eq!(pace.pause(now), None);
        }
    }
}
