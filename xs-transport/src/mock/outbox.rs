//! What a connection has still to be told.

use std::collections::HashSet;

use bytes::BytesMut;
use xs_proto::{
    ConnectionError, ErrorCode, Header, Incoming, Received, Reply, RequestError, ServerConnection,
};

use super::domains::Outstanding;
use super::flavour::Flavour;

/// The server's end of one connection: requests in, replies and events out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    protocol: ServerConnection,
    /// The events that have not been sent yet.
    queued: HashSet<Box<[u8]>>,
    /// The request that they come from, as long as the client keeps up.
    turn: u64,
    /// The client is behind.
    full: bool,
    /// The requests that what waits here comes from.
    held: Vec<Outstanding>,
}

impl Outbox {
    /// One that says what a daemon of this flavour says.
    pub(super) fn new(flavour: Flavour) -> Self {
        let protocol = ServerConnection::new();
        let protocol = if flavour.is_ocaml() { protocol.with_long_directories() } else { protocol };
        Outbox { protocol, ..Outbox::default() }
    }

    pub(super) fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<Received<Incoming<'a>>, ConnectionError> {
        self.protocol.receive(input)
    }

    /// Answers; with E2BIG if the answer does not fit into a message.
    pub(super) fn reply(&mut self, to: Header, reply: &Reply<'_>) {
        if let Err(RequestError::TooLong { .. }) = self.protocol.reply(to, reply) {
            // An error's name always fits.
            let _ = self.protocol.reply(to, &Reply::Error(ErrorCode::TooBig));
        }
    }

    /// Queues an event; says whether it was. Given the number of the request that caused it, one
    /// that equals another still queued is dropped, unless it is a special one. A client that
    /// keeps up has been sent everything before the next request is handled. An event that does
    /// not fit into a message is dropped in any case.
    pub(super) fn event(&mut self, path: &str, token: &[u8], turn: Option<u64>) -> bool {
        if let Some(turn) = turn.filter(|_| !path.starts_with('@')) {
            if self.turn != turn && !self.full {
                self.queued.clear();
            }
            self.turn = turn;
            let event: Box<[u8]> = [path.as_bytes(), token].join(&0).into();
            if !self.queued.insert(event) {
                return false;
            }
        }
        self.protocol.watch_event(path, token).is_ok()
    }

    /// Says whether the client is behind.
    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// How many bytes wait to be taken.
    pub(super) fn len(&self) -> usize {
        self.protocol.output_len()
    }

    /// Keeps a request outstanding until what waits here is taken.
    pub(super) fn hold(&mut self, request: &Outstanding) {
        if self.held.last().is_none_or(|last| !std::sync::Arc::ptr_eq(last, request)) {
            self.held.push(request.clone());
        }
    }

    pub(super) fn take(&mut self) -> BytesMut {
        self.queued.clear();
        self.held.clear();
        self.protocol.take_output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_are_queued_once_until_sent() {
        let mut outbox = Outbox::default();
        assert!(outbox.event("/a", b"t", Some(1)));
        assert!(!outbox.event("/a", b"t", Some(1)));
        assert!(outbox.event("/a", b"u", Some(1)));
        assert!(outbox.event("@releaseDomain", b"t", Some(1)));
        assert!(outbox.event("@releaseDomain", b"t", Some(1)));
        assert!(outbox.event("/a", b"t", None));
        assert!(outbox.event("/a", b"t", Some(2)));
        outbox.set_full(true);
        assert!(!outbox.event("/a", b"t", Some(3)));
        outbox.take();
        assert!(outbox.event("/a", b"t", Some(3)));
    }

    #[test]
    fn what_does_not_fit_is_answered_with_e2big() {
        let mut outbox = Outbox::default();
        let header = Header { msg_type: 2, ..Header::decode(&[0; 16]) };
        outbox.reply(header, &Reply::Value(vec![0; 4097].into()));
        assert!(outbox.take().ends_with(b"E2BIG\0"));
        assert!(!outbox.event("/a", &[1; 4096], Some(1)));
    }
}
