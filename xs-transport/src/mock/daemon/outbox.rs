//! The daemon's end of a connection.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::BytesMut;
use xs_proto::{
    ConnectionError, ErrorCode, Header, Incoming, Received, Reply, ReqId, RequestError,
    ServerConnection, TxId,
};

use super::domains::Outstanding;
use crate::mock::flavour::behaviour::{Behaviour, LongEvents};

/// Decodes a connection's requests, and holds the replies and events that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    protocol: ServerConnection,
    /// The events that were not taken yet, to recognise equal ones.
    queued: HashSet<Box<[u8]>>,
    /// The number of the request that caused them.
    request: u64,
    /// Whether the client's receive queue has no room.
    full: bool,
    /// Whether an event that does not fit into a message is replaced by an error.
    reports_long_events: bool,
    /// The requests that caused the replies and events held here.
    held: Vec<Outstanding>,
}

impl Outbox {
    /// Creates the end of a new connection. Some daemons send and accept more than the protocol
    /// allows.
    pub(super) fn new(behaviour: &Behaviour) -> Self {
        let mut protocol = ServerConnection::new();
        if behaviour.sends_long_directories {
            protocol = protocol.with_long_directories();
        }
        if behaviour.cuts_long_payloads {
            protocol = protocol.with_cut_payloads();
        }
        let reports_long_events = behaviour.long_events == LongEvents::Reported;
        Outbox { protocol, reports_long_events, ..Outbox::default() }
    }

    /// Decodes the next message of the input.
    pub(super) fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<Received<Incoming<'a>>, ConnectionError> {
        self.protocol.receive(input)
    }

    /// Adds a reply. One that does not fit into a message becomes E2BIG.
    pub(super) fn reply(&mut self, to: Header, reply: &Reply<'_>) {
        if let Err(RequestError::TooLong { .. }) = self.protocol.reply(to, reply) {
            // Cannot fail: an error always fits.
            let _ = self.protocol.reply(to, &Reply::Error(ErrorCode::TooBig));
        }
    }

    /// Adds an event, and returns whether it was added. An event that does not fit into a message
    /// is dropped or, with some daemons, replaced by an error.
    ///
    /// With the number of the request that caused it, an event is also dropped if an equal one is
    /// still held, unless its path is special (`@…`). Events of earlier requests count as held only
    /// while the client's queue is full, since otherwise the client has received them.
    pub(super) fn event(&mut self, path: &str, token: &[u8], request: Option<u64>) -> bool {
        if let Some(request) = request.filter(|_| !path.starts_with('@')) {
            if self.request != request && !self.full {
                self.queued.clear();
            }
            self.request = request;
            let event: Box<[u8]> = [path.as_bytes(), token].join(&0).into();
            if !self.queued.insert(event) {
                return false;
            }
        }
        let event = self.protocol.watch_event(path, token);
        if event.is_err() && self.reports_long_events {
            let to = Header { msg_type: 0, req_id: ReqId(0), tx_id: TxId::NONE, len: 0 };
            // Cannot fail: an error always fits.
            let _ = self.protocol.reply(to, &Reply::Error(ErrorCode::TooBig));
        }
        event.is_ok()
    }

    /// Sets whether the client's receive queue has no room.
    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Returns how many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.protocol.output_len()
    }

    /// Keeps a request outstanding until the bytes held here are taken.
    pub(super) fn hold(&mut self, request: &Outstanding) {
        if self.held.last().is_none_or(|last| !Arc::ptr_eq(last, request)) {
            self.held.push(request.clone());
        }
    }

    /// Takes all bytes.
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
    fn equal_events_are_held_once_until_taken() {
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
    fn oversize_replies_become_e2big_and_oversize_events_are_dropped() {
        let mut outbox = Outbox::default();
        let header = Header { msg_type: 2, ..Header::decode(&[0; 16]) };
        outbox.reply(header, &Reply::Value(vec![0; 4097].into()));
        assert!(outbox.take().ends_with(b"E2BIG\0"));
        assert!(!outbox.event("/a", &[1; 4096], Some(1)));
    }
}
