//! The daemon: everything that a xenstored knows.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use xs_proto::{Access, DomId, ErrorCode, Permissions};

use super::ceilings::Ceilings;
use super::conn::{Conn, ConnId};
use super::domains::{DOMID_ANY, Domains, Outstanding};
use super::log_switches::LogSwitches;
use super::outbox::Outbox;
use super::trace::Tracer;
use super::watches::{Event, Watches, footprint_of};
use crate::mock::flavour::behaviour::{Behaviour, SpecialWatches};
use crate::mock::id_map::IdMap;
use crate::mock::store::Store;
use crate::mock::store::node::Node;
use crate::mock::store::path::{below_root, name_of};
use crate::mock::store::permissions::NodePerms;
use crate::mock::store::transaction::Transaction;
use crate::mock::store::tree::{INTRODUCE_DOMAIN, RELEASE_DOMAIN};

/// The store, the domains, the connections and the watches.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) behaviour: &'static Behaviour,
    pub(crate) ceilings: Ceilings,
    pub(crate) store: Store,
    pub(crate) watches: Watches,
    pub(crate) domains: Domains,
    /// The switches of the log, which writes nothing here.
    pub(crate) log_switches: LogSwitches,
    /// The error that the daemon met last, which some daemons reply with.
    pub(crate) last_error: Cell<&'static ErrorCode>,
    /// Whether CONTROL has commands that play the hypervisor.
    pub(crate) has_host_commands: bool,
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
        let mut daemon = Daemon {
            behaviour,
            ceilings: Ceilings::DEFAULT,
            store: Store::new(behaviour.accounting),
            watches: Watches::default(),
            domains: Domains::new(),
            log_switches: LogSwitches::default(),
            last_error: Cell::new(&ErrorCode::NoEntry),
            has_host_commands: false,
            tracer: Tracer::default(),
            conns: IdMap::default(),
            last_conn: 0,
            events: Vec::new(),
            dirty: Vec::new(),
            ended: Vec::new(),
            requests: 0,
            current: None,
        };
        for name in [INTRODUCE_DOMAIN, RELEASE_DOMAIN] {
            daemon.add_special_node(name);
        }
        daemon
    }

    /// Returns the path of the node that holds the permissions of a special watch, and any other
    /// path unchanged.
    pub(crate) fn node_of<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let is_child = self.behaviour.special_watches == SpecialWatches::Nodes;
        if is_child && path.starts_with('@') {
            Cow::Owned(below_root(path))
        } else {
            Cow::Borrowed(path)
        }
    }

    /// Returns a node by its path, or the [node of a special watch](Self::node_of).
    pub(crate) fn node(&self, path: &str) -> Option<&Arc<Node>> {
        self.store.get(&self.node_of(path))
    }

    /// Adds a node with the permissions of a special watch.
    fn add_special_node(&mut self, name: &str) {
        let mut perms = Permissions::owned_by(DomId::DOM0);
        if name == RELEASE_DOMAIN && self.behaviour.releases_are_public {
            perms = perms.with(DOMID_ANY, Access::Read);
        }
        let path = self.node_of(name);
        let order = self.store.next_order();
        self.store.put(Node::new(&path, NodePerms::from_permissions(&perms), order));
        if path.starts_with('/') {
            if let Some(root) = self.store.get("/").cloned() {
                let mut root = Node::clone(&root);
                root.children.add(order, name_of(&path));
                self.store.put(root);
            }
        }
    }

    /// Ends a connection from the daemon's side, and notes it for
    /// [`take_ended`](Self::take_ended).
    pub(crate) fn end(&mut self, id: ConnId) {
        self.disconnect(id);
        self.ended.push(id);
    }

    /// Opens a connection of a domain, which is introduced if necessary.
    pub(crate) fn connect(&mut self, domid: DomId) -> ConnId {
        self.introduce(domid);
        self.last_conn += 1;
        let id = ConnId(self.last_conn);
        let outbox = Outbox::new(self.behaviour);
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
            self.end(id);
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

    /// Returns all connections with their domains: guests first, then dom0, and the oldest first.
    pub(crate) fn all_conns(&self) -> Vec<(ConnId, DomId)> {
        let mut all: Vec<_> = self.conns.iter().map(|(id, conn)| (*id, conn.domid)).collect();
        all.sort_unstable_by_key(|(id, domid)| (*domid == DomId::DOM0, *id));
        all
    }

    /// Returns all connections of a domain, oldest first.
    pub(crate) fn conns_of(&self, domid: DomId) -> Vec<ConnId> {
        let of_domain = self.conns.iter().filter(|(_, conn)| conn.domid == domid);
        let mut ids: Vec<_> = of_domain.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}
