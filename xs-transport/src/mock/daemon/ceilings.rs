//! Limits on the memory that clients can occupy, whatever the quotas.

/// Limits on the memory that clients can occupy.
///
/// Quotas do not apply to dom0 and can be switched off. The genuine daemons then grow until the
/// system is out of memory. These limits are far above what a program needs. One request, or one
/// commit, can exceed them once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceilings {
    /// The nodes of the store.
    pub(crate) nodes: usize,
    /// The bytes of the store's nodes: paths, values, permissions and names of children.
    pub(crate) node_bytes: i64,
    /// The watches of one domain.
    pub(crate) watches: u32,
    /// The open transactions of one domain.
    pub(crate) transactions: u32,
    /// The bytes of the watches and transactions of one domain, about as they are in memory.
    pub(crate) domain_bytes: i64,
}

impl Ceilings {
    pub(crate) const DEFAULT: Self = Ceilings {
        nodes: 1 << 22,
        node_bytes: 1 << 30,
        watches: 1 << 20,
        transactions: 1 << 10,
        domain_bytes: 1 << 30,
    };
}
