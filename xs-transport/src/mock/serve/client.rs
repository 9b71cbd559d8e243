//! The bytes of one client, between its socket and the xenstored.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use mio::event::Event;
use mio::net::UnixStream;

use crate::mock::connection::pipe::Pipe;
use crate::transport::{Sent, Transport};

/// One client of the server.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pipe: Pipe,
    /// On their way to the client.
    unsent: BytesMut,
    /// Received and not yet taken by the xenstored.
    unfed: BytesMut,
    readable: bool,
    writable: bool,
    /// Nothing more will come. It is told once, and there may be bytes before it.
    ended: bool,
}

/// What became of a client's turn.
#[derive(PartialEq, Eq)]
pub(super) enum Turn {
    /// There is nothing to do until something happens.
    Done,
    /// There may be more; others first.
    More,
    /// The client is gone.
    Gone,
}

impl Client {
    pub(super) fn new(stream: UnixStream, pipe: Pipe) -> Self {
        let (unsent, unfed) = (BytesMut::new(), BytesMut::new());
        Client { stream, pipe, unsent, unfed, readable: true, writable: true, ended: false }
    }

    /// Something has happened to the socket.
    pub(super) fn note(&mut self, event: &Event) {
        self.ended |= event.is_read_closed();
        self.readable |= event.is_readable() || self.ended;
        self.writable |= event.is_writable();
    }

    /// Takes some requests from the client, and tells it all that it takes.
    pub(super) fn take_turn(&mut self, buffer: &mut [u8]) -> Turn {
        if !self.feed() {
            self.flush();
            return Turn::Gone;
        }
        if self.unfed.is_empty() && self.readable {
            match self.stream.read(buffer) {
                Ok(0) => return Turn::Gone,
                Ok(n) => {
                    // A socket that gave less had no more; the next byte is a new event. Its end is
                    // none, if it came together with these.
                    self.readable = n == buffer.len() || self.ended;
                    let is_alive = self.feed_bytes(&buffer[..n]);
                    if !is_alive {
                        self.flush();
                        return Turn::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Gone,
            }
        }
        if !self.flush() {
            return Turn::Gone;
        }
        // What the xenstored did not take it takes when the client has read.
        let has_more = if self.unfed.is_empty() { self.readable } else { self.unsent.is_empty() };
        if has_more { Turn::More } else { Turn::Done }
    }

    fn feed(&mut self) -> bool {
        let unfed = std::mem::take(&mut self.unfed);
        unfed.is_empty() || self.feed_bytes(&unfed)
    }

    /// Says whether the connection lives on.
    fn feed_bytes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.pipe.send(bytes) {
                Ok(Sent::Bytes(n)) => bytes.advance(n),
                Ok(Sent::Refused(_)) => return false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.unfed = BytesMut::from(bytes);
        true
    }

    /// Sends what there is to be told, as far as the socket takes it. Says whether the connection
    /// lives on.
    pub(super) fn flush(&mut self) -> bool {
        loop {
            if self.unsent.is_empty() {
                match self.pipe.take() {
                    None => return false,
                    Some(bytes) if bytes.is_empty() => return true,
                    Some(bytes) => self.unsent = bytes,
                }
            }
            if !self.writable {
                return true;
            }
            match self.stream.write(&self.unsent) {
                Ok(n) => self.unsent.advance(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return true;
                }
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Interest, Poll, Token};
    use xs_proto::DomId;

    use super::*;
    use crate::mock::Xenstored;

    #[test]
    fn the_end_that_comes_with_the_last_bytes_is_seen() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut stream = UnixStream::from_std(ours);
        let mut poll = Poll::new().unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(0), interest).unwrap();
        let mut client = Client::new(stream, Xenstored::new().connect(DomId::DOM0));
        let mut buffer = [0; 4096];
        assert!(client.take_turn(&mut buffer) == Turn::Done, "there is nothing yet");

        // Part of a header: nothing is answered to it, and nothing will come after it.
        theirs.write_all(&[0; 9]).unwrap();
        drop(theirs);
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, None).unwrap();
        events.iter().for_each(|event| client.note(event));
        assert!(client.take_turn(&mut buffer) == Turn::More, "the end is still to be read");
        assert!(client.take_turn(&mut buffer) == Turn::Gone);
    }
}
