//! How long to wait before it is tried once more to connect.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ErrorKind;

/// Attempts to connect again, and when the next one may begin.
///
/// Whoever connects, a thread, a task or an event loop, asks the same one.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Since something was received last.
    attempts: u32,
    next: Option<Instant>,
    /// What the last attempt came to.
    failed: Option<Arc<io::Error>>,
}

/// Between two attempts: at first, and at most.
const PAUSES: Range<Duration> = Duration::from_millis(5)..Duration::from_secs(1);

impl Backoff {
    /// When the next attempt may begin; `None`: now.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| now < *next)
    }

    /// An attempt begins. The pause after it is longer each time, also if it succeeds and the
    /// connection is lost at once.
    pub(crate) fn begin(&mut self, now: Instant) {
        let pause = PAUSES.start * 2u32.pow(self.attempts.min(16));
        self.next = Some(now + pause.min(PAUSES.end));
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The attempt failed.
    pub(crate) fn failed(&mut self, error: io::Error) {
        self.failed = Some(Arc::new(error));
    }

    /// Why there is no connection, if it was tried to make one.
    pub(crate) fn refused(&self) -> Option<ErrorKind> {
        let error = self.failed.clone()?;
        Some(ErrorKind::Unreachable(io::Error::new(error.kind(), error)))
    }

    /// The peer said something: it is there.
    #[inline]
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
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let mut now = start;
        assert_eq!(backoff.next(now), None);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.begin(now);
            let next = backoff.next(now).expect("not at once");
            pauses.push(next - now);
            assert_eq!(backoff.next(next), None);
            now = next;
        }
        assert_eq!(pauses[..3], [5, 10, 20].map(Duration::from_millis));
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&PAUSES.end));

        backoff.reset();
        assert_eq!(backoff.next(start), None);
        backoff.begin(start);
        assert_eq!(backoff.next(start), Some(start + PAUSES.start));
    }
}
