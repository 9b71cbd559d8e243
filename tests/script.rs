//! A peer that says what the test tells it to, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use xs_client::{Builder, Client};
use xs_proto::{Header, MessageType, ReqId, TxId};
use xs_transport::UnixTransport;

/// The far end of a client's connection.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A client, and the peer that it speaks to.
pub fn pair(builder: Builder) -> (Client, Peer) {
    let (ours, theirs) = UnixStream::pair().expect("there are descriptors");
    theirs.set_read_timeout(Some(crate::PATIENCE)).expect("the timeout is not zero");
    let transport = UnixTransport::from_stream(ours, "a pair").expect("it is a socket");
    (builder.over(transport), Peer { stream: theirs })
}

impl Peer {
    /// The next request; `None` at the end.
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
            result => result.expect("the client says something"),
        }
        let header = Header::decode(&header);
        let mut payload = vec![0; header.len as usize];
        self.stream.read_exact(&mut payload).expect("the client sends whole messages");
        Some(Message { header, payload })
    }

    /// The next request, which is of this type.
    pub fn expect(&mut self, msg_type: MessageType) -> Message {
        let message = self.request().expect("the client is there");
        assert_eq!(message.header.msg_type, msg_type as u32, "{message:?}");
        message
    }

    /// Sends bytes. That the client has hung up is no matter.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a message of the type of `request` that answers it.
    pub fn answer(&mut self, request: &Message, payload: &[u8]) {
        self.send(&answer(request, payload));
    }

    /// Sends a watch event.
    pub fn fire(&mut self, path: &str, token: &[u8]) {
        self.send(&event(path, token));
    }

    /// Says nothing more, and goes on to listen.
    pub fn hang_up(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
    }

    /// Answers every request as a daemon would that has one node, with the value `v`, until the
    /// client goes.
    pub fn serve(&mut self) {
        while let Some(request) = self.request() {
            let payload: &[u8] = match MessageType::from_u32(request.header.msg_type) {
                Some(MessageType::Read) => b"v",
                Some(MessageType::TransactionStart) => b"1\0",
                _ => b"OK\0",
            };
            self.answer(&request, payload);
        }
    }
}

/// The bytes of a message.
pub fn message(msg_type: u32, req_id: ReqId, tx_id: TxId, payload: &[u8]) -> Vec<u8> {
    let header = Header { msg_type, req_id, tx_id, len: payload.len() as u32 };
    [&header.encode(), payload].concat()
}

/// The bytes of an answer to `request`, of its type.
pub fn answer(request: &Message, payload: &[u8]) -> Vec<u8> {
    let header = request.header;
    message(header.msg_type, header.req_id, header.tx_id, payload)
}

/// The bytes of a watch event.
pub fn event(path: &str, token: &[u8]) -> Vec<u8> {
    let payload = [path.as_bytes(), &[0], token, &[0]].concat();
    message(MessageType::WatchEvent as u32, ReqId(0), TxId::NONE, &payload)
}
