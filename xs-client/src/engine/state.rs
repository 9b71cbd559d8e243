//! The state behind the lock, and the changes that requests make. `dispatch` has the changes that
//! replies and events make.

use std::sync::Arc;

use xs_proto::{ClientConnection, Path, Reply, Request, RequestError, SubmitError, TxId};
use xs_transport::{Failure, Transport};

use super::alarm::Alarm;
use super::backoff::Backoff;
use super::callback_thread::CallbackThread;
use super::calls::{CallId, CallKey, CallResult, Calls};
use super::connector::Connector;
use super::deferred::{Deferred, Waiter};
use super::gathers::Gathers;
use super::group::GroupId;
use super::housekeeping::{Housekeeping, HousekeepingQueue};
use super::roles::{Pumps, Roles};
use super::room::{RoomQueue, RoomTicket};
use super::timers::Timers;
use super::token::WatchToken;
use super::transactions::{Scope, Transactions};
use super::watch_entry::Next;
use super::watches::Watches;
use crate::error::ErrorKind;
use crate::sync::thread::JoinHandle;

/// Everything that the parties of a client share. The tables in it do not know the lock: they wake
/// parties through [`Deferred`].
#[derive(Debug)]
pub(crate) struct State {
    pub(super) connection: ClientConnection<Purpose>,
    pub(super) transport: Arc<dyn Transport>,
    /// The number of the current connection. Roles, calls and transactions of an earlier one are
    /// out of date.
    pub(super) generation: u64,
    /// Why the current connection has failed.
    failure: Option<Failure>,
    /// The program has closed the client, which makes no new connection.
    pub(super) closed: bool,
    /// How to make a new connection after a failure. `None` if the client does not reconnect.
    pub(super) connector: Option<Connector>,
    pub(super) backoff: Backoff,
    pub(super) roles: Roles,
    pub(super) pumps: Pumps,
    pub(super) calls: Calls,
    pub(crate) watches: Watches,
    pub(super) transactions: Transactions,
    pub(super) housekeeping: HousekeepingQueue,
    pub(crate) timers: Timers,
    /// The alarm that watches the timers. `None` if the task thread does.
    pub(super) alarm: Option<Arc<dyn Alarm>>,
    pub(crate) callback_thread: CallbackThread,
    /// The thread that drives tasks if no runtime does.
    pub(crate) task_thread: Option<JoinHandle<()>>,
    room_queue: RoomQueue,
    /// Counts the receives. A change tells a party that tried to send that the peer made progress.
    pub(super) receives: u64,
    /// Counts the waits of threads other than background threads. While the number grows, the
    /// callback thread leaves the reader role to them.
    pub(crate) waits: u64,
    /// The requests that the driver gathers; see [`State::gather`].
    pub(crate) gathers: Gathers,
    /// Counts the polls of the driver. A call that times out checks whether there was one.
    pub(crate) driver_polls: u64,
    /// Gathered requests wait for the driver to send them.
    pub(crate) gathered: bool,
    pub(crate) deferred: Deferred,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A caller waits for the reply.
    Call(CallKey),
    /// TRANSACTION_START, for a caller.
    Start(CallKey),
    /// RESET_WATCHES, for a caller.
    Reset(CallKey),
    /// A watch is set again on a new connection.
    WatchAgain(WatchToken),
    /// Other housekeeping, whose reply is ignored.
    CleanUp,
}

/// A point in time, for the question whether the daemon has ended watches since then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResetMark {
    generation: u64,
    /// The number of RESET_WATCHES that had been answered on the connection.
    answered: u64,
}

/// Why a request was not accepted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Too many requests are in flight.
    Full,
    /// The transaction was opened on an earlier connection.
    TransactionLost,
    /// The transaction was committed or aborted.
    TransactionEnded,
    Invalid(RequestError),
    Failed(Failure),
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(error) => Refusal::Invalid(error),
            SubmitError::Failed(error) => Refusal::Failed(error.into()),
            _ => Refusal::Full,
        }
    }
}

impl State {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        watch_capacity: usize,
        connector: Option<Connector>,
    ) -> Self {
        State {
            connection: ClientConnection::new(transport.limits()),
            roles: Roles::new(&transport, 0),
            transport,
            generation: 0,
            failure: None,
            closed: false,
            connector,
            backoff: Backoff::default(),
            pumps: Pumps::default(),
            calls: Calls::default(),
            watches: Watches::new(watch_capacity),
            transactions: Transactions::default(),
            housekeeping: HousekeepingQueue::default(),
            timers: Timers::default(),
            alarm: None,
            callback_thread: CallbackThread::default(),
            task_thread: None,
            room_queue: RoomQueue::default(),
            receives: 0,
            waits: 0,
            gathers: Gathers::default(),
            driver_polls: 0,
            gathered: false,
            deferred: Deferred::default(),
        }
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        self.transport.clone()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns whether the transport accepts no more to send.
    #[cfg(any(feature = "futures", feature = "mio"))]
    pub(crate) fn is_send_blocked(&self) -> bool {
        self.roles.send_blocked
    }

    /// Returns whether a lost connection is replaced.
    pub(crate) fn reconnects(&self) -> bool {
        self.connector.is_some()
    }

    pub(super) fn set_failure(&mut self, failure: Option<Failure>) {
        // It may hold an error of the caller's transport, whose drop is user code.
        if let Some(failure) = std::mem::replace(&mut self.failure, failure) {
            self.deferred.drop_later(failure);
        }
    }

    /// Returns whether the connection has failed and will not be replaced.
    pub(crate) fn is_lost(&self) -> bool {
        self.failure.is_some() && (self.closed || self.connector.is_none())
    }

    /// Returns the number of calls whose results were neither taken nor cancelled.
    #[cfg(test)]
    pub(crate) fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// Submits a request whose reply a caller waits for. The guard sends it.
    pub(crate) fn submit(
        &mut self,
        scope: Scope,
        request: &Request<'_>,
    ) -> Result<CallId, Refusal> {
        if self.is_forked() {
            return Err(Refusal::Failed(Failure::Forked));
        }
        let Scope { tx_id, generation } = scope;
        if !tx_id.is_none() && generation != self.generation {
            return Err(Refusal::TransactionLost);
        }
        if let Some(failure) = &self.failure {
            return Err(Refusal::Failed(failure.clone()));
        }
        if !tx_id.is_none() && !self.transactions.is_open(tx_id) {
            return Err(Refusal::TransactionEnded);
        }
        let key = self.calls.open();
        let purpose = match request {
            Request::TransactionStart => Purpose::Start(key),
            Request::ResetWatches => Purpose::Reset(key),
            _ => Purpose::Call(key),
        };
        let req_id = self.connection.submit(tx_id, request, purpose).inspect_err(|_| {
            self.calls.cancel(key, &mut self.deferred);
        })?;
        match request {
            Request::Watch { token, .. } => self.watches.submitted(token),
            // No request may follow in the transaction.
            Request::TransactionEnd { .. } => _ = self.transactions.end(tx_id),
            Request::TransactionStart => self.transactions.starting(key),
            Request::ResetWatches => {
                self.transactions.begin_reset(key, self.watches.known_tokens());
            }
            _ => {}
        }
        Ok(CallId { key, req_id, generation: self.generation })
    }

    /// Returns the error that tells the caller why its request was not accepted.
    pub(crate) fn explain(&self, refusal: Refusal) -> ErrorKind {
        match refusal {
            Refusal::Full => ErrorKind::TooManyRequests,
            Refusal::TransactionLost => ErrorKind::TransactionLost,
            Refusal::TransactionEnded => ErrorKind::TransactionEnded,
            Refusal::Invalid(error) => error.into(),
            Refusal::Failed(failure) => match self.backoff.error() {
                Some(error) => ErrorKind::Unreachable(error),
                None => ErrorKind::Lost(failure),
            },
        }
    }

    /// Returns the error of a request that could not be submitted before its deadline.
    pub(crate) fn not_submitted(&self) -> ErrorKind {
        match &self.failure {
            Some(failure) => self.explain(Refusal::Failed(failure.clone())),
            None => ErrorKind::TimedOut,
        }
    }

    /// Returns the current mark, for [`may_be_reset_since`](Self::may_be_reset_since).
    pub(crate) fn reset_mark(&self) -> ResetMark {
        let (_, answered) = self.transactions.count_resets();
        ResetMark { generation: self.generation, answered }
    }

    /// Returns whether the daemon may have ended a watch that was in the table at `mark`: the
    /// connection was replaced, or a RESET_WATCHES of this client took effect.
    pub(crate) fn may_be_reset_since(&self, mark: ResetMark) -> bool {
        let (submitted, _) = self.transactions.count_resets();
        self.generation != mark.generation || submitted > mark.answered
    }

    /// Returns whether there is room for one more request in flight. This is also true after a
    /// failure.
    fn has_room(&self) -> bool {
        let max = ClientConnection::<Purpose>::MAX_PENDING;
        self.failure.is_some() || self.connection.pending() < max
    }

    /// Takes the result of a call, once.
    pub(crate) fn take_result(&mut self, call: CallId) -> Option<CallResult> {
        match self.is_forked() {
            true => Some(Err(Failure::Forked)),
            false => self.calls.take(call.key),
        }
    }

    /// Takes the next event of a group of watches, or the failure of the connection. Events that
    /// were received before the failure come first.
    pub(crate) fn take_next(&mut self, group: GroupId) -> Option<Next> {
        if self.is_forked() {
            return Some(Next::Failed(Failure::Forked));
        }
        let next = self.watches.take_next(group, &mut self.deferred);
        next.or_else(|| self.failure.clone().map(Next::Failed))
    }

    /// Registers the party to wake when a call is complete.
    pub(crate) fn register_for_result(&mut self, call: CallId, waiter: &Waiter) {
        self.calls.register(call.key, waiter, &mut self.deferred);
    }

    /// Registers the party to wake when there may be room for a request, or a new connection. The
    /// party keeps the ticket while it waits, and then calls [`leave_room`](Self::leave_room).
    pub(crate) fn register_for_room(&mut self, ticket: &mut Option<RoomTicket>, waiter: &Waiter) {
        self.room_queue.register(ticket, waiter, &mut self.deferred);
    }

    /// Removes a party that no longer waits for room. If it leaves room, the next party is woken.
    pub(crate) fn leave_room(&mut self, ticket: RoomTicket) {
        self.room_queue.leave(ticket, &mut self.deferred);
        self.offer_room();
    }

    /// Wakes parties that wait for room, if there is some. Parties that wait for a new connection
    /// are woken when there is one.
    pub(super) fn offer_room(&mut self) {
        match self.connection.pending() {
            _ if self.failure.is_some() => {}
            // No reply will offer the room again, and the parties that were woken before may be tasks
            // that are not polled.
            0 => self.room_queue.wake_all(&mut self.deferred),
            pending => {
                let room = ClientConnection::<Purpose>::MAX_PENDING - pending;
                self.room_queue.offer(room, &mut self.deferred);
            }
        }
    }

    /// Cancels a call whose reply is no longer wanted. The daemon may still carry out the request.
    pub(crate) fn cancel(&mut self, call: CallId) {
        if let Some(Reply::Transaction(tx_id)) = self.calls.cancel(call.key, &mut self.deferred) {
            self.transactions.end(tx_id);
            self.clean_up(Housekeeping::Abort(tx_id));
        }
    }

    /// Aborts a transaction, unless it has ended or the request to end it is in flight.
    pub(crate) fn abort(&mut self, scope: Scope) {
        if scope.generation == self.generation && self.transactions.end(scope.tx_id) {
            self.clean_up(Housekeeping::Abort(scope.tx_id));
        }
    }

    /// Queues a request that cleans up. Without a connection there is nothing to clean up.
    pub(crate) fn clean_up(&mut self, request: Housekeeping) {
        if self.failure.is_none() {
            self.housekeeping.push(request);
            self.submit_housekeeping();
        }
    }

    pub(super) fn submit_housekeeping(&mut self) {
        while self.has_room() {
            let Some(request) = self.housekeeping.pop() else { return };
            // The path was valid when the watch was set, so no request is invalid.
            let submitted = match request {
                Housekeeping::Abort(tx_id) => {
                    let abort = Request::TransactionEnd { commit: false };
                    self.connection.submit(tx_id, &abort, Purpose::CleanUp)
                }
                Housekeeping::Unwatch { path, token } => {
                    let Ok(path) = Path::new(&path) else { continue };
                    let token = token.to_string();
                    let unwatch = Request::Unwatch { path, token: token.as_bytes() };
                    self.connection.submit(TxId::NONE, &unwatch, Purpose::CleanUp)
                }
                Housekeeping::WatchAgain(token) => {
                    let Some((path, depth)) = self.watches.submit_again(token) else { continue };
                    let Ok(path) = Path::new(&path) else { continue };
                    let wire = token.to_string();
                    let watch = Request::Watch { path, token: wire.as_bytes(), depth };
                    self.connection.submit(TxId::NONE, &watch, Purpose::WatchAgain(token))
                }
            };
            self.housekeeping.in_flight += usize::from(submitted.is_ok());
        }
    }

    /// Registers a party to wake when the state of the callback thread changes.
    pub(crate) fn register_for_callback_thread(&mut self, waiter: &Waiter) {
        self.callback_thread.register(waiter, &mut self.deferred);
    }

    pub(crate) fn callback_thread_changed(&mut self) {
        self.callback_thread.changed(&mut self.deferred);
    }

    /// Wakes the driver and the event loop, which then check the state again.
    pub(crate) fn wake_pollers(&mut self) {
        self.pumps.wake_pollers(&mut self.deferred);
    }

    /// Wakes the parties that wait for room or for a connection, after a change of the connection.
    pub(super) fn wake_room_queue(&mut self) {
        self.room_queue.wake_all(&mut self.deferred);
    }

    /// Wakes a thread that waits for the reader role. It sends all output before it receives.
    /// Returns false if there is no such thread.
    pub(super) fn wake_parked(&mut self) -> bool {
        self.pumps.wake_parked(&mut self.deferred)
    }
}
