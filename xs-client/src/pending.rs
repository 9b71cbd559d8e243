//! Operations that are started without waiting.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

#[cfg(feature = "futures")]
use xs_proto::TxId;
use xs_transport::Guard;

use crate::calls::{Answered, CallId};
use crate::core::{Core, Refusal, Scope};
use crate::error::{Error, ErrorKind, Result};
use crate::link::Handle;
use crate::op::{Answer, Label, Op};
use crate::timers::Timer;
use crate::trace::Trace;
use crate::tree::Tree;

/// An operation that is under way.
///
/// Its answer can be taken when it is here, waited for, or awaited. Dropping this makes the answer
/// of no interest; the operation itself may still be carried out.
///
/// Something has to receive the answer: a thread that waits for anything on the same client, an
/// [event source](crate::EventSource), a [driver](crate::futures::Driver) or the background
/// thread.
///
/// ```
/// use xs_client::{Client, op};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// let first = client.start(&op::write("/a", "1"))?;
/// let second = client.start(&op::read("/a"))?;
/// assert_eq!(second.wait()?, b"1");
/// first.wait()?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it makes the answer of no interest"]
pub struct Pending<T> {
    handle: Arc<Handle>,
    /// `None` once the answer was taken.
    call: Option<CallId>,
    deadline: Option<Instant>,
    /// Set while a task waits.
    timer: Option<Timer>,
    name: &'static str,
    path: Option<Box<str>>,
    scope: Scope,
    trace: Trace,
    answer: PhantomData<fn() -> T>,
}

impl Tree {
    /// Starts an operation, without waiting for its answer. The timeout counts from now. If the
    /// connection is lost and the client [reconnects](crate::Builder::reconnect), this makes one
    /// attempt, when it is time for one.
    ///
    /// # Errors
    /// [`ErrorKind::TooManyRequests`], or the operation cannot be sent at all. Nothing has been
    /// sent then.
    pub fn start<T: Answer>(&self, op: &Op<'_, T>) -> Result<Pending<T>> {
        match self.poll_start(op, self.deadline().at(), None) {
            Poll::Ready(started) => started,
            Poll::Pending => Err(op.label.error(ErrorKind::TooManyRequests)),
        }
    }

    /// Starts an operation if there is room for it and a connection. Otherwise `waker` is
    /// remembered, until the deadline.
    pub(crate) fn poll_start<T: Answer>(
        &self,
        op: &Op<'_, T>,
        deadline: Option<Instant>,
        waker: Option<&Waker>,
    ) -> Poll<Result<Pending<T>>> {
        let request = match &op.request {
            Ok(request) => request,
            Err(invalid) => return Poll::Ready(Err(op.label.error(invalid.clone()))),
        };
        let link = &self.handle;
        let late = || deadline.is_some_and(|deadline| deadline <= Instant::now());
        let mut guard = link.drive.lock();
        let mut submitted = guard.submit(self.scope, request);
        if waker.is_none() && matches!(submitted, Err(Refusal::Failed(_))) {
            guard = link.try_reconnect(guard).0;
            submitted = guard.submit(self.scope, request);
        }
        let kind = match submitted {
            Ok(call) => {
                if waker.is_some() && guard.gather() {
                    drop(link.wake_ready(guard));
                } else {
                    link.flush(guard);
                }
                return Poll::Ready(Ok(Pending {
                    handle: self.handle.clone(),
                    call: Some(call),
                    deadline,
                    timer: None,
                    name: op.label.name,
                    path: op.label.path.map(Into::into),
                    scope: self.scope,
                    trace: Trace::start(),
                    answer: PhantomData,
                }));
            }
            Err(Refusal::Full) if late() => ErrorKind::TimedOut,
            Err(Refusal::Full) => {
                let _ = guard.has_room(waker);
                return Poll::Pending;
            }
            Err(Refusal::Failed(failure)) => {
                // Whoever drives the connection is to make another one, if that is wanted.
                guard.wake_driver();
                let hopeful = link.reconnects() && !guard.closed && !late();
                if let Some(waker) = waker.filter(|_| hopeful) {
                    guard.await_reconnect(waker);
                    drop(link.wake_ready(guard));
                    return Poll::Pending;
                }
                drop(link.wake_ready(guard));
                ErrorKind::Lost(failure)
            }
            Err(Refusal::TransactionLost) => ErrorKind::TransactionLost,
            Err(Refusal::TransactionEnded) => ErrorKind::TransactionEnded,
            Err(Refusal::Invalid(error)) => error.into(),
        };
        Poll::Ready(Err(op.label.error(kind)))
    }
}

impl<T: Answer> Pending<T> {
    /// The answer, if it is here, or the deadline has passed; `None` before that, and once it was
    /// taken. Does not receive anything by itself.
    pub fn try_take(&mut self) -> Option<Result<T>> {
        self.call?;
        match self.poll_answer(None) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Those of the operation; [`ErrorKind::Unexpected`] if the answer was taken before.
    pub fn wait(mut self) -> Result<T> {
        let Some(call) = self.call.take() else {
            return Err(self.taken());
        };
        let link = &self.handle;
        let mut deadline = self.deadline.into();
        let mut guard = link.drive.lock();
        stop_timer(&mut guard, &mut self.timer);
        let (guard, answer) = link.wait(guard, &mut deadline, call);
        drop(link.leave(guard));
        self.finish(call, answer)
    }

    /// When the answer is given up; `None`: never. An event loop has to look again by then.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn poll_answer(&mut self, waker: Option<&Waker>) -> Poll<Result<T>> {
        let Some(call) = self.call else {
            return Poll::Ready(Err(self.taken()));
        };
        let mut guard = self.handle.drive.lock();
        let answer = guard.take_answer(call, waker);
        if answer.is_none() {
            if self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
                if let (Some(deadline), Some(waker)) = (self.deadline, waker) {
                    guard.set_timer(&mut self.timer, deadline, waker);
                }
                drop(self.handle.wake_ready(guard));
                return Poll::Pending;
            }
            guard.forget(call);
        }
        self.call = None;
        stop_timer(&mut guard, &mut self.timer);
        drop(self.handle.wake_ready(guard));
        Poll::Ready(self.finish(call, answer))
    }

    fn finish(&self, call: CallId, answer: Option<Answered>) -> Result<T> {
        self.trace.end(self.label(), self.scope, call, answer)
    }

    fn taken(&self) -> Error {
        self.label().unexpected("the answer was taken before")
    }

    fn label(&self) -> Label<'_> {
        Label { name: self.name, path: self.path.as_deref() }
    }
}

#[cfg(feature = "futures")]
impl Pending<TxId> {
    /// The transaction that this opens.
    pub(crate) async fn scope(self) -> Result<Scope> {
        let call = self.call;
        let tx_id = self.await?;
        Ok(call.map_or(Scope::NONE, |call| Scope::opened(tx_id, call)))
    }
}

impl<T: Answer> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.poll_answer(Some(cx.waker()))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            let mut guard = self.handle.drive.lock();
            guard.forget(call);
            stop_timer(&mut guard, &mut self.timer);
            // To forget may mean to take something back.
            self.handle.flush(guard);
        }
    }
}

fn stop_timer(guard: &mut Guard<'_, Core>, timer: &mut Option<Timer>) {
    if let Some(timer) = timer.take() {
        let core = &mut **guard;
        core.timers.remove(timer, &mut core.books.ready);
    }
}
