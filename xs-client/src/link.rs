//! One connection and everybody who uses it: how a thread waits for what it asked for.

use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use xs_proto::Request;
use xs_transport::{Drive, Failure, Guard, Transport, Turn, Wait};

use crate::background::Background;
use crate::calls::{Answered, CallId};
use crate::core::{Core, Refusal, Scope};
use crate::deadline::Deadline;
use crate::error::{ErrorKind, Invalid, Result};
use crate::op::{Answer, Label, Op};
use crate::reconnect::{Late, Opener};
use crate::sync::thread::{self, Thread};
use crate::sync::thread_local;
use crate::trace::Trace;
use crate::watches::Token;

/// What the clones of a client, its watches and its transactions share.
///
/// Lock order: the drive's lock, then that of the background thread. Wakers are called, and
/// callbacks run, with neither held.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) drive: Drive<Core>,
    pub(crate) background: Background,
    /// How to connect again, if that is wanted.
    pub(crate) opener: Option<Opener>,
}

/// How much is received at a time: some hundred small replies, and not so many of the smallest
/// events that a watch has no room for them although its owner takes all it can.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// Something a thread can wait for.
pub(crate) trait Awaited: Copy {
    /// What it gets.
    type Output;

    /// What is awaited, if it is here. Otherwise `waker` is remembered, and called when there is
    /// reason to look again.
    fn look(self, core: &mut Core, waker: Option<&Waker>) -> Option<Self::Output>;

    /// It did not come in time.
    fn give_up(self, _: &mut Core) {}
}

/// The answer to a request. If it does not come in time, it is of no interest any more.
impl Awaited for CallId {
    type Output = Answered;

    #[inline(always)]
    fn look(self, core: &mut Core, waker: Option<&Waker>) -> Option<Answered> {
        core.take_answer(self, waker)
    }

    fn give_up(self, core: &mut Core) {
        core.forget(self);
    }
}

/// That something comes next for a watch.
impl Awaited for Token {
    type Output = ();

    fn look(self, core: &mut Core, waker: Option<&Waker>) -> Option<()> {
        core.books.watches.has_next(self, waker, &mut core.books.ready).then_some(())
    }
}

/// Room for one more request.
#[derive(Clone, Copy)]
struct Room;

impl Awaited for Room {
    type Output = ();

    fn look(self, core: &mut Core, waker: Option<&Waker>) -> Option<()> {
        core.has_room(waker).then_some(())
    }
}

impl Link {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        watch_capacity: usize,
        opener: Option<Opener>,
    ) -> Self {
        let core = Core::new(transport.limits(), watch_capacity);
        Link {
            drive: Drive::new(transport, core, RECEIVE_BUFFER),
            background: Background::default(),
            opener,
        }
    }

    /// Runs one operation.
    pub(crate) fn call<T: Answer>(
        &self,
        scope: Scope,
        deadline: &mut Deadline,
        op: &Op<'_, T>,
    ) -> Result<T> {
        self.ask(scope, deadline, &op.label, &op.request)?.take(op.label, scope)
    }

    /// The same, compiled for the one operation that is run: for the most frequent ones.
    #[inline(always)]
    pub(crate) fn call_inlined<T: Answer>(
        &self,
        scope: Scope,
        deadline: &mut Deadline,
        op: &Op<'_, T>,
    ) -> Result<T> {
        self.ask_inlined(scope, deadline, &op.label, &op.request)?.take(op.label, scope)
    }

    /// Makes a request, and waits for the answer.
    pub(crate) fn ask(
        &self,
        scope: Scope,
        deadline: &mut Deadline,
        label: &Label<'_>,
        request: &Result<Request<'_>, Invalid>,
    ) -> Result<Asked> {
        self.ask_inlined(scope, deadline, label, request)
    }

    #[inline(always)]
    fn ask_inlined(
        &self,
        scope: Scope,
        deadline: &mut Deadline,
        label: &Label<'_>,
        request: &Result<Request<'_>, Invalid>,
    ) -> Result<Asked> {
        let trace = Trace::start();
        let (guard, call) = self.submit_inlined(self.drive.lock(), scope, deadline, label, request);
        let call = call?;
        // It has not left yet: there is no answer to look for.
        let (guard, answer) = self.receive_until(guard, deadline, call);
        drop(self.leave(guard));
        Ok(Asked { trace, call, answer })
    }

    /// Takes a request, as soon as there is room for it. It leaves with the next turn or flush.
    pub(crate) fn submit<'a>(
        &'a self,
        guard: Guard<'a, Core>,
        scope: Scope,
        deadline: &mut Deadline,
        label: &Label<'_>,
        request: &Result<Request<'_>, Invalid>,
    ) -> (Guard<'a, Core>, Result<CallId>) {
        self.submit_inlined(guard, scope, deadline, label, request)
    }

    #[inline(always)]
    fn submit_inlined<'a>(
        &'a self,
        mut guard: Guard<'a, Core>,
        scope: Scope,
        deadline: &mut Deadline,
        label: &Label<'_>,
        request: &Result<Request<'_>, Invalid>,
    ) -> (Guard<'a, Core>, Result<CallId>) {
        let request = match request {
            Ok(request) => request,
            Err(invalid) => return (guard, Err(label.error(invalid.clone()))),
        };
        match guard.submit_inlined(scope, request) {
            Ok(call) => (guard, Ok(call)),
            Err(refusal) => self.submit_later(guard, scope, deadline, label, request, refusal),
        }
    }

    /// The same when it was not taken at once.
    #[cold]
    fn submit_later<'a>(
        &'a self,
        mut guard: Guard<'a, Core>,
        scope: Scope,
        deadline: &mut Deadline,
        label: &Label<'_>,
        request: &Request<'_>,
        mut refusal: Refusal,
    ) -> (Guard<'a, Core>, Result<CallId>) {
        loop {
            let (again, result) = match refusal {
                Refusal::Full => {
                    let (again, room) = self.wait(guard, deadline, Room);
                    (self.leave(again), room.ok_or(ErrorKind::TimedOut))
                }
                Refusal::Failed(failure) => {
                    let (again, connected) =
                        self.reconnect(guard, deadline.at(), |_| ControlFlow::Continue(None));
                    let unreachable = again.backoff.refused();
                    let kind = |Late| unreachable.unwrap_or(ErrorKind::Lost(failure));
                    (again, connected.map_err(kind))
                }
                Refusal::TransactionLost => (guard, Err(ErrorKind::TransactionLost)),
                Refusal::TransactionEnded => (guard, Err(ErrorKind::TransactionEnded)),
                Refusal::Invalid(error) => (guard, Err(error.into())),
            };
            guard = again;
            if let Err(kind) = result {
                return (guard, Err(label.error(kind)));
            }
            match guard.submit(scope, request) {
                Ok(call) => return (guard, Ok(call)),
                Err(again) => refusal = again,
            }
        }
    }

    /// Waits until something is here, and receives for everybody meanwhile, if nobody else does;
    /// `None`: it did not come in time, and is given up. The caller then [leaves](Self::leave).
    pub(crate) fn wait<'a, A: Awaited>(
        &'a self,
        mut guard: Guard<'a, Core>,
        deadline: &mut Deadline,
        awaited: A,
    ) -> (Guard<'a, Core>, Option<A::Output>) {
        let here = awaited.look(&mut guard, None);
        if here.is_some() {
            return (guard, here);
        }
        self.receive_until(guard, deadline, awaited)
    }

    /// The same when it is known not to be here.
    #[inline(always)]
    fn receive_until<'a, A: Awaited>(
        &'a self,
        mut guard: Guard<'a, Core>,
        deadline: &mut Deadline,
        awaited: A,
    ) -> (Guard<'a, Core>, Option<A::Output>) {
        guard.waits += 1;
        loop {
            let (again, turn) = self.drive.turn(guard, deadline.wait());
            guard = again;
            if turn == Turn::Occupied {
                let (again, here) = self.wait_for_others(guard, deadline, awaited);
                guard = again;
                if here.is_some() {
                    return (guard, here);
                }
            }
            guard = self.wake_ready(guard);
            let here = awaited.look(&mut guard, None);
            if here.is_some() {
                return (guard, here);
            }
            if deadline.has_passed() {
                awaited.give_up(&mut guard);
                return (guard, None);
            }
        }
    }

    /// Sleeps until somebody else has received what is awaited, or does so no more.
    #[cold]
    fn wait_for_others<'a, A: Awaited>(
        &'a self,
        mut guard: Guard<'a, Core>,
        deadline: &mut Deadline,
        awaited: A,
    ) -> (Guard<'a, Core>, Option<A::Output>) {
        let waker = thread_waker();
        // The look before may have been one send ago.
        let here = awaited.look(&mut guard, Some(&waker));
        if here.is_some() {
            return (guard, here);
        }
        let ticket = guard.park(waker);
        guard = self.sleep(guard, deadline.at());
        guard.unpark(ticket);
        (guard, None)
    }

    /// Sleeps until this thread's waker is called.
    pub(crate) fn sleep<'a>(
        &'a self,
        guard: Guard<'a, Core>,
        deadline: Option<Instant>,
    ) -> Guard<'a, Core> {
        drop(guard);
        match deadline {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
        self.drive.lock()
    }

    /// Lets others receive until then.
    pub(crate) fn keep_away<'a>(
        &'a self,
        guard: Guard<'a, Core>,
        until: Option<Instant>,
    ) -> Guard<'a, Core> {
        let guard = self.leave(guard);
        self.sleep(guard, until)
    }

    /// Sends what there is to send, as far as that goes without waiting.
    pub(crate) fn flush(&self, guard: Guard<'_, Core>) {
        let mut guard = self.drive.flush(guard);
        if guard.is_blocked() && guard.is_unattended() {
            guard.hand_over_sending();
        }
        drop(self.wake_ready(guard));
    }

    /// Receives what is there, without waiting.
    pub(crate) fn receive_now<'a>(&'a self, guard: Guard<'a, Core>) -> Guard<'a, Core> {
        let (guard, _) = self.drive.turn(guard, Wait::No);
        self.leave(guard)
    }

    /// Calls the wakers that have become due, without the lock.
    #[inline]
    pub(crate) fn wake_ready<'a>(&'a self, guard: Guard<'a, Core>) -> Guard<'a, Core> {
        if guard.books.ready.is_empty() { guard } else { self.wake(guard) }
    }

    #[cold]
    fn wake<'a>(&'a self, mut guard: Guard<'a, Core>) -> Guard<'a, Core> {
        while !guard.books.ready.is_empty() {
            let mut ready = std::mem::take(&mut guard.books.ready);
            drop(guard);
            ready.settle();
            guard = self.drive.lock();
            if guard.books.ready.is_empty() {
                // Its space serves again.
                guard.books.ready = ready;
            }
        }
        guard
    }

    /// A thread that may have received for others stops doing so.
    #[inline]
    pub(crate) fn leave<'a>(&'a self, guard: Guard<'a, Core>) -> Guard<'a, Core> {
        if guard.is_unattended() && guard.has_successor() {
            self.leave_to_others(guard)
        } else {
            self.wake_ready(guard)
        }
    }

    #[cold]
    fn leave_to_others<'a>(&'a self, mut guard: Guard<'a, Core>) -> Guard<'a, Core> {
        if guard.is_blocked() {
            guard.hand_over_sending();
        } else {
            guard.hand_over();
        }
        self.wake_ready(guard)
    }

    /// Ends the connection: everybody who waits returns.
    pub(crate) fn close(&self) {
        let mut guard = self.drive.fail(self.drive.lock(), Failure::Closed);
        guard.close();
        drop(self.wake_ready(guard));
    }
}

/// A request that was made, and what came of it.
pub(crate) struct Asked {
    trace: Trace,
    pub(crate) call: CallId,
    /// `None`: there was none in time.
    answer: Option<Answered>,
}

impl Asked {
    /// What the answer means to the one who asked.
    #[inline(always)]
    pub(crate) fn take<T: Answer>(self, label: Label<'_>, scope: Scope) -> Result<T> {
        self.trace.end(label, scope, self.call, self.answer)
    }
}

/// The link as its users hold it. With the last of them the connection ends.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Link>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.background.stop(&self.0);
        self.0.close();
    }
}

impl Deref for Handle {
    type Target = Arc<Link>;

    fn deref(&self) -> &Arc<Link> {
        &self.0
    }
}

/// Wakes the thread that calls this.
pub(crate) fn thread_waker() -> Waker {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    WAKER.with(Waker::clone)
}
