//! Messages from and to the clients.

use bytes::BytesMut;
use xs_proto::{ConnectionError, DomId, ErrorCode, Header, Incoming, PAYLOAD_MAX, Received, Reply};

use super::conn::ConnId;
use super::domains::{Domain, is_privileged};
use super::outbox::Outbox;
use super::state::Daemon;
use super::trace::Trace;
use crate::mock::store::quota::Quota;

impl Daemon {
    /// Decodes one message from the bytes that a connection has received.
    pub(crate) fn receive<'a>(
        &'a mut self,
        id: ConnId,
        input: &'a [u8],
    ) -> Result<Received<Incoming<'a>>, ConnectionError> {
        match self.conns.get_mut(&id) {
            Some(conn) => conn.outbox.receive(input),
            None => Err(ConnectionError::Closed),
        }
    }

    /// Begins a request: its events can be merged, and it is outstanding until they and its reply
    /// have been received.
    pub(crate) fn begin_request(&mut self, domid: DomId) {
        self.requests += 1;
        let guest = self.domains.get(domid).filter(|_| !is_privileged(domid));
        self.current = guest.map(Domain::begin_request);
        let outstanding = guest.map_or(1, Domain::outstanding);
        self.domains.note(domid, Quota::Outstanding, outstanding.into());
    }

    /// Ends the current request. Its reply and its events stay outstanding.
    pub(crate) fn end_request(&mut self) {
        self.current = None;
    }

    /// Sends the reply to a request.
    pub(crate) fn reply(&mut self, id: ConnId, header: Header, reply: &Reply<'_>) {
        let Some(domid) = self.domid_of(id) else {
            return;
        };
        let fits = !self.exceeds_memory(domid, PAYLOAD_MAX) || self.fits_memory(domid, reply);
        let reply = if fits { reply } else { &Reply::Error(ErrorCode::NoMemory) };
        self.tracer.emit(|| Trace::reply(id, domid, header, reply));
        self.send(id, |outbox| {
            outbox.reply(header, reply);
            true
        });
    }

    /// Puts a message into a connection's outbox. Returns whether `put` did.
    pub(super) fn send(&mut self, id: ConnId, put: impl FnOnce(&mut Outbox) -> bool) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else {
            return false;
        };
        let before = conn.outbox.len();
        let is_put = put(&mut conn.outbox);
        if let Some(request) = &self.current {
            conn.outbox.hold(request);
        }
        if !std::mem::replace(&mut conn.is_dirty, true) {
            self.dirty.push(id);
        }
        let (domid, bytes) = (conn.domid, conn.outbox.len() - before);
        self.count_pending(domid, bytes as i64);
        is_put
    }

    /// Returns the connections with new output since the last call.
    pub(crate) fn take_dirty(&mut self) -> Vec<ConnId> {
        for id in &self.dirty {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_dirty = false;
            }
        }
        std::mem::take(&mut self.dirty)
    }

    /// Returns the connections that have ended with their domains since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.ended)
    }

    /// Sets whether a connection's client is slow, so that its events accumulate.
    pub(crate) fn set_full(&mut self, id: ConnId, full: bool) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.outbox.set_full(full);
        }
    }

    /// Takes a connection's output.
    pub(crate) fn take_output(&mut self, id: ConnId) -> BytesMut {
        let Some(conn) = self.conns.get_mut(&id) else {
            return BytesMut::new();
        };
        let (domid, output) = (conn.domid, conn.outbox.take());
        self.count_pending(domid, -(output.len() as i64));
        output
    }

    /// Returns the length of a connection's output.
    pub(crate) fn output_len(&self, id: ConnId) -> usize {
        self.conns.get(&id).map_or(0, |conn| conn.outbox.len())
    }
}
