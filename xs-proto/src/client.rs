//! The client's end of a connection.

use alloc::vec::Vec;

use bytes::BytesMut;

use crate::frame::{Decoded, Decoder, Frame, FrameError};
use crate::outbox::Outbox;
use crate::payload::{Fields, PayloadError, RequestError};
use crate::reply::Reply;
use crate::request::Request;
use crate::wire::{MessageType, PAYLOAD_MAX, ReqId, TxId};

/// The client's end of a connection, without the connection: requests go in and bytes come out,
/// bytes go in and replies and watch events come out.
///
/// Drive it like this; any order of calls is legal:
///
/// * [`submit`](Self::submit) takes a request, and a key by which the caller knows it again.
/// * [`take_output`](Self::take_output) gives bytes to be sent, in this order and all of them.
///   Call it after a request was submitted and after input was received, until it gives nothing.
/// * [`receive`](Self::receive) takes bytes that came, as many or as few as there are. Call it
///   until all of them are consumed.
/// * [`end_of_input`](Self::end_of_input) tells that no more will come.
///
/// Replies are matched to requests by id, in whatever order they come, in constant time. Each
/// accepted request is answered exactly once with its key, unless the connection fails or the
/// request is [forgotten](Self::forget).
///
/// An error of the peer is final: it is returned from then on, and no more output is given.
///
/// ```
/// use xs_proto::{ClientConnection, Event, Header, Limits, Path, Reply, Request, TxId};
///
/// let mut connection = ClientConnection::new(Limits::default());
/// let request = Request::Read(Path::new("name")?);
/// let req_id = connection.submit(TxId::NONE, &request, "my key")?;
///
/// let sent = connection.take_output();
/// assert_eq!(sent[16..], *b"name\0");
///
/// // The server echoes the header's first three words.
/// let header = Header { msg_type: 2, req_id, tx_id: TxId::NONE, len: 5 };
/// let input = [&header.encode()[..], b"guest"].concat();
/// let received = connection.receive(&input)?;
/// assert_eq!(
///     received.event,
///     Some(Event::Reply { req_id, key: "my key", reply: Reply::Value(b"guest".into()) })
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientConnection<K> {
    limits: Limits,
    outbox: Outbox,
    decoder: Decoder,
    pending: Pending<K>,
    /// With [`Limits::one_at_a_time`], the request that has left and is not answered.
    current: Option<ReqId>,
    failed: Option<ConnectionError>,
}

/// What the way to the server can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload of a request in bytes; never more than [`PAYLOAD_MAX`].
    pub payload: usize,
    /// Give out one request only when the one before has been answered, and one message at a
    /// time. The xenbus device mixes replies up otherwise.
    pub one_at_a_time: bool,
    /// Others share the session with the server, unknown to this connection: RESET_WATCHES ends
    /// their watches and transactions as well. So it is on the xenbus device, which has one
    /// session for all of its users in a domain. It is for the caller to heed.
    pub shared_session: bool,
}

impl Default for Limits {
    /// Those of the socket.
    fn default() -> Self {
        Limits { payload: PAYLOAD_MAX, one_at_a_time: false, shared_session: false }
    }
}

impl Limits {
    /// The same with a smaller payload.
    #[must_use]
    pub fn with_payload(self, payload: usize) -> Self {
        Limits { payload: payload.min(PAYLOAD_MAX), ..self }
    }

    /// The same with one request at a time.
    #[must_use]
    pub fn with_one_at_a_time(self) -> Self {
        Limits { one_at_a_time: true, ..self }
    }

    /// The same with a session that others share.
    #[must_use]
    pub fn with_shared_session(self) -> Self {
        Limits { shared_session: true, ..self }
    }
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a, K> {
    /// The answer to a request.
    Reply {
        /// The request's id.
        req_id: ReqId,
        /// What [`ClientConnection::submit`] was given for it.
        key: K,
        /// The answer, of the variant that the request asks for, or [`Reply::Error`].
        reply: Reply<'a>,
    },
    /// A watch fired.
    Watch {
        /// What changed: the watched path or one below it, relative if it was watched so.
        path: &'a str,
        /// As it was given with WATCH.
        token: &'a [u8],
    },
}

/// What [`ClientConnection::receive`] made of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<E> {
    /// How many bytes of the input are done with; present the others again.
    pub consumed: usize,
    /// What they say. `None` with all of the input consumed: more is needed. `None` otherwise:
    /// a message of no interest, go on.
    pub event: Option<E>,
}

impl<K> ClientConnection<K> {
    /// At most so many requests can be unanswered at a time, forgotten ones included.
    pub const MAX_PENDING: usize = 1 << Pending::<K>::INDEX_BITS;

    /// A connection without history.
    pub fn new(limits: Limits) -> Self {
        ClientConnection {
            limits: limits.with_payload(limits.payload),
            outbox: Outbox::default(),
            decoder: Decoder::for_client(),
            pending: Pending::new(),
            current: None,
            failed: None,
        }
    }

    /// What the way to the server can take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Accepts a request; `key` comes back with its reply.
    ///
    /// `tx_id` is [`TxId::NONE`] outside transactions. Watches belong to no transaction: for WATCH
    /// and UNWATCH it is taken as that.
    ///
    /// # Errors
    /// Nothing has been accepted then, and nothing will be sent.
    #[inline(always)]
    pub fn submit(
        &mut self,
        tx_id: TxId,
        request: &Request<'_>,
        key: K,
    ) -> Result<ReqId, SubmitError> {
        if let Some(error) = self.failed {
            return Err(SubmitError::Failed(error));
        }
        let tx_id = match request {
            // No server heeds it, and Linux kernels that answer these themselves do it outside.
            Request::Watch { .. } | Request::Unwatch { .. } => TxId::NONE,
            // The Linux device would never answer.
            Request::TransactionEnd { .. } if tx_id.is_none() => {
                return Err(SubmitError::Invalid(RequestError::NoTransaction));
            }
            _ => tx_id,
        };
        let msg_type = request.msg_type();
        let slot = self.pending.vacant().ok_or(SubmitError::Full)?;
        slot.waiting = Some(Waiting { msg_type, tx_id, key: Some(key) });
        let req_id = slot.id;
        let max = self.limits.payload;
        match self.outbox.push(msg_type as u32, req_id, tx_id, |out| request.encode(max, out)) {
            Ok(()) => Ok(req_id),
            Err(error) => {
                self.pending.remove(req_id);
                Err(SubmitError::Invalid(error))
            }
        }
    }

    /// The caller waits no longer: the key is given back, and the reply will be discarded. `None`
    /// if the request has been answered or forgotten already.
    pub fn forget(&mut self, req_id: ReqId) -> Option<K> {
        self.pending.get_mut(req_id)?.key.take()
    }

    /// The number of requests without an answer, forgotten ones included.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether [`take_output`](Self::take_output) would give something.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.failed.is_none() && self.outbox.len() > 0 && self.current.is_none()
    }

    /// Takes the bytes that may be sent now; none if there is nothing to send.
    ///
    /// With [`Limits::one_at_a_time`] it is one message, and the next call gives nothing until
    /// that message has been answered.
    pub fn take_output(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        self.take_output_into(&mut out);
        out
    }

    /// Like [`take_output`](Self::take_output), in place of what `out` holds. Its space serves for
    /// later messages: to give back what was sent is to allocate no more.
    #[inline]
    pub fn take_output_into(&mut self, out: &mut BytesMut) {
        if !self.has_output() {
            out.clear();
        } else if self.limits.one_at_a_time {
            self.current = self.outbox.take_first(out).map(|header| header.req_id);
        } else {
            self.outbox.take_all(out);
        }
    }

    /// Decodes at most one message from the start of `input`.
    ///
    /// Call it in a loop until all input is consumed. Input that ends in the middle of a message
    /// is consumed too; the connection keeps that part for the next call.
    ///
    /// # Errors
    /// The server broke the protocol. The error is final: every later call returns it again.
    pub fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<Received<Event<'a, K>>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let error = match self.decoder.decode(input) {
            Ok(Decoded { consumed, frame: None }) => return Ok(Received { consumed, event: None }),
            Ok(Decoded { consumed, frame: Some(frame) }) => {
                match dispatch(&mut self.pending, &mut self.current, frame) {
                    Ok(event) => return Ok(Received { consumed, event }),
                    Err(error) => error,
                }
            }
            Err(error) => ConnectionError::Frame(error),
        };
        self.failed = Some(error);
        Err(error)
    }

    /// The message that was taken last has been refused on its way, and no reply will come: this
    /// is how the xenbus device tells what the server said to WATCH. Only with
    /// [`Limits::one_at_a_time`] is it known which message that was; otherwise nothing happens.
    pub fn refused(&mut self) -> Option<(ReqId, Option<K>)> {
        let req_id = self.current.take()?;
        self.pending.get_mut(req_id)?;
        Some((req_id, self.pending.remove(req_id)))
    }

    /// Starts anew on another stream, as if nothing had been submitted; the keys of requests
    /// without an answer are dropped. No id is used again that was in use before.
    pub fn restart(&mut self, limits: Limits) {
        self.limits = limits.with_payload(limits.payload);
        self.outbox = Outbox::default();
        self.decoder = Decoder::for_client();
        self.pending.clear();
        self.current = None;
        self.failed = None;
    }

    /// No more input will come. Says whether the stream ended between two messages.
    pub fn end_of_input(&mut self) -> ConnectionError {
        *self.failed.get_or_insert(match self.decoder.is_mid_message() {
            true => ConnectionError::Truncated,
            false => ConnectionError::Closed,
        })
    }
}

/// Turns a frame into an event; `None` for the reply to a forgotten request.
///
/// The type is checked first, because the xenbus device leaves garbage in the ids of watch events.
fn dispatch<'a, K>(
    pending: &mut Pending<K>,
    current: &mut Option<ReqId>,
    Frame { header, payload }: Frame<'a>,
) -> Result<Option<Event<'a, K>>, ConnectionError> {
    let Some(msg_type) = MessageType::from_u32(header.msg_type) else {
        return Err(ConnectionError::UnknownType { msg_type: header.msg_type });
    };
    let malformed = |cause| ConnectionError::Payload { msg_type, cause };
    if msg_type == MessageType::WatchEvent {
        let (path, token) = watch_event(payload).map_err(malformed)?;
        return Ok(Some(Event::Watch { path, token }));
    }

    let mut req_id = header.req_id;
    if let Some(only) = *current {
        // Older Linux kernels answer WATCH and UNWATCH themselves, with id 0.
        if req_id == ReqId(0) {
            req_id = only;
        }
        if req_id == only {
            *current = None;
        }
    }
    let Some(waiting) = pending.get_mut(req_id) else {
        return Err(ConnectionError::UnknownRequest { msg_type, req_id });
    };
    let (expected, tx_id) = (waiting.msg_type, waiting.tx_id);
    if msg_type != expected && msg_type != MessageType::Error {
        return Err(ConnectionError::WrongType { expected, got: msg_type });
    }
    if header.tx_id != tx_id {
        let got = header.tx_id;
        return Err(ConnectionError::WrongTransaction { msg_type, expected: tx_id, got });
    }
    let reply = Reply::decode(msg_type, payload).map_err(malformed)?;
    let key = pending.remove(req_id);
    Ok(key.map(|key| Event::Reply { req_id, key, reply }))
}

/// The path and the token.
fn watch_event(payload: &[u8]) -> Result<(&str, &[u8]), PayloadError> {
    let mut fields = Fields::new(payload);
    let event = (fields.text()?, fields.string()?);
    fields.end()?;
    Ok(event)
}

/// Why a request was not accepted. Nothing of it has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The request cannot be sent as it is.
    #[error(transparent)]
    Invalid(RequestError),
    /// [`ClientConnection::MAX_PENDING`] requests wait for their replies; try again when one has
    /// been answered.
    #[error("too many requests wait for their replies")]
    Full,
    /// The connection has failed before.
    #[error(transparent)]
    Failed(ConnectionError),
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The other end closed the connection.
    #[error("the other end closed the connection")]
    Closed,
    /// The other end closed the connection in the middle of a message.
    #[error("the other end closed the connection in the middle of a message")]
    Truncated,
    /// A message is too long.
    #[error(transparent)]
    Frame(FrameError),
    /// A message has a type that is not known.
    #[error("a message has the unknown type {msg_type}")]
    UnknownType {
        /// By number.
        msg_type: u32,
    },
    /// A message answers a request that was never made.
    #[error("a reply of type {msg_type} answers request {req_id}, which was not made")]
    UnknownRequest {
        /// The reply's type.
        msg_type: MessageType,
        /// The request that it names.
        req_id: ReqId,
    },
    /// A reply has not the type of its request.
    #[error("a reply has type {got} where {expected} was asked")]
    WrongType {
        /// The request's type.
        expected: MessageType,
        /// The reply's type.
        got: MessageType,
    },
    /// A reply does not belong to the transaction of its request.
    #[error("a reply of type {msg_type} names transaction {got} instead of {expected}")]
    WrongTransaction {
        /// The reply's type.
        msg_type: MessageType,
        /// The request's transaction.
        expected: TxId,
        /// The reply's transaction.
        got: TxId,
    },
    /// A payload makes no sense.
    #[error("a message of type {msg_type} is malformed: {cause}")]
    Payload {
        /// The message's type.
        msg_type: MessageType,
        /// What is wrong.
        cause: PayloadError,
    },
}

/// The requests without an answer: a slot each, whose number is part of the request's id.
#[derive(Debug)]
struct Pending<K> {
    slots: Vec<Slot<K>>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Slot<K> {
    /// Of the request that is here, or of the next one.
    id: ReqId,
    waiting: Option<Waiting<K>>,
}

#[derive(Debug)]
struct Waiting<K> {
    msg_type: MessageType,
    tx_id: TxId,
    /// `None` once forgotten.
    key: Option<K>,
}

impl<K> Pending<K> {
    const INDEX_BITS: u32 = 12;
    const INDEX_MASK: u32 = (1 << Self::INDEX_BITS) - 1;
    /// Above the slot's number, an id counts the users of the slot, so that no two have the same one
    /// for a long time. It counts from 1: id 0 is what old kernels answer with.
    const TURN: u32 = 1 << Self::INDEX_BITS;

    const fn new() -> Self {
        Pending { slots: Vec::new(), free: Vec::new() }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A slot for one more request, which is no longer vacant; `None` if all are in use.
    #[inline]
    fn vacant(&mut self) -> Option<&mut Slot<K>> {
        let index = match self.free.pop() {
            Some(index) => usize::from(index),
            None => self.grow()?,
        };
        Some(&mut self.slots[index])
    }

    #[cold]
    fn grow(&mut self) -> Option<usize> {
        let index = self.slots.len();
        if index > Self::INDEX_MASK as usize {
            return None;
        }
        self.slots.push(Slot { id: ReqId(Self::TURN | index as u32), waiting: None });
        Some(index)
    }

    #[inline]
    fn slot(&mut self, req_id: ReqId) -> Option<&mut Slot<K>> {
        let slot = self.slots.get_mut((req_id.0 & Self::INDEX_MASK) as usize)?;
        (slot.id == req_id).then_some(slot)
    }

    #[inline]
    fn get_mut(&mut self, req_id: ReqId) -> Option<&mut Waiting<K>> {
        self.slot(req_id)?.waiting.as_mut()
    }

    fn clear(&mut self) {
        for index in 0..self.slots.len() {
            self.remove(self.slots[index].id);
        }
    }

    /// Makes room for another one; gives the key, unless the request was forgotten.
    #[inline(always)]
    fn remove(&mut self, req_id: ReqId) -> Option<K> {
        let index = req_id.0 & Self::INDEX_MASK;
        let slot = self.slot(req_id)?;
        let waiting = slot.waiting.take()?;
        slot.id = ReqId(req_id.0.checked_add(Self::TURN).unwrap_or(Self::TURN | index));
        self.free.push(index as u16);
        waiting.key
    }
}
