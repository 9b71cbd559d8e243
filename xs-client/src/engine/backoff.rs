//! The pauses between attempts to connect.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Counts attempts to connect, and says when the next one may begin.
///
/// The pauses grow until a connection has lasted for the longest pause. The first bytes from the
/// peer are not enough: a daemon may answer one request on each connection and then close it. Such
/// a daemon sees one connection per longest pause.
///
/// All parties of a client share one backoff, whichever of them connects.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// The number of attempts since the last connection that lasted long enough.
    attempts: u32,
    next: Option<Instant>,
    /// When the current connection was made, unless it is the first one.
    connected: Option<Instant>,
    /// The error of the last attempt.
    error: Option<Arc<io::Error>>,
}

/// The first pause. Each pause is twice as long as the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Backoff {
    /// Returns when the next attempt may begin; `None` if it may begin now.
    ///
    /// Parties may have different clocks, so no party waits longer than the longest pause.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| now < *next).map(|next| next.min(now + LONGEST_PAUSE))
    }

    /// Notes that an attempt begins. The pause after it grows even if it succeeds, since the
    /// connection may be lost soon.
    pub(crate) fn begin(&mut self, now: Instant) {
        let pause = SHORTEST_PAUSE * 2u32.pow(self.attempts.min(16));
        self.next = Some(now + pause.min(LONGEST_PAUSE));
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Keeps the error of a failed attempt. Returns the previous one, whose drop may be user code.
    pub(crate) fn failed(&mut self, error: io::Error) -> Option<Arc<io::Error>> {
        self.error.replace(Arc::new(error))
    }

    /// Returns why the last attempt failed, if it did.
    pub(crate) fn error(&self) -> Option<io::Error> {
        let error = self.error.clone()?;
        Some(io::Error::new(error.kind(), error))
    }

    /// Notes a success. Returns the previous error, as [`failed`](Self::failed) does.
    pub(crate) fn connected(&mut self, now: Instant) -> Option<Arc<io::Error>> {
        self.connected = Some(now);
        self.error.take()
    }

    /// Notes that the connection is lost. If it has lasted long enough, the pauses start again.
    pub(crate) fn lost(&mut self, now: Instant) {
        let lasted = self.connected.take().map(|at| now.saturating_duration_since(at));
        if lasted >= Some(LONGEST_PAUSE) {
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
    }

    #[test]
    fn pauses_start_again_only_after_a_long_connection() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        for (lasted, is_reset) in
            [(Duration::ZERO, false), (LONGEST_PAUSE / 2, false), (LONGEST_PAUSE, true)]
        {
            backoff.begin(start);
            backoff.begin(start);
            backoff.connected(start);
            backoff.lost(start + lasted);
            assert_eq!(backoff.next(start).is_none(), is_reset, "{lasted:?}");
        }
        backoff.begin(start);
        assert_eq!(backoff.next(start), Some(start + SHORTEST_PAUSE));
    }

    /// Each connection is lost after this time, and replaced as soon as possible.
    #[test]
    fn short_connections_are_made_once_in_the_longest_pause() {
        for lasted in [0, 1, 5, 10, 100, 500, 999, 1000, 2000].map(Duration::from_millis) {
            let (mut backoff, start) = (Backoff::default(), Instant::now());
            let (mut now, mut connections) = (start, 0);
            while now < start + 100 * LONGEST_PAUSE {
                now = backoff.next(now).unwrap_or(now);
                backoff.begin(now);
                backoff.connected(now);
                now += lasted;
                backoff.lost(now);
                connections += 1;
            }
            assert!(connections <= 110, "{connections} connections of {lasted:?}");
        }
    }

    #[test]
    fn success_discards_the_error_of_earlier_attempts() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.begin(now);
        backoff.failed(io::ErrorKind::ConnectionRefused.into());
        assert!(backoff.error().is_some());
        backoff.connected(now);
        backoff.lost(now);
        assert!(backoff.error().is_none());
    }
}
