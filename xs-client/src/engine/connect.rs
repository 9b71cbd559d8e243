//! The connector role: replacing a lost connection.

use std::panic::{self, AssertUnwindSafe};
use std::time::Instant;

use super::guard::Guard;

/// The result of [`Guard::try_connect`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt {
    Connected,
    /// Another attempt is possible at this instant; `None` if another party is connecting, which
    /// wakes the pollers when it has finished.
    #[cfg_attr(
        not(any(feature = "futures", feature = "mio")),
        expect(dead_code, reason = "only pollers wait for it")
    )]
    Later(Option<Instant>),
    /// The connection will not be replaced.
    Never,
}

impl Guard<'_> {
    /// Makes one attempt to connect, which may take until `deadline`.
    ///
    /// Makes none, and returns until when to sleep, if the next attempt may begin only after `now`,
    /// another party is connecting, or the connection is lost for good. `until` is the latest
    /// instant that it returns. A party that has connected wakes all parties that wait for a
    /// connection.
    pub(super) fn connect_step(
        &mut self,
        now: Instant,
        until: Option<Instant>,
        deadline: Option<Instant>,
    ) -> Option<Option<Instant>> {
        if self.roles.connecting || self.is_lost() {
            return Some(until);
        }
        if let Some(next) = self.backoff.next(now) {
            return Some(Some(until.map_or(next, |until| until.min(next))));
        }
        self.backoff.begin(now);
        self.connect(deadline);
        None
    }

    /// Makes one attempt to connect, if one is needed and may begin at `now`. Does not wait until
    /// one may begin.
    pub(crate) fn try_connect(&mut self, now: Instant) -> Attempt {
        match self.failure() {
            None => Attempt::Connected,
            Some(_) if self.is_lost() => Attempt::Never,
            Some(_) => match self.connect_step(now, None, Some(Instant::now())) {
                Some(next) => Attempt::Later(next),
                None if self.failure().is_none() => Attempt::Connected,
                None => Attempt::Later(self.backoff.next(now).or(Some(now))),
            },
        }
    }

    fn connect(&mut self, deadline: Option<Instant>) {
        let Some(connector) = self.connector.clone() else { return };
        self.roles.connecting = true;
        let connected = self.with_role(|| {
            let connect = || connector.connect(deadline).map(|new| (new.limits(), new));
            panic::catch_unwind(AssertUnwindSafe(connect))
        });
        self.roles.connecting = false;
        let panicked = match connected {
            Ok(Ok((limits, transport))) if !self.is_closed() => {
                self.install(transport.into(), limits);
                None
            }
            Ok(Ok((_, transport))) => {
                self.deferred.drop_later(transport);
                None
            }
            Ok(Err(error)) => {
                if let Some(error) = self.backoff.failed(error) {
                    self.deferred.drop_later(error);
                }
                None
            }
            Err(payload) => Some(payload),
        };
        self.wake_room_queue();
        self.wake_pollers();
        // The connector is user code. If it panics, the other parties are woken before the panic
        // continues in the caller.
        if let Some(payload) = panicked {
            panic::resume_unwind(payload);
        }
    }
}
