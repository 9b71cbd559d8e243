//! The bytes of one client, between its socket and the xenstored.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use mio::net::UnixStream;

use crate::mock::pipe::Pipe;
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
    pub(super) readable: bool,
    pub(super) writable: bool,
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
        Client { stream, pipe, unsent, unfed, readable: true, writable: true }
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
                    // A socket that gave less had no more; the next byte is a new event.
                    self.readable = n == buffer.len();
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
