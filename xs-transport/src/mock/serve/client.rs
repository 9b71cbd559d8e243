//! One client's socket, and its pipe to the xenstored.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use mio::event::Event;
use mio::net::UnixStream;

use crate::mock::connection::pipe::Pipe;
use crate::transport::{Sent, Transport};

/// Moves bytes between a socket and a pipe.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pipe: Pipe,
    /// Bytes from the pipe that the socket has not taken.
    to_socket: BytesMut,
    /// Bytes from the socket that the pipe has not taken.
    to_pipe: BytesMut,
    is_readable: bool,
    is_writable: bool,
    /// The client has closed its side. The event is reported once, and bytes may precede the end.
    is_half_closed: bool,
}

/// How a client's turn ended.
#[derive(PartialEq, Eq)]
pub(super) enum Turn {
    /// An event of the socket or the pipe starts the next turn.
    Idle,
    /// The client can continue at once, after the others.
    More,
    /// The connection is closed.
    Gone,
}

/// The connection is closed, or has failed.
struct Closed;

/// How many bytes are sent to one client before the others have their turn.
const SENT_MAX: usize = 64 << 10;

impl Client {
    pub(super) fn new(stream: UnixStream, pipe: Pipe) -> Self {
        Client {
            stream,
            pipe,
            to_socket: BytesMut::new(),
            to_pipe: BytesMut::new(),
            is_readable: true,
            is_writable: true,
            is_half_closed: false,
        }
    }

    /// Notes an event of the socket.
    pub(super) fn handle_event(&mut self, event: &Event) {
        self.is_half_closed |= event.is_read_closed();
        self.is_readable |= event.is_readable() || self.is_half_closed;
        self.is_writable |= event.is_writable();
    }

    /// Handles some requests of the client, and sends it some output.
    pub(super) fn take_turn(&mut self, buffer: &mut [u8]) -> Turn {
        match self.read_and_write(buffer) {
            Err(Closed) => Turn::Gone,
            Ok(Turn::Idle) if self.to_pipe.is_empty() && self.is_readable => Turn::More,
            // If the pipe has not taken all input, it notifies the server once it takes more.
            Ok(turn) => turn,
        }
    }

    /// Sends the replies to earlier requests, as far as the socket takes them.
    pub(super) fn flush(&mut self) {
        let _: Result<Turn, Closed> = self.write(Pipe::BACKLOG_MAX);
    }

    fn read_and_write(&mut self, buffer: &mut [u8]) -> Result<Turn, Closed> {
        let pending = std::mem::take(&mut self.to_pipe);
        self.feed(&pending)?;
        if self.to_pipe.is_empty() && self.is_readable {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Closed),
                Ok(n) => {
                    // A short read has emptied the socket, and more bytes raise a new event. The
                    // end does not, if it came together with these bytes.
                    self.is_readable = n == buffer.len() || self.is_half_closed;
                    self.feed(&buffer[..n])?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
        self.write(SENT_MAX)
    }

    /// Sends requests to the pipe, and keeps the bytes that it does not take. If the pipe is
    /// closed, the client still receives what precedes the end.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        while !bytes.is_empty() {
            match self.pipe.send(bytes) {
                Ok(Sent::Bytes(n)) => bytes.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(Sent::Refused(_)) | Err(_) => {
                    self.flush();
                    return Err(Closed);
                }
            }
        }
        self.to_pipe = BytesMut::from(bytes);
        Ok(())
    }

    /// Sends output until there is no more, the socket is full, or `left` bytes are sent.
    fn write(&mut self, mut left: usize) -> Result<Turn, Closed> {
        loop {
            if self.to_socket.is_empty() {
                match self.pipe.take() {
                    None => return Err(Closed),
                    Some(bytes) if bytes.is_empty() => return Ok(Turn::Idle),
                    Some(bytes) => self.to_socket = bytes,
                }
            }
            if !self.is_writable {
                return Ok(Turn::Idle);
            }
            if left == 0 {
                return Ok(Turn::More);
            }
            let len = self.to_socket.len().min(left);
            match self.stream.write(&self.to_socket[..len]) {
                Ok(n) => {
                    self.to_socket.advance(n);
                    left -= n;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    return Ok(Turn::Idle);
                }
                Err(_) => return Err(Closed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdUnixStream;

    use mio::{Events, Interest, Poll, Token};
    use xs_proto::{DomId, Header, MessageType, ReqId, TxId};

    use super::*;
    use crate::mock::Xenstored;
    use crate::transport::Wait;

    fn client(xenstored: &Xenstored, domid: DomId) -> (Client, Poll, StdUnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut stream = UnixStream::from_std(ours);
        let poll = Poll::new().unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(0), interest).unwrap();
        (Client::new(stream, xenstored.connect(domid)), poll, theirs)
    }

    #[test]
    fn end_of_stream_is_seen_when_it_comes_with_the_last_bytes() {
        let (mut client, mut poll, mut theirs) = client(&Xenstored::new(), DomId::DOM0);
        let mut buffer = [0; 4096];
        assert!(client.take_turn(&mut buffer) == Turn::Idle, "there is no input yet");

        // Part of a header: it is not answered, and the client sends no more.
        theirs.write_all(&[0; 9]).unwrap();
        drop(theirs);
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, None).unwrap();
        events.iter().for_each(|event| client.handle_event(event));
        assert!(client.take_turn(&mut buffer) == Turn::More, "the end is not read yet");
        assert!(client.take_turn(&mut buffer) == Turn::Gone);
    }

    #[test]
    fn turns_send_a_limited_amount() {
        let xenstored = Xenstored::new();
        let (mut client, _poll, mut theirs) = client(&xenstored, DomId::DOM0);
        let (req_id, tx_id) = (ReqId(1), TxId::NONE);
        let header = Header { msg_type: MessageType::Watch as u32, req_id, tx_id, len: 4 };
        theirs.write_all(&[&header.encode()[..], b"/\0t\0"].concat()).unwrap();
        let mut buffer = [0; 4096];
        assert!(client.take_turn(&mut buffer) == Turn::Idle);
        // The events fit into the socket's buffer, but take more than one turn.
        for at in 0..4000 {
            xenstored.set(&format!("/a/{at}"), "").unwrap();
        }
        assert!(client.take_turn(&mut buffer) == Turn::More);
        assert!(client.take_turn(&mut buffer) == Turn::Idle);
    }

    #[test]
    fn client_over_its_quota_is_idle_until_the_pipe_takes_its_request() {
        let xenstored = Xenstored::new();
        xenstored.seed("/local/domain/5/data [n5] = long").unwrap();
        let request = |msg_type, payload: &[u8]| {
            let (req_id, len) = (ReqId(1), payload.len() as u32);
            let header = Header { msg_type: msg_type as u32, req_id, tx_id: TxId::NONE, len };
            [&header.encode(), payload].concat()
        };
        let dom0 = xenstored.connect(DomId::DOM0);
        dom0.send(&request(MessageType::SetQuota, b"5\0memory\x0010\0")).unwrap();
        let mut buffer = [0; 4096];
        let n = dom0.recv(&mut buffer, Wait::No).unwrap();
        assert!(buffer[..n].ends_with(b"OK\0"), "{}", buffer[..n].escape_ascii());
        let (mut client, _poll, mut theirs) = client(&xenstored, DomId::new(5));

        theirs.write_all(&request(MessageType::Read, b"data\0")).unwrap();
        assert!(client.take_turn(&mut buffer) == Turn::Idle);
        assert!(client.take_turn(&mut buffer) == Turn::Idle);

        xenstored.remove("/local/domain/5/data");
        assert!(client.take_turn(&mut buffer) == Turn::Idle);
        let n = theirs.read(&mut buffer).unwrap();
        // The node is gone, and the guest may not read its parent.
        assert_eq!(buffer[Header::LEN..n].escape_ascii().to_string(), "EACCES\\x00");
    }
}
