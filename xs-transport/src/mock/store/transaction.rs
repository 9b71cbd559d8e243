//! An open transaction.

use super::snapshot::Snapshot;
use super::tracked::Tracked;
use super::tree::Store;

/// An open transaction, of one of the two kinds that daemons implement.
#[derive(Debug)]
pub(crate) enum Transaction {
    Tracked(Tracked),
    Snapshot(Box<Snapshot>),
}

impl Transaction {
    /// Starts a transaction that tracks the nodes it accesses.
    pub(crate) fn tracked(store: &mut Store) -> Self {
        Transaction::Tracked(Tracked::new(store.next_generation()))
    }

    /// Starts a transaction that works on a snapshot of the store.
    pub(crate) fn snapshot(store: &Store) -> Self {
        Transaction::Snapshot(Box::new(Snapshot::new(store)))
    }

    /// Returns how many bytes count against the domain's quota of memory.
    pub(crate) fn bytes(&self) -> i64 {
        match self {
            Transaction::Tracked(tracked) => tracked.bytes,
            // A daemon with snapshots has no memory quota.
            Transaction::Snapshot(_) => 0,
        }
    }

    /// Returns about how many bytes of memory the transaction takes up.
    pub(crate) fn footprint(&self) -> i64 {
        match self {
            Transaction::Tracked(tracked) => tracked.footprint(),
            Transaction::Snapshot(snapshot) => snapshot.footprint(),
        }
    }
}
