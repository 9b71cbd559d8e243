//! What a domain may use up.

use std::fmt::Write as _;
use std::ops::{Index, IndexMut};

/// One of the limits of a domain without privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// Nodes that the domain owns.
    Nodes,
    /// Watches of all its connections.
    Watches,
    /// Requests whose replies, or the events that they caused, have not been taken.
    Outstanding,
    /// Bytes of its nodes, its watches and what it has not been told yet.
    Memory,
    /// Likewise, but the daemon only warns; nothing happens here.
    SoftMemory,
    /// Open transactions.
    Transactions,
    /// Nodes accessed in one transaction.
    TransactionNodes,
    /// Entries of a node's permissions.
    NodePermissions,
    /// Bytes of a path, `/local/domain/<domid>/` in front of it not counted.
    PathMax,
    /// Bytes of a node: value, names of the children, permissions and some overhead.
    NodeSize,
}

/// Quota, name, default, and what `xenstore-control quota` says of it; in the order of GET_QUOTA.
/// The defaults are those that the C daemon shows of itself.
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

/// The limits of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quotas([u32; TABLE.len()]);

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
    /// As CONTROL lists them, in its order.
    pub(super) fn show(&self, list: &[Quota]) -> String {
        let mut text = "Quota settings:\n".to_owned();
        for quota in list {
            let (name, about) = (quota.control_name(), TABLE[*quota as usize].3);
            let _ = writeln!(text, "{name:<17}: {:8} {about}", self[*quota]);
        }
        text
    }
}

impl Quota {
    /// Those that CONTROL knows, in its order.
    pub(super) const HARD: &[Quota] = &[
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
    /// Likewise those that only lead to a warning.
    pub(super) const SOFT: &[Quota] = &[Quota::SoftMemory];

    /// All names, as GET_QUOTA answers with them.
    pub(super) fn names() -> String {
        TABLE.map(|(_, name, ..)| name).join(" ")
    }

    /// The quota that GET_QUOTA knows by this name.
    pub(super) fn by_name(name: &[u8]) -> Option<Quota> {
        TABLE.iter().find(|(_, known, ..)| known.as_bytes() == name).map(|(quota, ..)| *quota)
    }

    /// The name that CONTROL knows it by.
    pub(super) fn control_name(self) -> &'static str {
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
    fn each_stands_in_its_place() {
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
    fn are_shown_as_the_daemon_shows_them() {
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
