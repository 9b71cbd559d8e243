//! The quotas that apply to a request.

use xs_proto::{DomId, MessageType};

use super::answer::Result;
use super::call::Call;
use crate::mock::daemon::domains::is_privileged;
use crate::mock::flavour::behaviour::Bound;
use crate::mock::store::node::Node;
use crate::mock::store::quota::{Quota, Quotas};
use crate::mock::store::transaction::Transaction;

impl Call<'_> {
    /// Returns the domain's quotas, or `None` for dom0.
    pub(super) fn quotas(&self) -> Option<&Quotas> {
        if is_privileged(self.domid) {
            return None;
        }
        self.daemon.domains.get(self.domid).map(|domain| &domain.quotas)
    }

    /// Fails if a request of this type occupies memory and a
    /// [ceiling](crate::mock::daemon::ceilings::Ceilings) has been reached.
    pub(super) fn check_ceilings(&self, msg_type: MessageType) -> Result<()> {
        let ceilings = &self.daemon.ceilings;
        let Some(domain) = self.daemon.domains.get(self.domid) else {
            return Ok(());
        };
        let transaction = self.transaction.as_ref().map_or(0, Transaction::footprint);
        let holds_too_much = domain.held + transaction >= ceilings.domain_bytes;
        let store = self.daemon.store.total();
        let store_is_full =
            store.nodes >= ceilings.nodes as i64 || store.bytes >= ceilings.node_bytes;
        let (is_over, error) = match msg_type {
            MessageType::Watch => {
                let is_over = holds_too_much || domain.watches >= ceilings.watches;
                (is_over, self.behaviour().watch_quota_error)
            }
            MessageType::TransactionStart => {
                let is_over = holds_too_much || domain.transactions >= ceilings.transactions;
                (is_over, self.behaviour().quota_error)
            }
            MessageType::ResetWatches => return Ok(()),
            MessageType::Write | MessageType::Mkdir | MessageType::SetPerms if store_is_full => {
                (true, self.behaviour().quota_error)
            }
            // A transaction keeps each node that it accesses, or each request.
            _ => (self.transaction.is_some() && holds_too_much, self.behaviour().quota_error),
        };
        if is_over { Err(error.clone()) } else { Ok(()) }
    }

    /// Returns whether a quota is used up: `held` is as much as the bound allows.
    pub(super) fn is_used_up(&self, quota: Quota, held: u32, bound: Bound) -> bool {
        self.quotas().is_some_and(|quotas| held >= bound.allowed(quotas[quota]))
    }

    /// Returns whether the domain owns as many nodes as it may.
    pub(super) fn has_all_nodes(&self) -> bool {
        let counted = self.tracked().filter(|_| self.behaviour().counts_nodes_of_transaction);
        let inside = counted.map_or(0, |tracked| tracked.nodes_of(self.domid));
        let nodes = self.daemon.store.usage_of(self.domid).nodes + inside;
        let bound = self.behaviour().bounds.nodes;
        self.quotas().is_some_and(|quotas| nodes >= i64::from(bound.allowed(quotas[Quota::Nodes])))
    }

    /// Returns whether a node exceeds the quota for the size of a node.
    pub(super) fn is_too_big(&self, node: &Node) -> bool {
        let Some(quotas) = self.quotas() else {
            return false;
        };
        let size = self.daemon.store.size_of(node);
        let is_too_big =
            size > self.behaviour().bounds.node_size.allowed(quotas[Quota::NodeSize]) as usize;
        if !is_too_big {
            self.daemon.domains.note_guest(self.domid, Quota::NodeSize, size as i64);
        }
        is_too_big
    }

    /// Returns whether writing a node exceeds the memory of the domain that it counts for: inside a
    /// transaction the caller, otherwise the owner.
    pub(super) fn node_exceeds_memory(&self, path: &str, node: &Node) -> bool {
        let tracked = self.tracked();
        let (payer, prefix, old) = match tracked {
            Some(tracked) => (self.domid, tracked.prefix(), tracked.peek(path)),
            None => (node.owner(), 0, self.daemon.store.get(path)),
        };
        let is_exempt = is_privileged(self.domid) && self.behaviour().dom0_exceeds_memory_of_owners;
        if is_exempt || self.daemon.memory_of(payer).is_none() {
            return false;
        }
        let bytes = |node| (prefix + path.len() + self.daemon.store.size_of(node)) as i64;
        let old = old.filter(|old| tracked.is_some() || old.owner() == payer);
        self.exceeds_memory(payer, bytes(node) - old.map_or(0, |old| bytes(old)))
    }

    /// Returns whether this many further bytes exceed a domain's memory.
    pub(super) fn exceeds_memory(&self, domid: DomId, more: i64) -> bool {
        let Some(max) = self.daemon.memory_of(domid) else {
            return false;
        };
        let transaction = self.transaction.as_ref().filter(|_| domid == self.domid);
        let bytes = transaction.map_or(0, Transaction::bytes);
        self.daemon.bytes_of(domid) + bytes + more >= max
    }
}
