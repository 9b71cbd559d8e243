//! Connecting again after a failure.

use std::fmt;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xs_transport::{Guard, Transport};

use crate::core::Core;
use crate::deadline::earlier;
use crate::link::{Link, thread_waker};

/// How to connect, again and again.
#[derive(Clone)]
pub(crate) struct Opener(Arc<Open>);

type Open = dyn Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync;

/// What became of an [attempt](Link::try_reconnect) to connect again.
#[derive(Debug)]
pub(crate) enum Attempt {
    Connected,
    /// There is no connection yet. The next attempt is possible then; or somebody else is at it.
    #[cfg_attr(
        not(any(feature = "futures", feature = "mio")),
        expect(dead_code, reason = "of interest to those who wait for it")
    )]
    Later(Option<Instant>),
    /// There will be no other connection.
    Never,
}

/// There is no other connection: none is wanted, or there was none in time.
#[derive(Debug)]
pub(crate) struct Late;

/// How long one attempt to connect again may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long an attempt may take of one who does not want to wait.
const MOMENT: Duration = Duration::from_millis(10);

impl Link {
    /// Whether another connection is made when one is lost.
    pub(crate) fn reconnects(&self) -> bool {
        self.opener.is_some()
    }

    /// Connects again after a failure, if that is wanted; one thread does it, others wait for it.
    /// `look` is asked before each pause, and says how long that may be at the most.
    ///
    /// # Errors
    /// It is not wanted, did not succeed until the deadline, or `look` said to stop.
    pub(crate) fn reconnect<'a>(
        &'a self,
        mut guard: Guard<'a, Core>,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut Core) -> ControlFlow<(), Option<Instant>>,
    ) -> (Guard<'a, Core>, Result<(), Late>) {
        let Some(opener) = &self.opener else {
            return (guard, Err(Late));
        };
        let late = || deadline.is_some_and(|deadline| deadline <= Instant::now());
        while guard.poll_reconnected(Some(&thread_waker())).is_none() {
            let ControlFlow::Continue(until) = look(&mut guard) else {
                return (guard, Err(Late));
            };
            if late() || guard.closed {
                return (guard, Err(Late));
            }
            guard = self.sleep(self.wake_ready(guard), earlier(deadline, until));
        }
        guard.reconnecting = true;
        // A transport is dropped without the lock.
        let mut gone: Vec<Arc<dyn Transport>> = Vec::new();
        while guard.failure().is_some() && !guard.closed {
            let ControlFlow::Continue(until) = look(&mut guard) else {
                break;
            };
            let now = Instant::now();
            if let next @ Some(_) = guard.backoff.next(now) {
                if late() {
                    break;
                }
                // To be woken by who closes.
                let _ = guard.poll_reconnected(Some(&thread_waker()));
                guard = self.sleep(self.wake_ready(guard), earlier(next, earlier(deadline, until)));
                continue;
            }
            guard.backoff.begin(now);
            drop(self.wake_ready(guard));
            let unwinding = StopReconnecting(self);
            let opened = opener.open(deadline).map(|transport| (transport.limits(), transport));
            mem::forget(unwinding);
            gone.push(self.drive.transport());
            guard = self.drive.lock();
            match opened {
                Ok((limits, transport)) if !guard.closed && look(&mut guard).is_continue() => {
                    guard = self.drive.reconnect(guard, transport.into());
                    guard.reconnected(limits);
                }
                Ok((_, transport)) => gone.push(transport.into()),
                Err(error) => {
                    guard.backoff.failed(error);
                    if late() {
                        break;
                    }
                    // Some of those who wait may have given up.
                    guard.wake_room();
                }
            }
        }
        let result = if guard.failure().is_some() { Err(Late) } else { Ok(()) };
        guard.stop_reconnecting();
        guard = self.wake_ready(self.drive.flush(guard));
        if !gone.is_empty() {
            drop(guard);
            drop(gone);
            guard = self.drive.lock();
        }
        (guard, result)
    }

    /// One attempt to connect again after a failure, if that is wanted and it is time for one: for
    /// those who do not wait. It takes a moment at the most.
    pub(crate) fn try_reconnect<'a>(
        &'a self,
        guard: Guard<'a, Core>,
    ) -> (Guard<'a, Core>, Attempt) {
        let now = Instant::now();
        let (guard, pause) = match guard.backoff.next(now) {
            _ if guard.failure().is_none() => return (guard, Attempt::Connected),
            _ if guard.closed || self.opener.is_none() => return (guard, Attempt::Never),
            // They tell the driver when they are done.
            _ if guard.reconnecting => (guard, None),
            Some(at) => (guard, Some(at)),
            None => {
                let (guard, connected) =
                    self.reconnect(guard, Some(now), |_| ControlFlow::Continue(None));
                if connected.is_ok() {
                    return (guard, Attempt::Connected);
                }
                let pause = guard.backoff.next(now);
                (guard, pause.or(Some(now)))
            }
        };
        (guard, Attempt::Later(pause))
    }
}

/// If the user's way to connect panics, others must not wait for it.
struct StopReconnecting<'a>(&'a Link);

impl Drop for StopReconnecting<'_> {
    fn drop(&mut self) {
        let mut guard = self.0.drive.lock();
        guard.stop_reconnecting();
        drop(self.0.wake_ready(guard));
    }
}

impl Opener {
    pub(crate) fn new(
        open: impl Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Self {
        Opener(Arc::new(open))
    }

    fn open(&self, deadline: Option<Instant>) -> io::Result<Box<dyn Transport>> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        (self.0)(left.map_or(ATTEMPT, |left| left.clamp(MOMENT, ATTEMPT)))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}
