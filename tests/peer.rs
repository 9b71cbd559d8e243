//! A peer that sends exactly the bytes that a test tells it to.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use xs_client::{Builder, Client};
use xs_proto::{Header, MessageType, ReqId, TxId};
use xs_transport::UnixTransport;

use crate::settings::HANG_TIMEOUT;

/// The server's end of a client's connection.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Returns a client and the peer that it is connected to.
pub fn connect(builder: Builder) -> (Client, Peer) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors are available");
    theirs.set_read_timeout(Some(HANG_TIMEOUT)).expect("the timeout is not zero");
    let transport = UnixTransport::new(ours, "a pair").expect("the stream is a socket");
    (builder.from_transport(transport), Peer { stream: theirs })
}

impl Peer {
    /// Receives the next request; `None` if the client has closed the connection.
    pub fn request(&mut self) -> Option<Message> {
        let mut header = [0; Header::LEN];
        match self.stream.read_exact(&mut header) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            result => result.expect("the client sends a request"),
        }
        let header = Header::decode(&header);
        let mut payload = vec![0; header.len as usize];
        self.stream.read_exact(&mut payload).expect("the client sends whole messages");
        Some(Message { header, payload })
    }

    /// Receives the next request and checks its type.
    pub fn expect(&mut self, msg_type: MessageType) -> Message {
        let message = self.request().expect("the client is connected");
        assert_eq!(message.header.msg_type, msg_type as u32, "{message:?}");
        message
    }

    /// Receives a request of this type and answers `OK`.
    pub fn accept(&mut self, msg_type: MessageType) -> Message {
        let request = self.expect(msg_type);
        self.reply(&request, b"OK\0");
        request
    }

    /// Sends bytes. It is no error if the client has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a successful reply to `request`.
    pub fn reply(&mut self, request: &Message, payload: &[u8]) {
        self.send(&reply(request, payload));
    }

    /// Sends an error reply to `request`.
    pub fn reply_error(&mut self, request: &Message, name: &str) {
        let payload = [name.as_bytes(), b"\0"].concat();
        let msg_type = MessageType::Error as u32;
        self.send(&message(msg_type, request.header.req_id, TxId::NONE, &payload));
    }

    /// Sends a watch event.
    pub fn send_event(&mut self, path: &str, token: &[u8]) {
        self.send(&event(path, token));
    }

    /// Closes the sending direction. Requests can still be received.
    pub fn shut_down(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the stream is connected");
    }
}

impl Message {
    /// Returns the token of a WATCH or UNWATCH request.
    pub fn token(&self) -> &[u8] {
        self.payload.split(|byte| *byte == 0).nth(1).expect("the payload is a path and a token")
    }
}

/// Encodes a message.
pub fn message(msg_type: u32, req_id: ReqId, tx_id: TxId, payload: &[u8]) -> Vec<u8> {
    let header = Header { msg_type, req_id, tx_id, len: payload.len() as u32 };
    [&header.encode(), payload].concat()
}

/// Encodes a successful reply to `request`.
pub fn reply(request: &Message, payload: &[u8]) -> Vec<u8> {
    let header = request.header;
    message(header.msg_type, header.req_id, header.tx_id, payload)
}

/// Encodes a watch event.
pub fn event(path: &str, token: &[u8]) -> Vec<u8> {
    let payload = [path.as_bytes(), &[0], token, &[0]].concat();
    message(MessageType::WatchEvent as u32, ReqId(0), TxId::NONE, &payload)
}
