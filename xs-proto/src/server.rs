//! The server's end of a connection.

use core::fmt;

use bytes::BytesMut;

use crate::error::{ConnectionError, PayloadError, RequestError};
use crate::event::Received;
use crate::frame::Decoder;
use crate::outbox::Outbox;
use crate::payload::Writer;
use crate::reply::Reply;
use crate::request::Request;
use crate::wire::{DIRECTORY_REPLY_MAX, Header, MessageType, PAYLOAD_MAX, ReqId, TxId};

/// The server's end of a connection: decodes requests, and encodes replies and watch events.
///
/// It does no I/O. The caller drives it like a [`ClientConnection`](crate::ClientConnection):
/// [`receive`](Self::receive) decodes bytes from the client, [`reply`](Self::reply) and
/// [`watch_event`](Self::watch_event) encode messages, and [`take_output`](Self::take_output)
/// returns the bytes to send. [`end_of_input`](Self::end_of_input) reports that the client closed
/// the connection.
///
/// A malformed request does not end the connection; the caller can answer it with an error. Only a
/// payload above [`PAYLOAD_MAX`] ends it, as it does with xenstored, unless such payloads are
/// [cut off](Self::with_cut_payloads).
///
/// The output is not bounded. [`output_len`](Self::output_len) lets the caller stop serving a
/// client that does not read.
///
/// ```
/// use xs_proto::{ClientConnection, Limits, Path, Reply, Request, ServerConnection, TxId};
///
/// let mut client = ClientConnection::new(Limits::default());
/// client.submit(TxId::NONE, &Request::Read(Path::new("/name")?), ())?;
///
/// let mut server = ServerConnection::new();
/// let input = client.take_output();
/// let incoming = server.receive(&input)?.event.expect("one complete request");
/// assert_eq!(incoming.request()?, Request::Read(Path::new("/name")?));
///
/// let header = incoming.header;
/// server.reply(header, &Reply::Value(b"Domain-0".into()))?;
/// assert_eq!(server.take_output()[16..], *b"Domain-0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ServerConnection {
    outbox: Outbox,
    decoder: Decoder,
    failed: Option<ConnectionError>,
    /// The largest DIRECTORY reply in bytes.
    directory_max: usize,
}

impl Default for ServerConnection {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerConnection {
    /// Creates the state of a new connection.
    pub fn new() -> Self {
        ServerConnection {
            outbox: Outbox::default(),
            decoder: Decoder::for_server(),
            failed: None,
            directory_max: PAYLOAD_MAX,
        }
    }

    /// Allows DIRECTORY replies of up to [`DIRECTORY_REPLY_MAX`] bytes, which oxenstored sends in
    /// violation of the protocol.
    #[must_use]
    pub fn with_long_directories(self) -> Self {
        ServerConnection { directory_max: DIRECTORY_REPLY_MAX, ..self }
    }

    /// Cuts off a payload above [`PAYLOAD_MAX`] at the limit, and treats the bytes after it as the
    /// next message, as oxenstored does.
    #[must_use]
    pub fn with_cut_payloads(self) -> Self {
        ServerConnection { decoder: self.decoder.with_cut_payloads(), ..self }
    }

    /// Decodes at most one request from the start of `input`.
    ///
    /// Call it in a loop until all input is consumed. Input that ends in the middle of a message
    /// is consumed too; the connection keeps that part for the next call.
    ///
    /// # Errors
    /// Fails if the client announced a payload above [`PAYLOAD_MAX`], or if the connection has
    /// ended before. The first error is final.
    pub fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<Received<Incoming<'a>>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.decoder.decode(input) {
            Ok(decoded) => Ok(Received {
                consumed: decoded.consumed,
                event: decoded
                    .frame
                    .map(|frame| Incoming { header: frame.header, payload: frame.payload }),
            }),
            Err(error) => {
                let error = ConnectionError::Frame(error);
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Answers a request. `to` is the header of that request.
    ///
    /// # Errors
    /// Fails if the reply cannot be encoded: it exceeds [`PAYLOAD_MAX`], or the limit of
    /// [`with_long_directories`](Self::with_long_directories), or has a NUL in a string. Nothing is
    /// sent then, and the caller must send a different reply.
    pub fn reply(&mut self, to: Header, reply: &Reply<'_>) -> Result<(), RequestError> {
        let msg_type = match reply {
            Reply::Error(_) => MessageType::Error as u32,
            _ => to.msg_type,
        };
        let max = match reply {
            Reply::Children(_) => self.directory_max,
            _ => PAYLOAD_MAX,
        };
        self.outbox.push(msg_type, to.req_id, to.tx_id, |out| reply.encode(max, out))
    }

    /// Sends a watch event to the client (`WATCH_EVENT`).
    ///
    /// # Errors
    /// Fails if the event exceeds [`PAYLOAD_MAX`], or if `path` or `token` contains a NUL. Nothing
    /// is sent then.
    pub fn watch_event(&mut self, path: &str, token: &[u8]) -> Result<(), RequestError> {
        let msg_type = MessageType::WatchEvent as u32;
        self.outbox.push(msg_type, ReqId(0), TxId::NONE, |out| {
            let mut w = Writer::new(out, PAYLOAD_MAX);
            w.string("path", path.as_bytes())?;
            w.string("token", token)?;
            w.finish()
        })
    }

    /// Returns the number of bytes that [`take_output`](Self::take_output) would return.
    pub fn output_len(&self) -> usize {
        self.outbox.len()
    }

    /// Takes all bytes to send. The result is empty if there are none.
    pub fn take_output(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        self.outbox.take_all(&mut out);
        out
    }

    /// Ends the connection because no more input will arrive, and returns the error that every
    /// later call of [`receive`](Self::receive) returns.
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

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConnection")
            .field("output", &format_args!("{} bytes", self.outbox.len()))
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// A request from a client, not yet validated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The header. Pass it to [`ServerConnection::reply`].
    pub header: Header,
    /// The payload as received. A server that accepts more than [`request`](Self::request) does
    /// can decode it itself.
    pub payload: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// Returns the message type, or `None` if clients may not send it. xenstored answers such a
    /// message with ENOSYS.
    pub fn msg_type(&self) -> Option<MessageType> {
        MessageType::from_u32(self.header.msg_type).filter(|msg_type| {
            !matches!(msg_type, MessageType::WatchEvent | MessageType::Error | MessageType::Invalid)
        })
    }

    /// Decodes the request.
    ///
    /// # Errors
    /// Fails if the payload does not match the message type. xenstored answers such a message with
    /// EINVAL.
    pub fn request(&self) -> Result<Request<'a>, PayloadError> {
        let msg_type = self.msg_type().ok_or(PayloadError::Direction)?;
        Request::decode(msg_type, self.payload)
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use crate::strings::Strings;

    use super::*;

    fn request_header(msg_type: MessageType) -> Header {
        Header { msg_type: msg_type as u32, req_id: ReqId(1), tx_id: TxId::NONE, len: 0 }
    }

    fn directory(len: usize) -> Reply<'static> {
        Reply::Children(Strings::from_list([&*vec![b'x'; len - 1]]).unwrap())
    }

    #[test]
    fn directory_replies_are_limited_to_payload_max() {
        let to = request_header(MessageType::Directory);
        let mut server = ServerConnection::new();
        server.reply(to, &directory(PAYLOAD_MAX)).unwrap();
        server.reply(to, &directory(PAYLOAD_MAX + 1)).unwrap_err();
        assert_eq!(server.output_len(), Header::LEN + PAYLOAD_MAX);
    }

    #[test]
    fn long_directory_replies_can_be_allowed() {
        let to = request_header(MessageType::Directory);
        let mut server = ServerConnection::new().with_long_directories();
        server.reply(to, &directory(DIRECTORY_REPLY_MAX)).unwrap();
        server.reply(to, &directory(DIRECTORY_REPLY_MAX + 1)).unwrap_err();
        assert_eq!(server.take_output().len(), Header::LEN + DIRECTORY_REPLY_MAX);
    }

    #[test]
    fn long_directories_do_not_raise_other_limits() {
        let mut server = ServerConnection::new().with_long_directories();
        let value = Reply::Value(vec![0; PAYLOAD_MAX + 1].into());
        server.reply(request_header(MessageType::Read), &value).unwrap_err();
    }
}
