//! The server's end of a connection.

use bytes::BytesMut;

use crate::client::{ConnectionError, Received};
use crate::frame::Decoder;
use crate::outbox::Outbox;
use crate::payload::{PayloadError, RequestError, Writer};
use crate::reply::Reply;
use crate::request::Request;
use crate::wire::{DIRECTORY_REPLY_MAX, Header, MessageType, PAYLOAD_MAX, ReqId, TxId};

/// The server's end of a connection, without the connection: bytes go in and requests come out,
/// replies and watch events go in and bytes come out.
///
/// It is the mirror image of [`ClientConnection`](crate::ClientConnection) and is driven alike.
/// Unlike a client it never gives up on its peer because of what a message says: a request that
/// makes no sense is for the caller to refuse. Only a payload beyond [`PAYLOAD_MAX`] is final,
/// as it is for the daemons.
///
/// ```
/// use xs_proto::{ClientConnection, Limits, Path, Reply, Request, ServerConnection, TxId};
///
/// let mut client = ClientConnection::new(Limits::default());
/// client.submit(TxId::NONE, &Request::Read(Path::new("/name")?), ())?;
///
/// let mut server = ServerConnection::new();
/// let input = client.take_output();
/// let incoming = server.receive(&input)?.event.expect("a whole request");
/// assert_eq!(incoming.request()?, Request::Read(Path::new("/name")?));
///
/// let header = incoming.header;
/// server.reply(header, &Reply::Value(b"Domain-0".into()))?;
/// assert_eq!(server.take_output()[16..], *b"Domain-0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServerConnection {
    outbox: Outbox,
    decoder: Decoder,
    failed: Option<ConnectionError>,
    directory_max: usize,
}

/// A request as it came, not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// To be given to [`ServerConnection::reply`].
    pub header: Header,
    /// As it came, for those who want to be more lenient than [`request`](Self::request).
    pub payload: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// The request's type; `None` if it is not one that clients may send, which is answered with
    /// ENOSYS.
    pub fn msg_type(&self) -> Option<MessageType> {
        MessageType::from_u32(self.header.msg_type).filter(|msg_type| {
            !matches!(msg_type, MessageType::WatchEvent | MessageType::Error | MessageType::Invalid)
        })
    }

    /// The request.
    ///
    /// # Errors
    /// The payload is not what the type asks for, which is answered with EINVAL.
    pub fn request(&self) -> Result<Request<'a>, PayloadError> {
        let msg_type = self.msg_type().ok_or(PayloadError::Direction)?;
        Request::decode(msg_type, self.payload)
    }
}

impl Default for ServerConnection {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerConnection {
    /// A connection without history.
    pub fn new() -> Self {
        ServerConnection {
            outbox: Outbox::default(),
            decoder: Decoder::for_server(),
            failed: None,
            directory_max: PAYLOAD_MAX,
        }
    }

    /// The same, but DIRECTORY is answered with lists of up to [`DIRECTORY_REPLY_MAX`] bytes, as
    /// oxenstored does. Clients have to put up with it.
    #[must_use]
    pub fn with_long_directories(self) -> Self {
        ServerConnection { directory_max: DIRECTORY_REPLY_MAX, ..self }
    }

    /// Takes one request from the input.
    ///
    /// # Errors
    /// The client announced too long a payload. The connection is of no use from there on.
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

    /// Answers the request that came with this header.
    ///
    /// # Errors
    /// The reply does not fit into a message; another one has to be given.
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

    /// Tells the client that a watch fired.
    ///
    /// # Errors
    /// The event does not fit into a message, or has a NUL inside.
    pub fn watch_event(&mut self, path: &str, token: &[u8]) -> Result<(), RequestError> {
        let msg_type = MessageType::WatchEvent as u32;
        self.outbox.push(msg_type, ReqId(0), TxId::NONE, |out| {
            let mut w = Writer::new(out, PAYLOAD_MAX);
            w.string("path", path.as_bytes())?;
            w.string("token", token)?;
            w.finish()
        })
    }

    /// How many bytes wait to be taken.
    pub fn output_len(&self) -> usize {
        self.outbox.len()
    }

    /// Takes all bytes that wait to be sent.
    pub fn take_output(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        self.outbox.take_all(&mut out);
        out
    }

    /// No more input will come. Says whether the stream ended between two messages.
    pub fn end_of_input(&mut self) -> ConnectionError {
        *self.failed.get_or_insert(match self.decoder.is_mid_message() {
            true => ConnectionError::Truncated,
            false => ConnectionError::Closed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use crate::payload::Strings;

    use super::*;

    #[test]
    fn only_a_directory_may_be_long_and_only_if_wanted() {
        let to = |msg_type| Header {
            msg_type: msg_type as u32,
            req_id: ReqId(1),
            tx_id: TxId::NONE,
            len: 0,
        };
        let list = |len| Reply::Children(Strings::from_list([&*vec![b'x'; len - 1]]).unwrap());
        let directory = to(MessageType::Directory);
        let mut plain = ServerConnection::new();
        plain.reply(directory, &list(PAYLOAD_MAX)).unwrap();
        plain.reply(directory, &list(PAYLOAD_MAX + 1)).unwrap_err();
        let mut long = ServerConnection::new().with_long_directories();
        long.reply(directory, &list(DIRECTORY_REPLY_MAX)).unwrap();
        long.reply(directory, &list(DIRECTORY_REPLY_MAX + 1)).unwrap_err();
        let value = Reply::Value(vec![0; PAYLOAD_MAX + 1].into());
        long.reply(to(MessageType::Read), &value).unwrap_err();
        let len = long.output_len();
        assert_eq!((len, long.take_output().len()), (Header::LEN + DIRECTORY_REPLY_MAX, len));
    }
}
