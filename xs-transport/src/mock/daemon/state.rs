//! The daemon and its connections.

use xs_proto::DomId;

use super::ceilings::Ceilings;
use super::conn::{Conn, ConnId};
use super::domains::{Domains, Outstanding};
use super::outbox::Outbox;
use super::trace::Tracer;
use super::watches::{Event, Watches, footprint_of};
use crate::mock::flavour::behaviour::Behaviour;
use crate::mock::id_map::IdMap;
use crate::mock::store::Store;
use crate::mock::store::transaction::Transaction;

/// The store, the domains, the connections and the watches.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) behaviour: &'static Behaviour,
    pub(crate) ceilings: Ceilings,
    pub(crate) store: Store,
    pub(crate) watches: Watches,
    pub(crate) domains: Domains,
    pub(crate) tracer: Tracer,
    pub(super) conns: IdMap<ConnId, Conn>,
    last_conn: u64,
    /// Events that have fired and have not been delivered.
    pub(super) events: Vec<Event>,
    /// Connections with new output.
    pub(super) dirty: Vec<ConnId>,
    /// Connections that have ended with their domain.
    pub(super) ended: Vec<ConnId>,
    /// The number of requests so far.
    pub(super) requests: u64,
    /// The current request, unless it is dom0's.
    pub(super) current: Option<Outstanding>,
}

impl Daemon {
    /// Creates a daemon that knows dom0.
    pub(crate) fn new(behaviour: &'static Behaviour) -> Self {
        Daemon {
            behaviour,
            ceilings: Ceilings::DEFAULT,
            store: Store::new(behaviour.accounting),
            watches: Watches::default(),
            domains: Domains::new(),
            tracer: Tracer::default(),
            conns: IdMap::default(),
            last_conn: 0,
            events: Vec::new(),
            dirty: Vec::new(),
            ended: Vec::new(),
            requests: 0,
            current: None,
        }
    }

    /// Opens a connection of a domain, which is introduced if necessary.
    pub(crate) fn connect(&mut self, domid: DomId) -> ConnId {
        self.introduce(domid);
        self.last_conn += 1;
        let id = ConnId(self.last_conn);
        let outbox = Outbox::new(self.behaviour.sends_long_directories);
        self.conns.insert(id, Conn::new(domid, outbox));
        id
    }

    /// Ends a connection with its watches and transactions.
    pub(crate) fn disconnect(&mut self, id: ConnId) {
        self.reset(id);
        if let Some(conn) = self.conns.remove(&id) {
            self.count_pending(conn.domid, -(conn.outbox.len() as i64));
        }
    }

    /// Ends all connections of a domain that is going away.
    pub(crate) fn disconnect_domain(&mut self, domid: DomId) {
        for id in self.conns_of(domid) {
            self.disconnect(id);
            self.ended.push(id);
        }
    }

    /// Ends the watches and transactions of a connection.
    pub(crate) fn reset(&mut self, id: ConnId) {
        let (watches, mut bytes) = self.watches.remove_all(id);
        let mut held = footprint_of(watches, bytes);
        if let Some(conn) = self.conns.get_mut(&id) {
            let transactions = std::mem::take(&mut conn.transactions);
            bytes += transactions.values().map(|tx| tx.bytes() as usize).sum::<usize>();
            held += transactions.values().map(Transaction::footprint).sum::<i64>();
            if let Some(domain) = self.domains.get_mut(conn.domid) {
                domain.watches -= watches as u32;
                domain.transactions -= transactions.len() as u32;
                domain.bytes -= bytes as i64;
                domain.held -= held;
            }
        }
    }

    pub(crate) fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    pub(crate) fn domid_of(&self, id: ConnId) -> Option<DomId> {
        self.conns.get(&id).map(|conn| conn.domid)
    }

    /// Returns all connections of a domain, oldest first.
    pub(crate) fn conns_of(&self, domid: DomId) -> Vec<ConnId> {
        let of_domain = self.conns.iter().filter(|(_, conn)| conn.domid == domid);
        let mut ids: Vec<_> = of_domain.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}
