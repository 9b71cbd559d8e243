//! Operations that are started without waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

#[cfg(feature = "futures")]
use xs_proto::TxId;

use crate::engine::{CallId, CallResult, Refusal, RoomTicket, Scope, Timer, Waiter};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;
use crate::op::{Decode, Label, Op};
use crate::trace;
use crate::tree::Tree;

/// An operation that is in flight, returned by [`Tree::start`].
///
/// [`try_take`](Self::try_take) takes the result if it has come, [`wait`](Self::wait) waits for it,
/// and `.await` works in a task. Dropping this value discards the result; the daemon may still
/// carry out the operation.
///
/// Only `wait` receives the result itself. Otherwise, it has to be received by a thread that waits
/// for anything on the same client, an [event source](crate::EventSource), a
/// [driver](crate::futures::Driver) or the callback thread.
///
/// A task that awaits it is woken at the deadline by the driver of a
/// [`futures::Client`](crate::futures::Client). Without one, the timeout does not end the `.await`.
///
/// ```
/// use xs_client::{Client, op};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// let first = client.start(&op::write("/a", "1"))?;
/// let second = client.start(&op::read("/a"))?;
/// assert_eq!(second.wait()?, b"1");
/// first.wait()?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[must_use = "dropping it discards the result"]
pub struct Pending<T> {
    handle: Arc<Handle>,
    /// `None` once the result was taken.
    call: Option<CallId>,
    deadline: Option<Instant>,
    /// Set while a task waits.
    timer: Option<Timer>,
    /// How often the driver had been polled when the operation was started.
    driver_polls: u64,
    name: &'static str,
    path: Option<Box<str>>,
    scope: Scope,
    start: trace::Start,
    decode: Decode<T>,
}

/// A task that waits until it can start an operation.
pub(crate) struct StartingTask<'a> {
    pub(crate) waiter: &'a Waiter,
    pub(crate) ticket: &'a mut Option<RoomTicket>,
    pub(crate) has_timed_out: bool,
}

impl Tree {
    /// Starts an operation without waiting for its result. The timeout counts from now.
    ///
    /// If the client [reconnects](crate::Builder::reconnect) and the connection is lost, this makes
    /// one attempt to connect, unless the client still pauses after the last one.
    ///
    /// # Errors
    /// [`ErrorKind::TooManyRequests`] if 4096 requests are in flight. [`ErrorKind::Invalid`] if an
    /// argument is invalid. Another kind if there is no connection. Nothing is sent then.
    pub fn start<T>(&self, op: &Op<'_, T>) -> Result<Pending<T>> {
        match self.poll_start(op, self.task_deadline(), None) {
            Poll::Ready(started) => started,
            Poll::Pending => Err(op.label.error(ErrorKind::TooManyRequests)),
        }
    }

    /// Starts an operation if there is room for it in flight and a connection. Otherwise registers
    /// the task, unless its deadline has passed.
    pub(crate) fn poll_start<T>(
        &self,
        op: &Op<'_, T>,
        deadline: Option<Instant>,
        task: Option<StartingTask<'_>>,
    ) -> Poll<Result<Pending<T>>> {
        let request = op.request()?;
        let mut guard = self.handle.lock();
        let mut submitted = guard.submit(self.scope, request);
        if task.is_none() && matches!(submitted, Err(Refusal::Failed(_))) {
            guard.try_connect(Instant::now());
            submitted = guard.submit(self.scope, request);
        }
        let refusal = match submitted {
            Ok(call) => {
                if task.is_some() {
                    guard.gather();
                }
                return Poll::Ready(Ok(Pending {
                    handle: self.handle.clone(),
                    call: Some(call),
                    deadline,
                    timer: None,
                    driver_polls: guard.driver_polls,
                    name: op.label.name,
                    path: op.label.path.map(Into::into),
                    scope: self.scope,
                    start: trace::Start::now(),
                    decode: op.decode,
                }));
            }
            Err(refusal) => refusal,
        };
        let can_wait = match &refusal {
            Refusal::Full => true,
            // A task leaves it to the driver to connect.
            Refusal::Failed(_) => {
                guard.wake_pollers();
                !guard.is_lost()
            }
            _ => false,
        };
        let kind = match task {
            Some(task) if can_wait && !task.has_timed_out => {
                guard.register_for_room(task.ticket, task.waiter);
                return Poll::Pending;
            }
            Some(_) if matches!(refusal, Refusal::Full) => ErrorKind::TimedOut,
            _ => guard.explain(refusal),
        };
        Poll::Ready(Err(op.label.error(kind)))
    }
}

impl<T> Pending<T> {
    /// Takes the result if it has come, or the error if the deadline has passed. Returns `None`
    /// before that, and after the result was taken. Receives nothing itself.
    pub fn try_take(&mut self) -> Option<Result<T>> {
        self.call?;
        match self.poll_result(None) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// The operation has failed. [`ErrorKind::Unexpected`] if the result was taken before.
    pub fn wait(mut self) -> Result<T> {
        let Some(call) = self.call.take() else {
            return Err(self.already_taken());
        };
        let deadline = self.handle.thread_deadline(self.deadline);
        let mut guard = self.handle.lock();
        guard.stop_timer(&mut self.timer);
        let result = guard.wait_for_result(deadline, call);
        drop(guard);
        self.finish(call, result)
    }

    /// Returns when the operation times out; `None` if it never does. An event loop has to call
    /// [`try_take`](Self::try_take) by then.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn poll_result(&mut self, waiter: Option<&Waiter>) -> Poll<Result<T>> {
        let Some(call) = self.call else {
            return Poll::Ready(Err(self.already_taken()));
        };
        // A task need not read the clock: its timer tells it.
        let mut has_timed_out = match self.deadline {
            Some(at) if waiter.is_none() => at <= self.handle.task_now(),
            _ => false,
        };
        let mut guard = self.handle.lock();
        let result = guard.take_result(call);
        if result.is_none() {
            if let (Some(at), Some(waiter)) = (self.deadline, waiter) {
                has_timed_out = guard.poll_timer(&mut self.timer, at, waiter).is_ready();
            }
            if !has_timed_out {
                waiter.iter().for_each(|waiter| guard.register_for_result(call, waiter));
                return Poll::Pending;
            }
            guard.cancel(call);
        }
        self.call = None;
        guard.stop_timer(&mut self.timer);
        let is_driven = guard.is_driven_since(self.driver_polls);
        drop(guard);
        if result.is_none() && !is_driven {
            return Poll::Ready(Err(self.label().error(ErrorKind::NotDriven)));
        }
        Poll::Ready(self.finish(call, result))
    }

    fn finish(&self, call: CallId, result: Option<CallResult>) -> Result<T> {
        self.label().finish(self.decode, self.start, self.scope, call, result)
    }

    fn already_taken(&self) -> Error {
        self.label().unexpected("the result was already taken")
    }

    fn label(&self) -> Label<'_> {
        Label { name: self.name, path: self.path.as_deref() }
    }
}

#[cfg(feature = "futures")]
impl Pending<TxId> {
    /// Returns the scope of the transaction that this opens.
    pub(crate) async fn scope(self) -> Result<Scope> {
        let call = self.call;
        let tx_id = self.await?;
        Ok(call.map_or(Scope::NONE, |call| Scope::opened(tx_id, call)))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.poll_result(Some(&Waiter::Task(cx.waker().clone())))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            let mut guard = self.handle.lock();
            guard.cancel(call);
            guard.stop_timer(&mut self.timer);
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("operation", &self.name)
            .field("path", &self.path)
            .field("is_taken", &self.call.is_none())
            .finish_non_exhaustive()
    }
}
