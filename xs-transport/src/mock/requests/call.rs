//! A request that is being carried out.

use xs_proto::{DomId, ErrorCode};

use super::args;
use crate::mock::daemon::{ConnId, Daemon};
use crate::mock::flavour::behaviour::{Behaviour, FinalNul};
use crate::mock::store::Store;
use crate::mock::store::node::Node;
use crate::mock::store::permissions::NodePerms;
use crate::mock::store::quota::Quota;
use crate::mock::store::scope::Scope;
use crate::mock::store::snapshot::Snapshot;
use crate::mock::store::tracked::Tracked;
use crate::mock::store::transaction::Transaction;
use crate::mock::store::view::View;

/// A request that is being carried out. Its methods are in the sibling modules, by group of
/// requests.
pub(super) struct Call<'a> {
    pub(super) daemon: &'a mut Daemon,
    pub(super) conn: ConnId,
    /// The domain that makes the request.
    pub(super) domid: DomId,
    pub(super) transaction: Option<Transaction>,
}

impl<'a> Call<'a> {
    /// Creates the call for a change that the daemon makes itself: as dom0, without quotas and
    /// transactions.
    pub(super) fn internal(daemon: &'a mut Daemon) -> Self {
        Call { daemon, conn: ConnId(0), domid: DomId::DOM0, transaction: None }
    }

    pub(super) fn behaviour(&self) -> &'static Behaviour {
        self.daemon.behaviour
    }

    /// Returns the arguments of the request if there are exactly `N`.
    pub(super) fn exact<'p, const N: usize>(&self, payload: &'p [u8]) -> Option<[&'p [u8]; N]> {
        let nothing_follows = || payload.last() == Some(&0);
        match self.behaviour().final_nul {
            FinalNul::Required if N == 1 => args::exactly(payload).filter(|_| nothing_follows()),
            FinalNul::Required => args::exactly(payload),
            FinalNul::Separates => args::exactly(payload).filter(|_| nothing_follows()),
        }
    }

    /// Returns the first `N` arguments.
    pub(super) fn leading<'p, const N: usize>(&self, payload: &'p [u8]) -> Option<[&'p [u8]; N]> {
        match self.behaviour().final_nul {
            FinalNul::Required => args::at_least(payload),
            FinalNul::Separates => args::first(args::parts(payload)),
        }
    }

    /// Returns whether the domain may make privileged requests.
    pub(super) fn has_privilege(&self) -> bool {
        self.domid == DomId::DOM0
            || (self.behaviour().target_lends_privilege
                && self.daemon.identities(self.domid).any(|identity| identity == DomId::DOM0))
    }

    /// Fails with EACCES unless the domain has all of these rights on the node.
    pub(super) fn check(&self, node: &Node, rights: u8) -> Result<(), ErrorCode> {
        let held = self.daemon.rights(self.domid, &node.perms, node.generation);
        if held & rights == rights { Ok(()) } else { Err(ErrorCode::Access) }
    }

    /// Returns the store as the request sees it, to read and to change.
    pub(super) fn view(&mut self) -> View<'_> {
        let quota = self.quotas().map(|quotas| quotas[Quota::TransactionNodes]);
        let allowed = quota.map(|quota| self.behaviour().bounds.transaction_nodes.allowed(quota));
        let max_accessed = allowed.map_or(usize::MAX, |allowed| allowed as usize);
        View::new(&mut self.daemon.store, self.transaction.as_mut(), max_accessed)
    }

    /// Returns the store of the request's snapshot, or the daemon's store.
    pub(super) fn visible_store(&self) -> &Store {
        self.snapshot().map_or(&self.daemon.store, |snapshot| &snapshot.store)
    }

    /// Returns the request's transaction if it tracks the nodes that it accesses.
    pub(super) fn tracked(&self) -> Option<&Tracked> {
        match &self.transaction {
            Some(Transaction::Tracked(tracked)) => Some(tracked),
            _ => None,
        }
    }

    pub(super) fn tracked_mut(&mut self) -> Option<&mut Tracked> {
        match &mut self.transaction {
            Some(Transaction::Tracked(tracked)) => Some(tracked),
            _ => None,
        }
    }

    /// Returns the request's transaction if it works on a snapshot.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.transaction {
            Some(Transaction::Snapshot(snapshot)) => Some(snapshot),
            _ => None,
        }
    }

    pub(super) fn snapshot_mut(&mut self) -> Option<&mut Snapshot> {
        match &mut self.transaction {
            Some(Transaction::Snapshot(snapshot)) => Some(snapshot),
            _ => None,
        }
    }

    /// Adds `change` to the number of nodes that a domain owns.
    pub(super) fn add_nodes(&mut self, domid: DomId, change: i64) {
        let inside = self.tracked_mut().map_or(0, |tracked| {
            tracked.add_nodes(domid, change);
            tracked.nodes_of(domid)
        });
        let nodes = self.daemon.store.usage_of(domid).nodes + inside;
        self.daemon.domains.note(domid, Quota::Nodes, nodes);
    }

    /// Marks the transaction as impossible to commit.
    pub(super) fn fail_transaction(&mut self) {
        if let Some(tracked) = self.tracked_mut() {
            tracked.failed = true;
        }
    }

    /// Fires watches, now or when the transaction is committed.
    pub(super) fn fire(
        &mut self,
        path: &str,
        node: Option<&Node>,
        scope: Scope,
        old_perms: Option<&NodePerms>,
    ) {
        match self.tracked_mut() {
            Some(tracked) => tracked.queue_event(path, scope),
            None => self.daemon.fire(path, node, scope, old_perms),
        }
    }

    /// Takes the request's transaction, which ends whether or not it is committed.
    pub(super) fn take_transaction(&mut self) -> Option<Transaction> {
        let transaction = self.transaction.take()?;
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            domain.transactions -= 1;
        }
        Some(transaction)
    }
}
