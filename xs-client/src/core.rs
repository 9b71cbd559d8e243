//! What stands behind the lock: the machine, who waits for what, and the watches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Waker;
use std::time::Instant;

use bytes::BytesMut;
use xs_proto::{
    ClientConnection, ConnectionError, ErrorCode, Event, Limits, Path, Reply, ReqId, Request,
    RequestError, SubmitError, TxId,
};
use xs_transport::{Failure, Machine};

use crate::backoff::Backoff;
use crate::calls::{Answered, CallId, Calls};
use crate::timers::{Timer, Timers};
use crate::trace;
use crate::wakers::Ready;
use crate::watches::{Token, Watches};

/// The client's state, as [`xs_transport::Drive`] runs it.
#[derive(Debug)]
pub(crate) struct Core {
    connection: ClientConnection<Purpose>,
    pub(crate) books: Books,
    /// Threads that wait while another one receives for them; see [`Core::park`].
    parked: BTreeMap<u64, Waker>,
    last_ticket: u64,
    /// Who watches the descriptor and the clock for everybody, if there is such a one.
    pub(crate) driver: Option<Waker>,
    /// Likewise an event loop, which wants to know of all that others receive as well.
    pub(crate) observer: Option<Waker>,
    /// It has found the seat taken: it has to be told when that is free.
    pub(crate) observer_stands: bool,
    /// The driver sends for tasks; see [`Core::gather`].
    pub(crate) gathers: bool,
    /// There is something that it has to send for them.
    pub(crate) gathered: bool,
    pub(crate) timers: Timers,
    /// Counts the threads that came to wait, for those who want to know whether there was any.
    pub(crate) waits: u64,
    /// Counts the connections there were. Transactions do not outlive theirs.
    session: u64,
    pub(crate) backoff: Backoff,
    /// Somebody is connecting again.
    pub(crate) reconnecting: bool,
    /// The user has closed the connection for good.
    pub(crate) closed: bool,
    failure: Option<Failure>,
}

/// Who waits for what comes.
#[derive(Debug)]
pub(crate) struct Books {
    calls: Calls,
    pub(crate) watches: Watches,
    /// Those who wait until one more request is possible.
    room: Vec<Waker>,
    /// The transactions that are open on the present connection.
    transactions: BTreeSet<TxId>,
    /// The places of those who open one.
    starting: BTreeSet<u32>,
    /// The watches that are being set again, by the request for it.
    rewatches: BTreeMap<ReqId, Token>,
    /// What ends with each RESET_WATCHES under way, by the place of who asked for it.
    resets: Vec<(u32, Reset)>,
    /// What could not be taken back yet, because as many requests are under way as may be: at the
    /// most one for each transaction and watch that there was.
    leftovers: VecDeque<Leftover>,
    /// To be woken when the lock has been given back: what a waker does is not known here.
    pub(crate) ready: Ready,
}

/// Which transaction a request belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    tx_id: TxId,
    /// The connection on which the transaction was opened.
    session: u64,
}

impl Scope {
    /// Outside any transaction.
    pub(crate) const NONE: Scope = Scope { tx_id: TxId::NONE, session: 0 };

    pub(crate) fn tx_id(self) -> TxId {
        self.tx_id
    }

    /// The transaction that a call has opened.
    pub(crate) fn opened(tx_id: TxId, by: CallId) -> Self {
        Scope { tx_id, session: by.session }
    }
}

/// Why a request was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no room for it now; see [`Core::has_room`].
    Full,
    /// It belongs to a transaction of an earlier connection.
    TransactionLost,
    /// It belongs to a transaction that was committed or aborted.
    TransactionEnded,
    Invalid(RequestError),
    Failed(Failure),
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(error) => Refusal::Invalid(error),
            SubmitError::Failed(error) => Refusal::Failed(Failure::Protocol(error)),
            _ => Refusal::Full,
        }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Somebody waits for the answer, at this place.
    Call(u32),
    /// Likewise, and it opens a transaction.
    Start(u32),
    /// Likewise, and if it is granted, all watches and transactions that were there end.
    Reset(u32),
    /// Nobody does.
    None,
    /// A watch is set again: which one, say the [`Books`].
    Rewatch,
}

/// What there was when RESET_WATCHES was sent.
#[derive(Debug)]
struct Reset {
    watches: Vec<Token>,
    transactions: BTreeSet<TxId>,
    starting: BTreeSet<u32>,
}

/// What nobody wants any more, and the daemon still has.
#[derive(Debug)]
pub(crate) enum Leftover {
    Transaction(TxId),
    Watch { path: Box<str>, token: Token },
}

const MAX_PENDING: usize = ClientConnection::<Purpose>::MAX_PENDING;

impl Core {
    pub(crate) fn new(limits: Limits, watch_capacity: usize) -> Self {
        Core {
            connection: ClientConnection::new(limits),
            books: Books {
                calls: Calls::default(),
                watches: Watches::new(watch_capacity),
                room: Vec::new(),
                transactions: BTreeSet::new(),
                starting: BTreeSet::new(),
                rewatches: BTreeMap::new(),
                resets: Vec::new(),
                leftovers: VecDeque::new(),
                ready: Ready::default(),
            },
            parked: BTreeMap::new(),
            last_ticket: 0,
            driver: None,
            observer: None,
            observer_stands: false,
            gathers: false,
            gathered: false,
            timers: Timers::default(),
            waits: 0,
            session: 0,
            backoff: Backoff::default(),
            reconnecting: false,
            closed: false,
            failure: None,
        }
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Takes a request whose answer somebody will [wait for](Self::take_answer).
    pub(crate) fn submit(
        &mut self,
        scope: Scope,
        request: &Request<'_>,
    ) -> Result<CallId, Refusal> {
        self.submit_inlined(scope, request)
    }

    /// The same, compiled for the one request that is taken.
    #[inline(always)]
    pub(crate) fn submit_inlined(
        &mut self,
        scope: Scope,
        request: &Request<'_>,
    ) -> Result<CallId, Refusal> {
        if !scope.tx_id.is_none() && scope.session != self.session {
            return Err(Refusal::TransactionLost);
        }
        if let Some(failure) = &self.failure {
            return Err(Refusal::Failed(failure.clone()));
        }
        if !scope.tx_id.is_none() && !self.books.transactions.contains(&scope.tx_id) {
            return Err(Refusal::TransactionEnded);
        }
        let place = self.books.calls.open();
        let submitted = match request {
            Request::Watch { .. }
            | Request::Unwatch { .. }
            | Request::TransactionStart
            | Request::TransactionEnd { .. }
            | Request::ResetWatches => self.submit_specially(scope.tx_id, request, place),
            _ => self.connection.submit(scope.tx_id, request, Purpose::Call(place)),
        };
        match submitted {
            Ok(req_id) => Ok(CallId { place, req_id, session: self.session }),
            Err(error) => {
                self.books.calls.release(place);
                Err(error.into())
            }
        }
    }

    /// The request changes more than a node.
    #[cold]
    fn submit_specially(
        &mut self,
        tx_id: TxId,
        request: &Request<'_>,
        place: u32,
    ) -> Result<ReqId, SubmitError> {
        let purpose = match request {
            Request::TransactionStart => Purpose::Start(place),
            Request::ResetWatches => Purpose::Reset(place),
            _ => Purpose::Call(place),
        };
        let req_id = self.connection.submit(tx_id, request, purpose)?;
        match request {
            Request::Watch { token, .. } => self.books.watches.sent(token),
            // Nothing follows it in the transaction.
            Request::TransactionEnd { .. } => {
                self.books.transactions.remove(&tx_id);
            }
            Request::ResetWatches => self.books.begin_reset(place),
            Request::TransactionStart => drop(self.books.starting.insert(place)),
            _ => {}
        }
        Ok(req_id)
    }

    /// Aborts a transaction, without waiting for the answer, unless its end is under way.
    pub(crate) fn abort(&mut self, scope: Scope) -> bool {
        let open = scope.session == self.session && self.books.transactions.remove(&scope.tx_id);
        if open {
            self.take_back(Leftover::Transaction(scope.tx_id));
        }
        open
    }

    /// Lets the daemon forget something, as soon as there is room for the request. What comes of
    /// it is of no interest.
    pub(crate) fn take_back(&mut self, leftover: Leftover) {
        // Without a connection there is nobody to tell.
        if self.failure.is_none() {
            self.books.leftovers.push_back(leftover);
            self.take_leftovers_back();
        }
    }

    /// Takes back what there is room for.
    #[inline]
    fn take_leftovers_back(&mut self) {
        if !self.books.leftovers.is_empty() {
            self.take_some_back();
        }
    }

    #[cold]
    fn take_some_back(&mut self) {
        while let Some(leftover) = self.books.leftovers.front() {
            if self.connection.pending() >= MAX_PENDING {
                return;
            }
            // It can only be refused for being no path, and it was one when the watch was set.
            let _ = match leftover {
                Leftover::Transaction(tx_id) => {
                    let abort = Request::TransactionEnd { commit: false };
                    self.connection.submit(*tx_id, &abort, Purpose::None).map(drop)
                }
                Leftover::Watch { path, token } => Path::new(path).map_or(Ok(()), |path| {
                    let wire = token.to_string();
                    let unwatch = Request::Unwatch { path, token: wire.as_bytes() };
                    self.connection.submit(TxId::NONE, &unwatch, Purpose::None).map(drop)
                }),
            };
            self.books.leftovers.pop_front();
        }
    }

    /// The user has closed the connection for good: everybody who waits is to look.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.wake_all();
        self.books.watches.wake_all(&mut self.books.ready);
    }

    fn wake_all(&mut self) {
        self.wake_room();
        self.books.ready.extend(std::mem::take(&mut self.parked).into_values());
        // Perhaps nobody watches the clock any more.
        self.timers.wake_all(&mut self.books.ready);
        self.wake_driver();
    }

    /// Which connection this is, counting from the first.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// The answer, or why there will be none; once. If it is not here, `waker` is remembered.
    #[inline(always)]
    pub(crate) fn take_answer(&mut self, call: CallId, waker: Option<&Waker>) -> Option<Answered> {
        let answer = self.books.calls.take(call);
        if let (None, Some(waker)) = (&answer, waker) {
            self.books.calls.await_answer(call, waker, &mut self.books.ready);
        }
        answer
    }

    /// The answer is of no interest any more, and is dropped now or when it comes.
    #[cold]
    pub(crate) fn forget(&mut self, call: CallId) {
        if let Some(Reply::Transaction(tx_id)) =
            self.books.calls.forget(call, &mut self.books.ready)
        {
            self.books.transactions.remove(&tx_id);
            self.take_back(Leftover::Transaction(tx_id));
        }
    }

    /// Whether one more request is possible, or none ever. Otherwise `waker` is remembered.
    pub(crate) fn has_room(&mut self, waker: Option<&Waker>) -> bool {
        let room = self.failure.is_some() || self.connection.pending() < MAX_PENDING;
        if !room {
            self.await_room(waker);
        }
        room
    }

    /// Whether nobody is connecting again. Otherwise `waker` is remembered.
    pub(crate) fn poll_reconnected(&mut self, waker: Option<&Waker>) -> Option<()> {
        if !self.reconnecting {
            return Some(());
        }
        self.await_room(waker);
        None
    }

    /// This waker is called when there is another connection, or the hope for it has ended.
    pub(crate) fn await_reconnect(&mut self, waker: &Waker) {
        self.await_room(Some(waker));
    }

    fn await_room(&mut self, waker: Option<&Waker>) {
        // A task may look many times.
        if let Some(waker) =
            waker.filter(|waker| !self.books.room.iter().any(|w| w.will_wake(waker)))
        {
            self.books.room.push(waker.clone());
        }
    }

    /// Those who wait for room or for another connection are to look again.
    pub(crate) fn wake_room(&mut self) {
        self.books.ready.extend(self.books.room.drain(..));
    }

    /// Whoever was connecting again is done with it.
    pub(crate) fn stop_reconnecting(&mut self) {
        self.reconnecting = false;
        self.wake_room();
        self.wake_driver();
    }

    /// There is a new connection: all watches are set again on it.
    pub(crate) fn reconnected(&mut self, limits: Limits) {
        self.connection.restart(limits);
        self.failure = None;
        self.session += 1;
        self.books.transactions.clear();
        let watches = self.books.watches.reconnected(&mut self.books.ready);
        trace::reconnected(watches.len(), &mut self.books.ready);
        for (token, path, depth) in watches {
            let wire = token.to_string();
            let Ok(path) = Path::new(&path) else { continue };
            let request = Request::Watch { path, token: wire.as_bytes(), depth };
            match self.connection.submit(TxId::NONE, &request, Purpose::Rewatch) {
                Ok(req_id) => drop(self.books.rewatches.insert(req_id, token)),
                // More watches than requests in flight: far beyond every daemon's quota.
                Err(_) => {
                    self.books.watches.refused(token, ErrorCode::NoSpace, &mut self.books.ready);
                }
            }
        }
    }

    /// A thread is about to sleep because another one receives. When that one leaves, it
    /// [wakes](Self::hand_over) one of those who are parked, to take its place.
    pub(crate) fn park(&mut self, waker: Waker) -> u64 {
        self.last_ticket += 1;
        self.parked.insert(self.last_ticket, waker);
        self.last_ticket
    }

    pub(crate) fn unpark(&mut self, ticket: u64) {
        self.parked.remove(&ticket);
    }

    /// Whether anybody could take the place of one who stops receiving, or sending.
    #[inline]
    pub(crate) fn has_successor(&self) -> bool {
        !self.parked.is_empty()
            || self.driver.is_some()
            || self.observer.is_some()
            || self.books.watches.callbacks.runner.is_some()
    }

    /// The caller stops receiving: somebody else has to, if anybody waits.
    pub(crate) fn hand_over(&mut self) {
        if !self.hand_over_to_thread() {
            self.books.ready.extend(self.driver.take());
            if std::mem::take(&mut self.observer_stands) {
                self.books.ready.extend(self.observer.take());
            }
        }
    }

    /// The caller may not be back soon: a thread that waits takes its place, if there is one.
    pub(crate) fn hand_over_to_thread(&mut self) -> bool {
        let next = self.parked.pop_first();
        next.map(|(_, waker)| self.books.ready.push(waker)).is_some()
    }

    /// Likewise, with something that has to be sent, even if nobody waits for an answer.
    pub(crate) fn hand_over_sending(&mut self) {
        if self.parked.is_empty() {
            self.books.ready.extend(self.books.watches.callbacks.runner.take());
            self.wake_driver();
        }
        self.hand_over();
    }

    /// Lets the driver look at everything again.
    #[inline]
    pub(crate) fn wake_driver(&mut self) {
        self.books.ready.extend(self.driver.take().into_iter().chain(self.observer.take()));
    }

    /// Whether the request of a task that was just taken is left to the driver, which sends it
    /// together with those that other tasks are about to make. A request that is alone has nothing
    /// to gain by that.
    pub(crate) fn gather(&mut self) -> bool {
        let gather = self.gathers && self.connection.pending() > 1;
        if gather {
            self.gathered = true;
            self.wake_driver();
        }
        gather
    }

    /// Wakes somebody at some time, if there is a driver; the last waker given counts.
    pub(crate) fn set_timer(&mut self, timer: &mut Option<Timer>, at: Instant, waker: &Waker) {
        if timer.is_some_and(|timer| self.timers.update(timer, waker, &mut self.books.ready)) {
            return;
        }
        let (added, tell) = self.timers.add(at, waker.clone());
        *timer = Some(added);
        if tell {
            self.wake_driver();
        }
    }
}

impl Books {
    /// RESET_WATCHES is on its way.
    #[cold]
    fn begin_reset(&mut self, place: u32) {
        let (watches, transactions) = (self.watches.sent_tokens(), self.transactions.clone());
        let starting = self.starting.clone();
        self.resets.push((place, Reset { watches, transactions, starting }));
    }

    /// RESET_WATCHES was answered: what it ends, ends before anybody looks again.
    #[cold]
    fn end_reset(&mut self, place: u32, granted: bool) {
        let Some(at) = self.resets.iter().position(|(of, _)| *of == place) else {
            return;
        };
        let (_, reset) = self.resets.remove(at);
        if granted {
            for token in reset.watches {
                self.watches.end(token, &mut self.ready);
            }
            self.transactions.retain(|tx_id| !reset.transactions.contains(tx_id));
        }
    }

    #[inline(always)]
    fn answered(
        &mut self,
        req_id: ReqId,
        purpose: Purpose,
        reply: impl FnOnce() -> Reply<'static>,
    ) {
        if !self.room.is_empty() {
            self.ready.extend(self.room.drain(..));
        }
        match purpose {
            Purpose::Call(place) => drop(self.calls.finish(place, reply, &mut self.ready)),
            purpose => self.answered_specially(req_id, purpose, reply()),
        }
    }

    /// The answer changes more than what its caller knows.
    #[cold]
    fn answered_specially(&mut self, req_id: ReqId, purpose: Purpose, reply: Reply<'static>) {
        match (purpose, reply) {
            (Purpose::Start(place), reply) => self.started(place, reply),
            (Purpose::Reset(place), reply) => {
                self.end_reset(place, reply == Reply::Done);
                self.calls.finish(place, || reply, &mut self.ready);
            }
            (Purpose::Rewatch, reply) => match (self.rewatches.remove(&req_id), reply) {
                (Some(token), Reply::Error(code)) => {
                    self.watches.refused(token, code, &mut self.ready);
                }
                (Some(token), _) => self.watches.set_again(token, &mut self.ready),
                (None, _) => {}
            },
            (Purpose::Call(_) | Purpose::None, _) => {}
        }
    }

    /// TRANSACTION_START was answered.
    fn started(&mut self, place: u32, reply: Reply<'static>) {
        let begun = match reply {
            Reply::Transaction(tx_id) => Some(tx_id),
            _ => None,
        };
        self.starting.remove(&place);
        for (_, reset) in &mut self.resets {
            if reset.starting.remove(&place) {
                reset.transactions.extend(begun);
            }
        }
        let wanted = self.calls.finish(place, || reply, &mut self.ready);
        match begun {
            Some(tx_id) if wanted => drop(self.transactions.insert(tx_id)),
            // It must not stay open.
            Some(tx_id) => self.leftovers.push_back(Leftover::Transaction(tx_id)),
            None => {}
        }
    }
}

impl Books {
    /// Handles one reply or watch event.
    fn handle(&mut self, event: Event<'_, Purpose>) {
        match event {
            Event::Reply { req_id, key, reply } => {
                self.answered(req_id, key, || reply.into_owned());
            }
            Event::Watch { path, token } => {
                trace::watch_fired(path, token, &mut self.ready);
                self.watches.deliver(path, token, &mut self.ready);
            }
            _ => {}
        }
    }
}

impl Machine for Core {
    #[inline]
    fn has_output(&self) -> bool {
        self.connection.has_output()
    }

    #[inline]
    fn take_output(&mut self, out: &mut BytesMut) {
        self.connection.take_output_into(out);
    }

    #[inline]
    fn receive(&mut self, mut input: &[u8]) -> Result<(), ConnectionError> {
        if let Some(observer) = self.observer.take() {
            self.books.ready.push(observer);
        }
        self.backoff.reset();
        loop {
            let received = self.connection.receive(input)?;
            input = &input[received.consumed..];
            if let Some(event) = received.event {
                self.books.handle(event);
            }
            if input.is_empty() {
                break;
            }
        }
        // Ahead of those who wait for room: they get the lock later.
        self.take_leftovers_back();
        Ok(())
    }

    fn refused(&mut self, code: ErrorCode) {
        if let Some((req_id, Some(purpose))) = self.connection.refused() {
            self.books.answered(req_id, purpose, || Reply::Error(code));
        }
        self.take_leftovers_back();
    }

    fn end_of_input(&mut self) -> ConnectionError {
        self.connection.end_of_input()
    }

    fn failed(&mut self, failure: &Failure) {
        trace::lost(failure, &mut self.books.ready);
        self.failure = Some(failure.clone());
        self.books.leftovers.clear();
        self.books.resets.clear();
        self.books.starting.clear();
        self.books.rewatches.clear();
        self.books.calls.fail(failure, &mut self.books.ready);
        self.wake_all();
        self.books.watches.failed(failure, &mut self.books.ready);
    }
}
