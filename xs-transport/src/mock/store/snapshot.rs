//! Transactions that work on a snapshot of the store.

use xs_proto::{ErrorCode, Header, Reply};

use super::path::{is_within, parent_of};
use super::tree::Store;

/// A transaction as oxenstored implements it: a copy of the whole store, and a log of the requests
/// that were made on it.
///
/// If the store has changed by the time of the commit, the transaction's changes are
/// [merged](Self::merged) into the current store. If this is impossible, the requests are repeated
/// on the current store, and the commit succeeds if each gets the same answer again.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The store at the start of the transaction.
    pub(crate) start: Store,
    /// The store inside the transaction.
    pub(crate) store: Store,
    pub(crate) log: Vec<Logged>,
    /// About how many bytes the log has.
    logged: usize,
    /// The changes that fire watches on commit.
    pub(crate) changes: Vec<Change>,
    /// The deepest path that contains all nodes that were read.
    read: Option<String>,
    /// The deepest path that contains all nodes that were changed. Creating or removing a node
    /// changes its parent.
    written: Option<String>,
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
        Snapshot {
            start: store.clone(),
            store: store.clone(),
            log,
            logged: 0,
            changes,
            read: None,
            written: None,
        }
    }

    /// Notes that a node was read.
    pub(crate) fn note_read(&mut self, path: &str) {
        extend(&mut self.read, path);
    }

    /// Notes that a node was changed.
    pub(crate) fn note_written(&mut self, path: &str) {
        extend(&mut self.written, path);
    }

    /// Returns the current store with the transaction's changes. Returns `None` if a node has
    /// changed since the start in a part of the tree where the transaction has read or changed
    /// nodes.
    pub(crate) fn merged(&self, current: &Store) -> Option<Store> {
        let is_unchanged = |path: &String| current.is_unchanged_since(&self.start, path);
        if !self.read.iter().chain(&self.written).all(is_unchanged) {
            return None;
        }
        let mut merged = current.clone();
        if let Some(path) = &self.written {
            merged.copy_subtree(&self.store, path);
        }
        Some(merged)
    }

    /// Logs a request.
    pub(crate) fn push(&mut self, logged: Logged) {
        let answer = match &logged.answer {
            Ok(Reply::Value(value)) => value.len(),
            Ok(Reply::Children(names)) => names.as_bytes().len(),
            _ => 0,
        };
        // The payload also has the path of a change.
        self.logged +=
            size_of::<Logged>() + size_of::<Change>() + 2 * logged.payload.len() + answer;
        self.log.push(logged);
    }

    /// Returns about how many bytes of memory the transaction takes up: the log, two indices of the
    /// store, and the nodes at its start, which may have been replaced since.
    pub(super) fn footprint(&self) -> i64 {
        const INDEX: i64 = 2 * size_of::<usize>() as i64;
        let start = self.start.total();
        start.bytes + 2 * INDEX * start.nodes + self.logged as i64
    }
}

/// Shortens `deepest` until it also contains `path`.
fn extend(deepest: &mut Option<String>, path: &str) {
    match deepest {
        None => *deepest = Some(path.to_owned()),
        Some(deepest) => {
            while !is_within(path, deepest) {
                let len = parent_of(deepest).len();
                deepest.truncate(len);
            }
        }
    }
}
