//! Transactions that work on a snapshot of the store.

use xs_proto::{ErrorCode, Header, Reply};

use super::tree::Store;

/// A transaction as oxenstored implements it: a copy of the whole store, and a log of the requests
/// that were made on it. If the store has changed by the time of the commit, the requests are
/// repeated on the current store, and the commit succeeds if each gets the same answer again.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The store at the start of the transaction.
    pub(crate) start: Store,
    /// The store inside the transaction.
    pub(crate) store: Store,
    pub(crate) log: Vec<Logged>,
    /// The changes that fire watches on commit.
    pub(crate) changes: Vec<Change>,
}

/// A request inside a transaction, and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) header: Header,
    pub(crate) payload: Box<[u8]>,
    pub(crate) answer: Result<Reply<'static>, ErrorCode>,
}

/// A change that fires watches.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Value,
    Permissions,
    Removal,
}

impl Snapshot {
    pub(crate) fn new(store: &Store) -> Self {
        let (log, changes) = (Vec::new(), Vec::new());
        Snapshot { start: store.clone(), store: store.clone(), log, changes }
    }
}
