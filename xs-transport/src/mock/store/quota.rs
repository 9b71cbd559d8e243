//! The limits of a domain.

use std::cell::Cell;
use std::ops::{Index, IndexMut};

/// A limit for domains other than dom0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quota {
    /// The nodes that the domain owns.
    Nodes,
    /// The watches of all connections of the domain.
    Watches,
    /// The requests whose reply, or an event that they caused, has not been received.
    Outstanding,
    /// The size of the domain's nodes, watches and pending messages, in bytes.
    Memory,
    /// Like [`Memory`](Self::Memory), but the daemon only logs a warning. No effect here.
    SoftMemory,
    /// The open transactions of the domain.
    Transactions,
    /// The nodes that one transaction may access.
    TransactionNodes,
    /// The entries in the permissions of one node.
    NodePermissions,
    /// The length of a path, without a prefix `/local/domain/<domid>/`.
    PathMax,
    /// The size of a node: its value, the names of its children, its permissions and some overhead.
    NodeSize,
}

/// Each quota with its name and its default, in the order of GET_QUOTA. The C daemon reports these
/// defaults.
const TABLE: [(Quota, &str, u32); 10] = [
    (Quota::Nodes, "nodes", 1000),
    (Quota::Watches, "watches", 128),
    (Quota::Outstanding, "outstanding", 20),
    (Quota::Memory, "memory", 2_621_440),
    (Quota::SoftMemory, "soft-memory", 2_097_152),
    (Quota::Transactions, "transactions", 10),
    (Quota::TransactionNodes, "transaction-nodes", 1024),
    (Quota::NodePermissions, "node-permissions", 5),
    (Quota::PathMax, "path-max", 2048),
    (Quota::NodeSize, "node-size", 2048),
];

/// The values of all quotas of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quotas([u32; TABLE.len()]);

impl Default for Quotas {
    fn default() -> Self {
        Quotas(TABLE.map(|(.., default)| default))
    }
}

impl Index<Quota> for Quotas {
    type Output = u32;

    fn index(&self, quota: Quota) -> &u32 {
        &self.0[quota as usize]
    }
}

impl IndexMut<Quota> for Quotas {
    fn index_mut(&mut self, quota: Quota) -> &mut u32 {
        &mut self.0[quota as usize]
    }
}

/// The highest count or size that was seen for each quota.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maxima([Cell<i64>; TABLE.len()]);

impl Maxima {
    pub(crate) fn get(&self, quota: Quota) -> i64 {
        self.0[quota as usize].get()
    }

    pub(crate) fn note(&self, quota: Quota, count: i64) {
        let max = &self.0[quota as usize];
        max.set(max.get().max(count));
    }

    /// Replaces a maximum by the present count.
    pub(crate) fn reset(&self, quota: Quota, count: i64) {
        self.0[quota as usize].set(count);
    }
}

impl Quota {
    /// All quotas.
    pub(crate) const ALL: [Quota; TABLE.len()] = {
        let mut all = [Quota::Nodes; TABLE.len()];
        let mut at = 0;
        while at < TABLE.len() {
            all[at] = TABLE[at].0;
            at += 1;
        }
        all
    };

    /// Returns all names in the order of GET_QUOTA.
    pub(crate) fn names() -> String {
        TABLE.map(|(_, name, _)| name).join(" ")
    }

    /// Returns the quota that GET_QUOTA knows by this name.
    pub(crate) fn by_name(name: &[u8]) -> Option<Quota> {
        TABLE.iter().find(|(_, known, _)| known.as_bytes() == name).map(|(quota, ..)| *quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (at, (quota, name, default)) in TABLE.iter().enumerate() {
            assert_eq!(*quota as usize, at);
            assert_eq!(Quota::by_name(name.as_bytes()), Some(*quota));
            assert_eq!(Quotas::default()[*quota], *default);
        }
        assert!(
            Quota::names().starts_with("nodes watches outstanding memory soft-memory transactions")
        );
        assert_eq!(Quota::by_name(b"sheep"), None);
    }

    #[test]
    fn maxima_only_grow() {
        let maxima = Maxima::default();
        maxima.note(Quota::Nodes, 3);
        maxima.note(Quota::Nodes, 2);
        assert_eq!((maxima.get(Quota::Nodes), maxima.get(Quota::Watches)), (3, 0));
        maxima.reset(Quota::Nodes, 1);
        assert_eq!(maxima.get(Quota::Nodes), 1);
    }
}
