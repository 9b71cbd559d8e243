//! The future that moves the bytes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use xs_transport::{Failure, Interest, Turn, Wait};

use super::reactor::Reactor;
use crate::deadline::earlier;
use crate::link::Link;
use crate::reconnect::Attempt;
use crate::wakers::remember;

/// Receives for all futures of one client, sends what the transport did not take at once, and
/// watches their deadlines. It has to be spawned, or polled beside the others.
///
/// It ends when the last handle to the client is dropped, or with the reason when the connection
/// is lost and no other is [to be made](crate::Builder::reconnect).
#[must_use = "nothing is received unless it is polled"]
pub struct Driver<R> {
    link: Arc<Link>,
    reactor: R,
    /// Of which connection the descriptor is.
    session: u64,
    /// How often others were let go first since something was last sent or received.
    passes: u32,
}

/// So many messages or bunches of them are received before others get their turn.
const BUDGET: u32 = 32;

/// So often others are let go first while a watch has many events that wait. One time would do,
/// did not tokio run the future of `block_on` after every 61 others.
const PATIENCE: u32 = 64;

impl<R: Reactor> Driver<R> {
    pub(crate) fn new(link: Arc<Link>, reactor: R) -> io::Result<Self> {
        let mut driver = Driver { link, reactor, session: 0, passes: 0 };
        driver.register()?;
        Ok(driver)
    }

    fn register(&mut self) -> io::Result<()> {
        // If there is another one before its descriptor is taken, that will be noticed.
        self.session = self.link.drive.lock().session();
        self.reactor.register(self.link.drive.transport().fd()?.try_clone_to_owned()?)
    }

    /// Lets those tasks go first that are ready.
    fn pass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.passes += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what can be done now; says what stands in the way of more.
    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut guard = self.link.drive.lock();
        guard.gathers = true;
        // What they ask for leaves in the same write.
        let gathered = std::mem::take(&mut guard.gathered) && self.passes == 0;
        let crowded = guard.books.watches.are_crowded(self.passes < PATIENCE);
        drop(guard);
        if gathered || crowded {
            return self.pass(cx);
        }
        self.passes = 0;
        for _ in 0..BUDGET {
            let mut guard = self.link.drive.lock();
            let core = &mut *guard;
            remember(&mut core.driver, Some(cx.waker()), &mut core.books.ready);
            if let Some(failure) = guard.failure().cloned() {
                drop(guard);
                match self.poll_reconnect(cx) {
                    Poll::Ready(true) => continue,
                    Poll::Ready(false) => {
                        let result = match failure {
                            Failure::Closed => Ok(()),
                            // There would be another connection, had it not been closed.
                            _ if self.link.reconnects() => Ok(()),
                            failure => Err(failure),
                        };
                        return Poll::Ready(result);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if guard.session() != self.session {
                // Somebody else was faster to connect again.
                drop(guard);
                match self.register() {
                    Ok(()) => continue,
                    Err(error) => return self.give_up(error),
                }
            }
            let guard = self.link.drive.flush(guard);
            let blocked = guard.is_blocked();
            drop(self.link.wake_ready(guard));

            let link = &self.link;
            let (mut occupied, mut news) = (false, false);
            let mut receive = || {
                let (mut guard, turn) = link.drive.turn(link.drive.lock(), Wait::No);
                news = !guard.books.ready.is_empty() || guard.books.watches.are_crowded(true);
                if turn == Turn::Nothing && guard.is_unattended() {
                    guard.hand_over_to_thread();
                }
                drop(link.wake_ready(guard));
                occupied = turn == Turn::Occupied;
                match turn {
                    Turn::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            };
            match self.reactor.poll_io(cx, Interest::Receive, &mut receive) {
                // Whoever receives meanwhile wakes us when they stop. The reactor is not told to
                // wait for more: they may leave something behind.
                Poll::Ready(Ok(())) if occupied => {}
                // They take what has come before more is received.
                Poll::Ready(Ok(())) if news => return self.pass(cx),
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(error)) => return self.give_up(error),
                Poll::Pending => {}
            }

            if blocked {
                let mut send = || {
                    let guard = link.drive.flush(link.drive.lock());
                    let blocked = guard.is_blocked();
                    drop(link.wake_ready(guard));
                    if blocked { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
                };
                match self.reactor.poll_io(cx, Interest::Send, &mut send) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) => return self.give_up(error),
                    Poll::Pending => {}
                }
            }

            let mut guard = self.link.drive.lock();
            let core = &mut *guard;
            let next = core.timers.arm(Instant::now(), &mut core.books.ready);
            drop(self.link.wake_ready(guard));
            let timer = next.map(|at| self.reactor.poll_timer(cx, at));
            if !matches!(timer, Some(Poll::Ready(()))) {
                return Poll::Pending;
            }
        }
        self.pass(cx)
    }

    /// After a failure: whether it is worth to look again.
    fn poll_reconnect(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let (mut guard, attempt) = self.link.try_reconnect(self.link.drive.lock());
        let pause = match attempt {
            Attempt::Connected => return Poll::Ready(true),
            Attempt::Never => return Poll::Ready(false),
            Attempt::Later(pause) => pause,
        };
        // Tasks have their deadlines meanwhile.
        let core = &mut *guard;
        let due = core.timers.arm(Instant::now(), &mut core.books.ready);
        drop(self.link.wake_ready(guard));
        match earlier(pause, due) {
            Some(at) => self.reactor.poll_timer(cx, at).map(|()| true),
            None => Poll::Pending,
        }
    }

    fn give_up(&self, error: io::Error) -> Poll<Result<(), Failure>> {
        let failure = Failure::Io(Arc::new(error));
        let guard = self.link.drive.fail(self.link.drive.lock(), failure.clone());
        drop(self.link.wake_ready(guard));
        Poll::Ready(Err(failure))
    }
}

impl<R: Reactor + Unpin> Future for Driver<R> {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_drive(cx)
    }
}

impl<R> Drop for Driver<R> {
    fn drop(&mut self) {
        // Without a driver nothing would be received, and everybody would wait for ever.
        self.link.close();
    }
}

impl<R> fmt::Debug for Driver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
