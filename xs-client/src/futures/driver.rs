//! The future that sends and receives for all tasks of a client.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use xs_transport::{Failure, Interest};

use super::alarm::RuntimeAlarm;
use super::reactor::{Clock, Reactor, Sleep};
use crate::engine::{Alarm, Attempt, Engine, Gathers, Turn, Waiter};

/// The future that sends and receives for all futures of one client. Spawn it, or poll it beside
/// the other futures.
///
/// It ends with `Ok` when the client is closed or its last clone is dropped. It ends with the cause
/// when the connection is lost and [not replaced](crate::Builder::reconnect). Dropping it earlier
/// closes the connection.
#[must_use = "nothing is received unless the driver is polled"]
pub struct Driver<R> {
    engine: Arc<Engine>,
    reactor: R,
    clock: Arc<dyn Clock>,
    /// The instant of the latest poll.
    now: Instant,
    /// The wait before a failed step is tried again, and its end.
    pause: Option<(Instant, Sleep)>,
    /// The generation of the connection whose descriptor is registered.
    generation: u64,
    /// How many times in a row the driver has yielded instead of sending and receiving.
    yields: u32,
    /// How many times in a row it has yielded because the clock stands still.
    idle_yields: u32,
}

/// The number of receives after which other tasks get their turn.
const BUDGET: u32 = 32;

/// The number of times in a row that the driver yields while a watch has many events to take, or
/// while the clock stands still. Once would suffice if tokio did not run the future of `block_on`
/// only after every 61 other tasks.
const PATIENCE: u32 = 64;

/// The pause before another attempt to watch a descriptor, or to send after a shortage.
const RETRY: Duration = Duration::from_millis(10);

impl<R: Reactor> Driver<R> {
    pub(super) fn new(engine: Arc<Engine>, mut reactor: R) -> io::Result<Self> {
        // This comes before the driver exists, because the drop of a driver would close the client.
        let generation = register(&engine, &mut reactor)?;
        let clock = reactor.clock();
        let alarm: Arc<dyn Alarm> = RuntimeAlarm::new(clock.clone(), &engine);
        engine.set_alarm(&alarm);
        let now = clock.now();
        Ok(Driver {
            engine,
            reactor,
            clock,
            now,
            pause: None,
            generation,
            yields: 0,
            idle_yields: 0,
        })
    }

    /// Lets the tasks that are ready run first.
    fn yield_now(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.yields += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes that the driver is polled. Returns whether it has to yield: other tasks that are ready
    /// may add requests to the same write, or take the events of a watch that has many.
    fn begin_poll(&self, is_still: bool) -> bool {
        let mut guard = self.engine.lock();
        guard.driver_polls += 1;
        guard.gathers = if is_still { Gathers::All } else { Gathers::Further };
        let has_gathered = guard.gathered && self.yields == 0;
        let is_crowded = guard.watches.are_crowded(self.yields < PATIENCE);
        has_gathered || is_crowded
    }

    /// Sends, receives and connects as far as possible without waiting, and registers for wake-ups.
    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let last = std::mem::replace(&mut self.now, self.clock.now());
        // Only the clock of a test stands still. It advances as soon as no task is ready, so the
        // driver stays ready until the runtime has reported all bytes that have arrived.
        let is_still = last == self.now;
        if self.begin_poll(is_still) {
            self.idle_yields = 0;
            return self.yield_now(cx);
        }
        self.yields = 0;
        let waiter = Waiter::Task(cx.waker().clone());
        for _ in 0..BUDGET {
            let mut guard = self.engine.lock();
            guard.set_driver(&waiter, false);
            if let Some(failure) = guard.failure().cloned() {
                drop(guard);
                match self.poll_connect(cx) {
                    Poll::Ready(true) => continue,
                    Poll::Ready(false) => return Poll::Ready(self.outcome(failure)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if guard.generation() != self.generation {
                // Another party has replaced the connection.
                drop(guard);
                match register(&self.engine, &mut self.reactor) {
                    Ok(generation) => self.generation = generation,
                    // The process may have a free descriptor after a pause.
                    Err(_) if self.poll_pause(cx, true).is_pending() => {
                        return Poll::Pending;
                    }
                    Err(_) => {}
                }
                continue;
            }
            let mut is_blocked = !guard.try_send();
            guard.set_driver(&waiter, false);
            drop(guard);

            let engine = &self.engine;
            let (mut turn, mut is_news) = (Turn::Nothing, false);
            let mut receive = || {
                let mut guard = engine.lock();
                turn = guard.try_receive();
                is_news = guard.deferred.has_user_code() || guard.watches.are_crowded(true);
                is_blocked = guard.is_send_blocked();
                // If another party receives now, it wakes the driver when it stops.
                guard.set_driver(&waiter, turn == Turn::Taken);
                match turn {
                    Turn::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            };
            match self.reactor.poll_io(cx, Interest::Receive, &mut receive) {
                // `WouldBlock` would make the reactor wait for new bytes, but the other party may
                // leave bytes unread.
                Poll::Ready(Ok(())) if turn == Turn::Taken => {}
                // The tasks take the received replies and events before the driver receives more.
                Poll::Ready(Ok(())) if is_news => {
                    self.idle_yields = 0;
                    return self.yield_now(cx);
                }
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Pending => {}
            }

            if is_blocked {
                let mut send = || match engine.lock().try_send() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::WouldBlock.into()),
                };
                match self.reactor.poll_io(cx, Interest::Send, &mut send) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) => return self.fail(error),
                    Poll::Pending => {}
                }
            }

            if is_still && self.idle_yields < PATIENCE {
                self.idle_yields += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // If a shortage in the system has blocked sending, the reactor does not report its end,
            // so the driver tries again after a pause.
            if self.poll_pause(cx, is_blocked).is_pending() {
                return Poll::Pending;
            }
        }
        self.yield_now(cx)
    }

    /// Tries to connect after a failure. Returns false if the connection is lost for good.
    fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let attempt = self.engine.lock().try_connect(self.clock.now());
        match attempt {
            Attempt::Connected => Poll::Ready(true),
            Attempt::Never => Poll::Ready(false),
            Attempt::Later(retry) => self.poll_until(cx, retry).map(|()| true),
        }
    }

    /// Waits for a short time if the driver `retries` a step, or else until it is woken.
    fn poll_pause(&mut self, cx: &mut Context<'_>, retries: bool) -> Poll<()> {
        let retry = retries.then(|| self.clock.now() + RETRY);
        self.poll_until(cx, retry)
    }

    /// Waits until an instant, or without one until the driver is woken.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        if self.pause.as_ref().is_none_or(|(known, _)| *known != at) {
            self.pause = Some((at, self.clock.sleep_until(at)));
        }
        let Some((_, sleep)) = &mut self.pause else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(())
    }

    /// Returns the result of the driver. Closing the client is not a failure.
    fn outcome(&self, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::Closed => Ok(()),
            // The connection would be replaced if the client had not been closed.
            _ if self.engine.lock().reconnects() => Ok(()),
            failure => Err(failure),
        }
    }

    fn fail(&self, error: io::Error) -> Poll<Result<(), Failure>> {
        let failure = Failure::from(error);
        self.engine.lock().fail(failure.clone());
        Poll::Ready(Err(failure))
    }
}

/// Lets the reactor watch the descriptor of the current transport. Returns the generation of the
/// connection.
fn register(engine: &Engine, reactor: &mut impl Reactor) -> io::Result<u64> {
    let guard = engine.lock();
    let (transport, generation) = (guard.transport(), guard.generation());
    drop(guard);
    reactor.register(transport.fd()?.try_clone_to_owned()?)?;
    Ok(generation)
}

impl<R: Reactor + Unpin> Future for Driver<R> {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_drive(cx)
    }
}

impl<R> Drop for Driver<R> {
    fn drop(&mut self) {
        // Without a driver nothing would be received, and all tasks would wait indefinitely.
        self.engine.close();
    }
}

impl<R> fmt::Debug for Driver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
