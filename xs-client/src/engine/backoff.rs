//! The pauses between attempts to connect.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Counts attempts to connect, and says when the next one may begin.
///
/// All parties of a client share one backoff, whichever of them connects.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// The attempts since the peer last sent something.
    attempts: u32,
    next: Option<Instant>,
    /// The error of the last attempt.
    error: Option<Arc<io::Error>>,
}

/// The first pause. Each pause is twice as long as the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Backoff {
    /// Returns when the next attempt may begin; `None` if it may begin now.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| now < *next)
    }

    /// An attempt begins. The pause after it grows even if it succeeds, since the connection may be
    /// lost at once.
    pub(crate) fn begin(&mut self, now: Instant) {
        let pause = SHORTEST_PAUSE * 2u32.pow(self.attempts.min(16));
        self.next = Some(now + pause.min(LONGEST_PAUSE));
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The attempt failed.
    pub(crate) fn failed(&mut self, error: io::Error) {
        self.error = Some(Arc::new(error));
    }

    /// Returns why the last attempt failed, if there was one.
    pub(crate) fn error(&self) -> Option<io::Error> {
        let error = self.error.clone()?;
        Some(io::Error::new(error.kind(), error))
    }

    /// The peer has sent something.
    pub(crate) fn reset(&mut self) {
        if self.attempts > 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let mut now = start;
        assert_eq!(backoff.next(now), None);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.begin(now);
            let next = backoff.next(now).expect("there is a pause after each attempt");
            pauses.push(next - now);
            assert_eq!(backoff.next(next), None);
            now = next;
        }
        assert_eq!(pauses[..3], [5, 10, 20].map(Duration::from_millis));
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));

        backoff.reset();
        assert_eq!(backoff.next(start), None);
        backoff.begin(start);
        assert_eq!(backoff.next(start), Some(start + SHORTEST_PAUSE));
    }
}
