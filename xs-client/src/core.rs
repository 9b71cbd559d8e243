//! What stands behind the lock: the machine, who waits for what, and the watches.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;

use bytes::BytesMut;
use xs_proto::{
    ClientConnection, ConnectionError, ErrorCode, Event, Limits, Reply, ReqId, Request,
    SubmitError, TxId,
};
use xs_transport::{Failure, Machine};

use crate::watches::Watches;

/// The client's state, as [`xs_transport::Drive`] runs it.
#[derive(Debug)]
pub(crate) struct Core {
    connection: ClientConnection<()>,
    calls: HashMap<ReqId, Call, BuildHasherDefault<ReqIdHasher>>,
    pub(crate) watches: Watches,
    /// Those who wait until one more request is possible.
    room: Vec<Waker>,
    /// Threads that wait while another one receives for them; see [`Core::park`].
    parked: BTreeMap<u64, Waker>,
    last_ticket: u64,
    /// To be woken when the lock has been given back: what a waker does is not known here.
    pub(crate) ready: Vec<Waker>,
    /// Counts the requests, for those who want to know whether there was any.
    pub(crate) requests: u64,
    failure: Option<Failure>,
}

#[derive(Debug)]
enum Call {
    Waiting(Option<Waker>),
    Done(Reply<'static>),
    Failed,
}

/// The answer to a request, or why there is none.
pub(crate) type Answered = Result<Reply<'static>, Failure>;

impl Core {
    pub(crate) fn new(limits: Limits, watch_capacity: usize) -> Self {
        Core {
            connection: ClientConnection::new(limits),
            calls: HashMap::default(),
            watches: Watches::new(watch_capacity),
            room: Vec::new(),
            parked: BTreeMap::new(),
            last_ticket: 0,
            ready: Vec::new(),
            requests: 0,
            failure: None,
        }
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Takes a request whose answer somebody will [wait for](Self::poll_call).
    pub(crate) fn submit(
        &mut self,
        tx_id: TxId,
        request: &Request<'_>,
    ) -> Result<ReqId, SubmitError> {
        let req_id = self.connection.submit(tx_id, request, ())?;
        self.calls.insert(req_id, Call::Waiting(None));
        self.requests += 1;
        Ok(req_id)
    }

    /// Takes a request whose answer is of no interest.
    pub(crate) fn submit_and_forget(&mut self, tx_id: TxId, request: &Request<'_>) {
        if let Ok(req_id) = self.connection.submit(tx_id, request, ()) {
            self.connection.forget(req_id);
        }
    }

    /// The answer, if it is here. Otherwise `waker` is remembered.
    pub(crate) fn poll_call(&mut self, req_id: ReqId, waker: Option<&Waker>) -> Option<Answered> {
        let call = self.calls.get_mut(&req_id)?;
        if let Call::Waiting(waiting) = call {
            remember(waiting, waker);
            return None;
        }
        match self.calls.remove(&req_id) {
            Some(Call::Done(reply)) => Some(Ok(reply)),
            _ => Some(Err(self.failure.clone().unwrap_or(Failure::Closed))),
        }
    }

    /// The answer is of no interest any more.
    pub(crate) fn forget(&mut self, req_id: ReqId) {
        self.calls.remove(&req_id);
        self.connection.forget(req_id);
    }

    /// Whether one more request is possible. Otherwise `waker` is remembered.
    pub(crate) fn poll_room(&mut self, waker: Option<&Waker>) -> Option<()> {
        if self.failure.is_some() || self.connection.pending() < ClientConnection::<()>::MAX_PENDING
        {
            return Some(());
        }
        self.room.extend(waker.cloned());
        None
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

    /// The caller stops receiving: somebody else has to, if anybody waits.
    pub(crate) fn hand_over(&mut self) {
        if let Some((_, waker)) = self.parked.pop_first() {
            self.ready.push(waker);
        }
    }
}

impl Machine for Core {
    fn take_output(&mut self) -> BytesMut {
        self.connection.take_output()
    }

    fn receive(&mut self, input: &[u8]) -> Result<(), ConnectionError> {
        let mut rest = input;
        while !rest.is_empty() {
            let received = self.connection.receive(rest)?;
            match received.event {
                Some(Event::Reply { req_id, reply, .. }) => {
                    let done = Call::Done(reply.into_owned());
                    finish(&mut self.calls, req_id, done, &mut self.ready);
                    self.ready.append(&mut self.room);
                }
                Some(Event::Watch { path, token }) => {
                    self.watches.deliver(path, token, &mut self.ready);
                }
                _ => {}
            }
            rest = &rest[received.consumed..];
        }
        Ok(())
    }

    fn refused(&mut self, code: ErrorCode) {
        if let Some((req_id, _)) = self.connection.refused() {
            let done = Call::Done(Reply::Error(code));
            finish(&mut self.calls, req_id, done, &mut self.ready);
            self.ready.append(&mut self.room);
        }
    }

    fn end_of_input(&mut self) -> ConnectionError {
        self.connection.end_of_input()
    }

    fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.clone());
        for call in self.calls.values_mut() {
            if let Call::Waiting(waker) = call {
                self.ready.extend(waker.take());
                *call = Call::Failed;
            }
        }
        self.ready.append(&mut self.room);
        self.ready.extend(std::mem::take(&mut self.parked).into_values());
        self.watches.failed(failure, &mut self.ready);
    }
}

fn finish(
    calls: &mut HashMap<ReqId, Call, BuildHasherDefault<ReqIdHasher>>,
    req_id: ReqId,
    done: Call,
    ready: &mut Vec<Waker>,
) {
    if let Some(call) = calls.get_mut(&req_id) {
        if let Call::Waiting(waker) = call {
            ready.extend(waker.take());
        }
        *call = done;
    }
}

/// Keeps a waker, unless one that does the same is there already.
pub(crate) fn remember(place: &mut Option<Waker>, waker: Option<&Waker>) {
    if let Some(waker) = waker {
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }
}

/// Request ids are counted by this client: there is nobody to defend against, and their low bits
/// differ.
#[derive(Debug, Default)]
struct ReqIdHasher(u64);

impl Hasher for ReqIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The table takes its buckets from the low bits and its tags from the high ones.
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
