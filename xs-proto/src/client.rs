//! The client's end of a connection.

use core::fmt;

use bytes::BytesMut;

use crate::error::{ConnectionError, PayloadError, RequestError, SubmitError};
use crate::event::{Event, Received};
use crate::frame::{Decoder, Frame};
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::payload::Fields;
use crate::pending::{InFlight, MAX_PENDING, Pending};
use crate::reply::Reply;
use crate::request::Request;
use crate::wire::{MessageType, ReqId, TxId};

/// The client's end of a connection: encodes requests, and decodes replies and watch events.
///
/// It does no I/O. The caller drives it with these methods, in any order:
///
/// * [`submit`](Self::submit) accepts a request and a key, which the matching reply returns.
/// * [`take_output`](Self::take_output) returns bytes to send. Call it after each `submit` and each
///   `receive`, until it returns nothing. Send the bytes in the order in which it returns them.
/// * [`receive`](Self::receive) decodes bytes from the server, in chunks of any size. Call it until
///   all bytes are consumed.
/// * [`end_of_input`](Self::end_of_input) reports that the server closed the connection.
///
/// Replies may arrive in any order; they are matched to requests by id, in constant time. Every
/// accepted request yields exactly one [`Event::Reply`], unless the request is
/// [forgotten](Self::forget) or [refused](Self::refused), or the connection fails or
/// [restarts](Self::restart).
///
/// If the server violates the protocol, the connection fails: every later `submit` and `receive`
/// returns the same error, and no more output is available. [`restart`](Self::restart) starts over
/// on a new stream.
///
/// Memory is bounded: at most [`MAX_PENDING`](Self::MAX_PENDING) requests are in flight, and at
/// most one partial message of [`DIRECTORY_REPLY_MAX`](crate::DIRECTORY_REPLY_MAX) bytes is kept.
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
/// // The server echoes type, request id and transaction id.
/// let header = Header { msg_type: 2, req_id, tx_id: TxId::NONE, len: 5 };
/// let input = [&header.encode()[..], b"guest"].concat();
/// let received = connection.receive(&input)?;
/// assert_eq!(received.consumed, input.len());
/// assert_eq!(
///     received.event,
///     Some(Event::Reply { req_id, key: "my key", reply: Reply::Value(b"guest".into()) })
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientConnection<K> {
    limits: Limits,
    outbox: Outbox,
    decoder: Decoder,
    pending: Pending<K>,
    /// The request that the caller has taken to send and that is not answered yet. Only used with
    /// [`Limits::one_at_a_time`].
    current: Option<ReqId>,
    failed: Option<ConnectionError>,
}

impl<K> ClientConnection<K> {
    /// The largest number of requests in flight, including forgotten ones: 4096.
    pub const MAX_PENDING: usize = MAX_PENDING;

    /// Creates the state of a new connection.
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

    /// Returns the limits of the transport.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Accepts a request and returns its id. The reply returns `key`.
    ///
    /// `tx_id` is the transaction of the request, or [`TxId::NONE`]. Watches do not belong to a
    /// transaction: WATCH and UNWATCH are always sent with [`TxId::NONE`].
    ///
    /// # Errors
    /// Fails if the request cannot be encoded, if [`MAX_PENDING`](Self::MAX_PENDING) requests are
    /// in flight, or if the connection has failed. Nothing is sent then.
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
            // Servers ignore the transaction. Linux kernels that answer these requests themselves
            // reply without one.
            Request::Watch { .. } | Request::Unwatch { .. } => TxId::NONE,
            // The xenbus device never answers this request.
            Request::TransactionEnd { .. } if tx_id.is_none() => {
                return Err(SubmitError::Invalid(RequestError::NoTransaction));
            }
            _ => tx_id,
        };
        let msg_type = request.msg_type();
        let in_flight = InFlight { msg_type, tx_id, key: Some(key) };
        let req_id = self.pending.insert(in_flight).ok_or(SubmitError::Full)?;
        let max = self.limits.payload;
        match self.outbox.push(msg_type as u32, req_id, tx_id, |out| request.encode(max, out)) {
            Ok(()) => Ok(req_id),
            Err(error) => {
                self.pending.remove(req_id);
                Err(SubmitError::Invalid(error))
            }
        }
    }

    /// Gives up the reply to a request, and returns the key. The reply is discarded when it
    /// arrives.
    ///
    /// The request is still sent, and counts as in flight until it is answered. Returns `None` if
    /// the request has been answered or forgotten before.
    pub fn forget(&mut self, req_id: ReqId) -> Option<K> {
        self.pending.get_mut(req_id)?.key.take()
    }

    /// Returns the number of requests in flight, including forgotten ones.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether [`take_output`](Self::take_output) would return bytes.
    pub fn has_output(&self) -> bool {
        self.failed.is_none() && self.outbox.len() > 0 && self.current.is_none()
    }

    /// Takes the bytes that may be sent now. The result is empty if there are none.
    ///
    /// With [`Limits::one_at_a_time`] the result is one message, and the next call returns nothing
    /// until that message is answered.
    pub fn take_output(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        self.take_output_into(&mut out);
        out
    }

    /// Like [`take_output`](Self::take_output), but replaces the contents of `out`.
    ///
    /// The connection keeps the old buffer of `out` for later messages. A caller that always passes
    /// the same buffer avoids allocations.
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
    /// Fails if the server violated the protocol, or if the connection has failed before. The first
    /// error is final.
    pub fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<Received<Event<'a, K>>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = match self.decoder.decode(input) {
            Ok(decoded) => decoded
                .frame
                .map_or(Ok(None), |frame| dispatch(&mut self.pending, &mut self.current, frame))
                .map(|event| Received { consumed: decoded.consumed, event }),
            Err(error) => Err(ConnectionError::Frame(error)),
        };
        if let Err(error) = &result {
            self.failed = Some(*error);
        }
        result
    }

    /// Removes the request that was taken last, because the transport refused it and no reply will
    /// come. Returns its id and, unless it was forgotten, its key.
    ///
    /// The xenbus device reports the daemon's answer to WATCH like this: as an error of `write`.
    /// Without [`Limits::one_at_a_time`] it is unknown which message failed; the call then does
    /// nothing and returns `None`.
    pub fn refused(&mut self) -> Option<(ReqId, Option<K>)> {
        let req_id = self.current.take()?;
        let request = self.pending.remove(req_id)?;
        Some((req_id, request.key))
    }

    /// Resets the connection for use with a new stream.
    ///
    /// Requests in flight and their keys are dropped. Their ids are not reused soon.
    pub fn restart(&mut self, limits: Limits) {
        self.limits = limits.with_payload(limits.payload);
        self.outbox = Outbox::default();
        self.decoder = Decoder::for_client();
        self.pending.clear();
        self.current = None;
        self.failed = None;
    }

    /// Ends the connection because no more input will arrive, and returns the error that every
    /// later call returns.
    ///
    /// The error is [`ConnectionError::Closed`] if the stream ended between two messages and
    /// [`ConnectionError::Truncated`] otherwise. A connection that failed earlier keeps its error.
    pub fn end_of_input(&mut self) -> ConnectionError {
        *self.failed.get_or_insert(match self.decoder.is_mid_message() {
            true => ConnectionError::Truncated,
            false => ConnectionError::Closed,
        })
    }
}

/// Converts a frame to an event, and removes the request that it answers. Returns `None` for the
/// reply to a forgotten request.
fn dispatch<'a, K>(
    pending: &mut Pending<K>,
    current: &mut Option<ReqId>,
    Frame { header, payload }: Frame<'a>,
) -> Result<Option<Event<'a, K>>, ConnectionError> {
    let Some(msg_type) = MessageType::from_u32(header.msg_type) else {
        return Err(ConnectionError::UnknownType { msg_type: header.msg_type });
    };
    let malformed = |cause| ConnectionError::Payload { msg_type, cause };
    // Check the type before the ids: the xenbus device leaves garbage in the ids of watch events.
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
    let Some(request) = pending.get_mut(req_id) else {
        return Err(ConnectionError::UnknownRequest { msg_type, req_id });
    };
    let (expected, tx_id) = (request.msg_type, request.tx_id);
    if msg_type != expected && msg_type != MessageType::Error {
        return Err(ConnectionError::WrongType { expected, got: msg_type });
    }
    if header.tx_id != tx_id {
        let got = header.tx_id;
        return Err(ConnectionError::WrongTransaction { msg_type, expected: tx_id, got });
    }
    let reply = Reply::decode(msg_type, payload).map_err(malformed)?;
    let key = pending.remove(req_id).and_then(|request| request.key);
    Ok(key.map(|key| Event::Reply { req_id, key, reply }))
}

impl<K> fmt::Debug for ClientConnection<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection")
            .field("in_flight", &self.pending.len())
            .field("output", &format_args!("{} bytes", self.outbox.len()))
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Decodes the path and the token of a watch event.
fn watch_event(payload: &[u8]) -> Result<(&str, &[u8]), PayloadError> {
    let mut fields = Fields::new(payload);
    let event = (fields.text()?, fields.string()?);
    fields.end()?;
    Ok(event)
}
