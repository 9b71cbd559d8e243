//! The daemon without its connections' transports: requests in, replies and events out. Pure
//! state, no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;

use bytes::BytesMut;
use xs_proto::{
    ConnectionError, DomId, ErrorCode, Header, Incoming, MessageType, PAYLOAD_MAX, Received, Reply,
    TxId,
};

use super::Flavour;
use super::domains::{DOMID_ANY, Domains, Outstanding};
use super::idmap::IdMap;
use super::ocaml;
use super::outbox::Outbox;
use super::quota::Quota;
use super::request::Answer;
use super::store::{Node, NodePerms, Store, parent_of};
use super::trace::{Trace, Tracer};
use super::transaction::Transaction;
use super::watches::{Match, Watches};

/// Names a connection for as long as the xenstored lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(super) u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The store, the domains, the connections and all that happens between them.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) flavour: Flavour,
    pub(super) store: Store,
    pub(super) watches: Watches,
    pub(super) domains: Domains,
    pub(super) conns: IdMap<ConnId, Conn>,
    next_conn: u64,
    /// Events of the request that is being handled.
    events: Vec<Event>,
    pub(super) tracer: Tracer,
    /// Connections that have something to be taken.
    dirty: Vec<ConnId>,
    /// Connections that ended with their domain.
    ended: Vec<ConnId>,
    /// Counts the requests.
    turn: u64,
    /// The request that is being handled, if a domain without privileges made it.
    request: Option<Outstanding>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) domid: DomId,
    pub(super) outbox: Outbox,
    pub(super) transactions: BTreeMap<u32, Transaction>,
    /// The id of the transaction that was started last.
    pub(super) last_transaction: u32,
    dirty: bool,
}

#[derive(Debug)]
struct Event {
    conn: ConnId,
    path: String,
    token: std::sync::Arc<[u8]>,
}

/// Read.
pub(super) const READ: u8 = 1;
/// Write.
pub(super) const WRITE: u8 = 2;
/// Change the permissions.
pub(super) const OWN: u8 = 4;

impl Daemon {
    pub(super) fn new(flavour: Flavour) -> Self {
        let mut daemon = Daemon {
            flavour,
            store: Store::new(flavour.rules()),
            watches: Watches::default(),
            domains: Domains::new(FEATURES),
            conns: IdMap::default(),
            next_conn: 0,
            events: Vec::new(),
            tracer: Tracer::default(),
            dirty: Vec::new(),
            ended: Vec::new(),
            turn: 0,
            request: None,
        };
        daemon.set("/tool/xenstored", b"");
        daemon
    }

    /// A new connection of a domain, which is introduced if it is not yet.
    pub(super) fn connect(&mut self, domid: DomId) -> ConnId {
        self.introduce(domid);
        self.next_conn += 1;
        let id = ConnId(self.next_conn);
        let conn = Conn {
            domid,
            outbox: Outbox::new(self.flavour),
            transactions: BTreeMap::new(),
            last_transaction: 0,
            dirty: false,
        };
        self.conns.insert(id, conn);
        id
    }

    /// Ends a connection: its watches and transactions with it.
    pub(super) fn disconnect(&mut self, id: ConnId) {
        self.reset(id);
        if let Some(conn) = self.conns.remove(&id) {
            self.count_waiting(conn.domid, -(conn.outbox.len() as i64));
        }
    }

    /// Takes one message from what a connection has sent. The message is in the second place.
    pub(super) fn receive<'a>(
        &'a mut self,
        id: ConnId,
        input: &'a [u8],
    ) -> Result<Received<Incoming<'a>>, ConnectionError> {
        match self.conns.get_mut(&id) {
            Some(conn) => conn.outbox.receive(input),
            None => Err(ConnectionError::Closed),
        }
    }

    /// Handles one request.
    pub(super) fn handle(&mut self, id: ConnId, header: Header, payload: &[u8]) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let domid = conn.domid;
        self.turn += 1;
        self.request = match self.domains.get(domid) {
            Some(domain) if !is_privileged(domid) => Some(domain.request()),
            _ => None,
        };
        self.tracer.emit(|| Trace::request(id, domid, header, payload));
        let answer = self.answer(id, header, payload);
        let error;
        let reply = match &answer {
            Ok(Answer::Reply(reply)) => reply,
            Ok(Answer::Value(node)) => &Reply::Value((&*node.value).into()),
            Err(code) => {
                error = Reply::Error(code.clone());
                &error
            }
        };
        let msg_type = MessageType::from_u32(header.msg_type);
        if self.flavour.is_ocaml() && !ocaml::tells_first(msg_type) {
            let is_outside = matches!(msg_type, Some(MessageType::Watch | MessageType::Unwatch));
            let tx_id = if is_outside { TxId::NONE } else { header.tx_id };
            self.reply(id, Header { tx_id, ..header }, reply);
            self.deliver();
        } else {
            self.deliver();
            self.reply(id, header, reply);
        }
        if let (Some(MessageType::Watch), Ok(_)) = (msg_type, &answer) {
            self.first_event(id, payload);
        }
        self.request = None;
    }

    /// Answers a request as if the daemon had come to this reply.
    pub(super) fn reply(&mut self, id: ConnId, header: Header, reply: &Reply<'_>) {
        let Some(domid) = self.domid_of(id) else {
            return;
        };
        let fits = !self.is_too_much(domid, PAYLOAD_MAX) || self.is_small(domid, reply);
        let reply = if fits { reply } else { &Reply::Error(ErrorCode::NoMemory) };
        self.tracer.emit(|| Trace::reply(id, domid, header, reply));
        self.tell(id, |outbox| {
            outbox.reply(header, reply);
            true
        });
    }

    /// Whether a reply is one that the daemon sends in any case, or fits into the memory left.
    fn is_small(&self, domid: DomId, reply: &Reply<'_>) -> bool {
        const ALWAYS: usize = 16;
        let len = reply.encode(PAYLOAD_MAX, &mut BytesMut::new()).unwrap_or(PAYLOAD_MAX);
        len <= ALWAYS || !self.is_too_much(domid, len)
    }

    /// Puts something into a connection's outbox; says whether that did.
    fn tell(&mut self, id: ConnId, put: impl FnOnce(&mut Outbox) -> bool) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else {
            return false;
        };
        let before = conn.outbox.len();
        let is_put = put(&mut conn.outbox);
        if let Some(request) = &self.request {
            conn.outbox.hold(request);
        }
        conn.note_dirty(id, &mut self.dirty);
        let (domid, bytes) = (conn.domid, conn.outbox.len() - before);
        self.count_waiting(domid, bytes as i64);
        is_put
    }

    fn count_waiting(&mut self, domid: DomId, bytes: i64) {
        if let Some(domain) = self.domains.get_mut(domid).filter(|_| !is_privileged(domid)) {
            domain.bytes += bytes;
        }
    }

    /// The bytes that a domain uses up, as the daemon counts them.
    pub(super) fn bytes_of(&self, domid: DomId) -> i64 {
        let bytes = self.domains.get(domid).map_or(0, |domain| domain.bytes);
        self.store.used_by(domid).bytes + bytes
    }

    /// Whether a message of this payload is more than the domain's memory allows.
    fn is_too_much(&self, domid: DomId, len: usize) -> bool {
        self.memory_of(domid)
            .is_some_and(|max| self.bytes_of(domid) + (Header::LEN + len) as i64 >= max)
    }

    /// How many bytes a domain may use up; `None`: as many as it likes.
    pub(super) fn memory_of(&self, domid: DomId) -> Option<i64> {
        if is_privileged(domid) || self.flavour.is_ocaml() {
            return None;
        }
        match self.domains.get(domid)?.quotas[Quota::Memory] {
            0 => None,
            max => Some(i64::from(max)),
        }
    }

    /// Whether the daemon takes no more requests from this domain until some of what it uses up
    /// has come free.
    pub(super) fn is_stalled(&self, domid: DomId) -> bool {
        if is_privileged(domid) || self.flavour.is_ocaml() {
            return false;
        }
        let Some(domain) = self.domains.get(domid) else {
            return false;
        };
        let max = domain.quotas[Quota::Outstanding];
        (max != 0 && domain.outstanding() >= max)
            || self.memory_of(domid).is_some_and(|max| self.bytes_of(domid) >= max)
    }

    /// The connections that have had something to be told since the last call.
    pub(super) fn take_dirty(&mut self) -> Vec<ConnId> {
        for id in &self.dirty {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.dirty = false;
            }
        }
        std::mem::take(&mut self.dirty)
    }

    /// The connections that have ended with their domains since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn domid_of(&self, id: ConnId) -> Option<DomId> {
        self.conns.get(&id).map(|conn| conn.domid)
    }

    /// Says whether a connection's client is behind, so that its events wait.
    pub(super) fn set_full(&mut self, id: ConnId, full: bool) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.outbox.set_full(full);
        }
    }

    /// Takes what a connection has to be told.
    pub(super) fn take_output(&mut self, id: ConnId) -> BytesMut {
        let Some(conn) = self.conns.get_mut(&id) else {
            return BytesMut::new();
        };
        let (domid, output) = (conn.domid, conn.outbox.take());
        self.count_waiting(domid, -(output.len() as i64));
        output
    }

    /// How many bytes a connection has to be told.
    pub(super) fn output_len(&self, id: ConnId) -> usize {
        self.conns.get(&id).map_or(0, |conn| conn.outbox.len())
    }

    /// Makes a domain known; says whether it was not.
    pub(super) fn introduce(&mut self, domid: DomId) -> bool {
        let generation = self.store.generation();
        let domain = self.domains.get_or_add(domid, generation, FEATURES);
        if domain.introduced {
            return false;
        }
        domain.introduced = true;
        domain.shut_down = false;
        self.fire_special("@introduceDomain", domid);
        true
    }

    /// Forgets a domain, with its connections and its nodes; says whether it was introduced. Dom0
    /// stays.
    pub(super) fn release(&mut self, domid: DomId) -> bool {
        if domid == DomId::DOM0 {
            return false;
        }
        let is_introduced = self.domains.introduced(domid).is_some();
        for id in self.conns_of(domid) {
            self.disconnect(id);
            self.ended.push(id);
        }
        if !self.flavour.is_ocaml() {
            self.remove_nodes_of(domid);
        } else if is_introduced {
            self.ocaml_forget(domid);
        }
        self.domains.remove(domid);
        if is_introduced {
            self.fire_special("@releaseDomain", domid);
        }
        is_introduced
    }

    /// The domain has shut down, which is noticed once; oxenstored notices whenever it looks.
    pub(super) fn shut_down(&mut self, domid: DomId) {
        let again = self.flavour.is_ocaml();
        let domain = self.domains.introduced(domid);
        if let Some(domain) = domain.filter(|domain| again || !domain.shut_down) {
            domain.shut_down = true;
            self.fire_special("@releaseDomain", domid);
        }
    }

    /// All connections of a domain, the oldest first.
    pub(super) fn conns_of(&self, domid: DomId) -> Vec<ConnId> {
        let of_domain = self.conns.iter().filter(|(_, conn)| conn.domid == domid);
        let mut ids: Vec<_> = of_domain.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Ends the watches and transactions of a connection.
    pub(super) fn reset(&mut self, id: ConnId) {
        let (watches, mut bytes) = self.watches.remove_all(id);
        if let Some(conn) = self.conns.get_mut(&id) {
            let transactions = std::mem::take(&mut conn.transactions);
            bytes +=
                transactions.values().map(|transaction| transaction.bytes as usize).sum::<usize>();
            if let Some(domain) = self.domains.get_mut(conn.domid) {
                domain.watches -= watches as u32;
                domain.transactions -= transactions.len() as u32;
                domain.bytes -= bytes as i64;
            }
        }
    }

    /// Lets watches fire. `node` is what stands or stood at `path`, if that is known;
    /// `old_perms` what permissions there were before, if they may have changed.
    pub(super) fn fire(
        &mut self,
        path: &str,
        node: Option<&Node>,
        matching: Match,
        old_perms: Option<&NodePerms>,
    ) {
        let mut permitted = None;
        for fired in self.watches.matching(path, matching, !self.flavour.is_modern()) {
            let conn = fired.conn();
            let is_permitted = match permitted {
                Some((of, is_permitted)) if of == conn => is_permitted,
                _ => self.may_know(conn, path, node, old_perms),
            };
            permitted = Some((conn, is_permitted));
            if is_permitted {
                let path = path[fired.prefix.min(path.len())..].to_owned();
                self.events.push(Event { conn, path, token: fired.token });
            }
        }
    }

    /// Lets special watches fire, with and without the domain.
    fn fire_special(&mut self, path: &str, domid: DomId) {
        let node = self.store.get(path).cloned();
        if self.flavour.is_modern() {
            self.fire(path, node.as_deref(), Match::NoDepth, None);
            self.fire(&format!("{path}/{domid}"), node.as_deref(), Match::Depth, None);
        } else {
            self.fire(path, node.as_deref(), Match::Exact, None);
        }
    }

    /// Hands out the events that have fired.
    pub(super) fn deliver(&mut self) {
        let (coalesce, turn) = (!self.flavour.is_ocaml(), self.turn);
        for event in std::mem::take(&mut self.events) {
            let Event { conn: id, path, token } = event;
            let Some(domid) = self.domid_of(id) else {
                continue;
            };
            // What a domain has no memory left for, it is never told.
            let is_lost = self.is_too_much(domid, path.len() + token.len() + 2);
            let turn = coalesce.then_some(turn);
            if !is_lost && self.tell(id, |outbox| outbox.event(&path, &token, turn)) {
                self.tracer.emit(|| Trace::event(id, domid, &path, &token));
            }
        }
    }

    /// An event for one connection only, delivered with the others.
    pub(super) fn queue(&mut self, conn: ConnId, path: &str, token: &[u8]) {
        self.events.push(Event { conn, path: path.to_owned(), token: token.into() });
    }

    /// Whether a watcher may know that something happened: the node, or its parent, must be
    /// readable, or the node must have been.
    fn may_know(
        &self,
        id: ConnId,
        path: &str,
        node: Option<&Node>,
        old_perms: Option<&NodePerms>,
    ) -> bool {
        let Some(conn) = self.conns.get(&id) else {
            return false;
        };
        let reads =
            |perms: &NodePerms, generation| self.rights(conn.domid, perms, generation) & READ != 0;
        if old_perms.is_some_and(|perms| reads(perms, u64::MAX)) {
            return true;
        }
        let Some(node) = node.or_else(|| self.store.get(path).map(|node| &**node)) else {
            return false;
        };
        if reads(&node.perms, node.generation) {
            return true;
        }
        let parent = self.store.get(parent_of(path));
        parent.is_some_and(|parent| reads(&parent.perms, parent.generation))
    }

    /// What a domain may do with a node of these permissions, last written in this generation.
    pub(super) fn rights(&self, domid: DomId, perms: &NodePerms, generation: u64) -> u8 {
        const ALL: u8 = READ | WRITE | OWN;
        if domid == DomId::DOM0 {
            return ALL;
        }
        let target = self.domains.get(domid).and_then(|domain| domain.target);
        let is_caller = |other: DomId| {
            other == domid
                || target == Some(other)
                || (other == DOMID_ANY && self.flavour.is_modern())
        };
        let (owner, others) = match perms.entries() {
            [owner, others @ ..] => (owner.permission, others),
            [] => return 0,
        };
        if is_caller(owner.domid) {
            return ALL;
        }
        let listed = others.iter().find(|entry| {
            let named = entry.permission.domid;
            !entry.void && is_caller(named) && self.domains.is_meant(named, generation)
        });
        let access = listed.map_or(owner.access, |entry| entry.permission.access);
        let bit = |allowed, bit| if allowed { bit } else { 0 };
        bit(access.can_read(), READ) | bit(access.can_write(), WRITE)
    }
}

impl Conn {
    fn note_dirty(&mut self, id: ConnId, dirty: &mut Vec<ConnId>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(id);
        }
    }
}

/// What a daemon that is not limited by anyone offers: ERROR, WATCHDEPTH, DOMID_ANY.
pub(super) const FEATURES: u32 = 2 | 4 | 8;

/// What every request is judged by first.
pub(super) fn is_privileged(domid: DomId) -> bool {
    domid == DomId::DOM0
}

/// The error for a payload that makes no sense.
pub(super) const INVALID: ErrorCode = ErrorCode::Invalid;
