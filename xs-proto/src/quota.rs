//! The names of quotas.

use alloc::boxed::Box;
use core::fmt;

macro_rules! quotas {
    ($($(#[$doc:meta])* $name:ident = $wire:literal;)*) => {
        /// A limit on the resources of a server that one domain may use (xenstore.txt, GET_QUOTA).
        ///
        /// Names that this crate does not know are preserved in [`Quota::Other`].
        ///
        /// ```
        /// use xs_proto::Quota;
        ///
        /// assert_eq!(Quota::TransactionNodes.to_string(), "transaction-nodes");
        /// assert_eq!(Quota::from("nodes"), Quota::Nodes);
        /// assert_eq!(Quota::from("new").name(), "new");
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Quota {
            $($(#[$doc])* $name,)*
            /// A name that this crate does not know.
            Other(Box<str>),
        }

        impl Quota {
            /// All quotas except [`Quota::Other`].
            pub const KNOWN: &'static [Quota] = &[$(Quota::$name),*];

            /// Returns the name on the wire, such as `nodes`.
            pub fn name(&self) -> &str {
                match self {
                    $(Quota::$name => $wire,)*
                    Quota::Other(name) => name,
                }
            }
        }

        impl From<&str> for Quota {
            /// Returns the quota with this name on the wire.
            fn from(name: &str) -> Self {
                match name {
                    $($wire => Quota::$name,)*
                    other => Quota::Other(other.into()),
                }
            }
        }
    };
}

quotas! {
    /// The nodes that the domain owns.
    Nodes = "nodes";
    /// The watches of the domain.
    Watches = "watches";
    /// The requests whose reply, or an event that they caused, the domain has not received.
    Outstanding = "outstanding";
    /// The memory that the server uses for the domain, in bytes.
    Memory = "memory";
    /// Like `Memory`, but the server only logs a warning.
    SoftMemory = "soft-memory";
    /// The open transactions of the domain.
    Transactions = "transactions";
    /// The nodes that one transaction may access.
    TransactionNodes = "transaction-nodes";
    /// The entries in the permissions of one node.
    NodePermissions = "node-permissions";
    /// The length of a path in bytes.
    PathMax = "path-max";
    /// The size of a node in bytes: its value, the names of its children and its permissions.
    NodeSize = "node-size";
}

impl AsRef<str> for Quota {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for quota in Quota::KNOWN {
            assert_eq!(Quota::from(quota.name()), *quota);
        }
    }
}
