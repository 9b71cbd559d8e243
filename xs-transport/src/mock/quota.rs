//! What a domain may use up.

macro_rules! quotas {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $default:literal;)*) => {
        /// The limits of a domain without privileges, by the names that GET_QUOTA and SET_QUOTA
        /// know.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(super) struct Quotas {
            $($(#[$doc])* pub(super) $name: u32,)*
            /// Memory in bytes above which the daemon warns; nothing happens here.
            pub(super) soft_memory: u32,
        }

        impl Default for Quotas {
            fn default() -> Self {
                Quotas { $($name: $default,)* soft_memory: 2 * 1024 * 1024 }
            }
        }

        impl Quotas {
            /// The names, as GET_QUOTA answers with them.
            pub(super) fn names() -> String {
                let names = [$($wire, if $wire == "memory" { "soft-memory" } else { "" }),*];
                let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
                names.join(" ")
            }

            /// The quota of this name.
            pub(super) fn by_name(&mut self, name: &[u8]) -> Option<&mut u32> {
                $(if name == $wire.as_bytes() {
                    return Some(&mut self.$name);
                })*
                (name == b"soft-memory").then_some(&mut self.soft_memory)
            }
        }
    };
}

quotas! {
    /// Nodes that the domain owns.
    nodes = "nodes", 1000;
    /// Watches of all its connections.
    watches = "watches", 128;
    /// Requests whose replies and events it has not taken; not enforced here.
    outstanding = "outstanding", 20;
    /// Bytes of its nodes, watches and unread messages; not enforced here.
    memory = "memory", 2621440;
    /// Open transactions.
    transactions = "transactions", 10;
    /// Nodes accessed in one transaction.
    transaction_nodes = "transaction-nodes", 1024;
    /// Entries of a node's permissions.
    node_permissions = "node-permissions", 5;
    /// Bytes of a path, `/local/domain/<domid>/` in front of it not counted.
    path_max = "path-max", 2048;
    /// Bytes of a node: value, names of the children, permissions and some overhead.
    node_size = "node-size", 2048;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_quota() {
        let mut quotas = Quotas::default();
        let names = Quotas::names();
        assert!(names.starts_with("nodes watches outstanding memory soft-memory transactions"));
        for name in names.split(' ') {
            assert!(quotas.by_name(name.as_bytes()).is_some(), "{name}");
        }
        *quotas.by_name(b"watches").unwrap() = 3;
        assert_eq!(quotas.watches, 3);
        assert!(quotas.by_name(b"sheep").is_none());
    }
}
