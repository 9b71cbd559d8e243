//! The limits of a domain.

use std::fmt::Write as _;
use std::ops::{Index, IndexMut};

/// A limit for domains other than dom0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quota {
    /// The nodes that the domain owns.
    Nodes,
    /// The watches of all connections of the domain.
    Watches,
    /// Requests whose reply, or an event that they caused, has not been received.
    Outstanding,
    /// The size of the domain's nodes, watches and pending messages, in bytes.
    Memory,
    /// Like [`Memory`](Self::Memory), but the daemon only logs a warning. No effect here.
    SoftMemory,
    /// Open transactions.
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

/// Each quota with its name, its default and the text that `xenstore-control quota` shows, in the
/// order of GET_QUOTA. The C daemon reports these defaults.
const TABLE: [(Quota, &str, u32, &str); 10] = [
    (Quota::Nodes, "nodes", 1000, "Nodes per domain"),
    (Quota::Watches, "watches", 128, "Watches per domain"),
    (Quota::Outstanding, "outstanding", 20, "Outstanding requests per domain"),
    (Quota::Memory, "memory", 2_621_440, "Total Xenstore memory per domain (error level)"),
    (
        Quota::SoftMemory,
        "soft-memory",
        2_097_152,
        "Total Xenstore memory per domain (warning level)",
    ),
    (Quota::Transactions, "transactions", 10, "Transactions per domain"),
    (
        Quota::TransactionNodes,
        "transaction-nodes",
        1024,
        "Max. number of accessed nodes per transaction",
    ),
    (Quota::NodePermissions, "node-permissions", 5, "Max. number of permissions per node"),
    (Quota::PathMax, "path-max", 2048, "Max. length of a node path"),
    (Quota::NodeSize, "node-size", 2048, "Max. size of a node"),
];

/// The values of all quotas of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quotas([u32; TABLE.len()]);

impl Default for Quotas {
    fn default() -> Self {
        Quotas(TABLE.map(|(_, _, default, _)| default))
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

impl Quotas {
    /// Returns the listing that CONTROL shows for these quotas.
    pub(crate) fn show(&self, list: &[Quota]) -> String {
        let mut text = "Quota settings:\n".to_owned();
        for quota in list {
            let (name, about) = (quota.control_name(), TABLE[*quota as usize].3);
            let _ = writeln!(text, "{name:<17}: {:8} {about}", self[*quota]);
        }
        text
    }
}

impl Quota {
    /// The quotas that CONTROL's `quota` lists, in its order.
    pub(crate) const HARD: &[Quota] = &[
        Quota::Nodes,
        Quota::Watches,
        Quota::Transactions,
        Quota::Outstanding,
        Quota::TransactionNodes,
        Quota::Memory,
        Quota::NodeSize,
        Quota::PathMax,
        Quota::NodePermissions,
    ];
    /// The quotas that CONTROL's `quota-soft` lists.
    pub(crate) const SOFT: &[Quota] = &[Quota::SoftMemory];

    /// Returns all names in the order of GET_QUOTA.
    pub(crate) fn names() -> String {
        TABLE.map(|(_, name, ..)| name).join(" ")
    }

    /// Returns the quota that GET_QUOTA knows by this name.
    pub(crate) fn by_name(name: &[u8]) -> Option<Quota> {
        TABLE.iter().find(|(_, known, ..)| known.as_bytes() == name).map(|(quota, ..)| *quota)
    }

    /// Returns the name that CONTROL uses.
    pub(crate) fn control_name(self) -> &'static str {
        match self {
            Quota::SoftMemory => "memory",
            Quota::NodePermissions => "permissions",
            other => TABLE[other as usize].1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (at, (quota, name, default, _)) in TABLE.iter().enumerate() {
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
    fn listing_has_the_daemons_format() {
        let mut quotas = Quotas::default();
        quotas[Quota::NodePermissions] = 7;
        let shown = quotas.show(Quota::HARD);
        assert!(
            shown.starts_with("Quota settings:\nnodes            :     1000 Nodes per domain\n")
        );
        assert!(
            shown.ends_with("permissions      :        7 Max. number of permissions per node\n")
        );
        assert!(quotas.show(Quota::SOFT).contains("\nmemory           :  2097152 Total"));
    }
}
