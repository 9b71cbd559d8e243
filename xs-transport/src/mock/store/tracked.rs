//! Transactions that track the nodes they access.

use std::collections::HashMap;
use std::sync::Arc;

use xs_proto::{DomId, ErrorCode};

use super::node::Node;
use super::permissions::NodePerms;
use super::scope::Scope;
use super::tree::Store;

/// A transaction as the C daemon implements it: a copy of each node as it was when the transaction
/// first accessed it. Starting one is free, and committing one costs as much as it accessed.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    accessed: Vec<Accessed>,
    by_path: HashMap<Arc<str>, usize>,
    /// The change in the number of nodes of each domain.
    pub(crate) nodes: Vec<(DomId, i64)>,
    /// Whether the transaction has created a node.
    pub(crate) created: bool,
    /// The size of the copies.
    pub(crate) bytes: i64,
    /// The size of the largest node that was copied.
    largest: usize,
    /// The length of the paths accessed, whether or not there is a node.
    paths: usize,
    /// The length of the prefix that the daemon puts in front of a copy's path.
    prefix: usize,
    /// Whether a request has failed half-way, so that the transaction cannot be committed.
    pub(crate) failed: bool,
}

/// A node that a transaction has accessed.
#[derive(Debug)]
pub(crate) struct Accessed {
    pub(crate) path: Arc<str>,
    /// The node's generation at the first access, or `None` if the node did not exist.
    generation: Option<u64>,
    /// The node's permissions at the first access.
    pub(crate) old_perms: Option<NodePerms>,
    /// The node inside the transaction, or `None` if it does not exist there.
    pub(crate) node: Option<Arc<Node>>,
    modified: bool,
    /// The watches to fire on commit.
    pub(crate) fire: Option<Scope>,
}

impl Tracked {
    /// Starts a transaction at a generation of the store. The daemon names the copies after the
    /// generation, as in `123//a/b`.
    pub(crate) fn new(generation: u64) -> Self {
        Tracked { prefix: generation.to_string().len() + 1, ..Self::default() }
    }

    /// Returns the number of nodes that the transaction has accessed.
    pub(crate) fn accesses(&self) -> usize {
        self.accessed.len()
    }

    /// Returns the size of the largest node that the transaction has copied.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// Returns the length of the prefix that the daemon puts in front of a copy's path.
    pub(crate) fn prefix(&self) -> usize {
        self.prefix
    }

    /// Returns about how many bytes of memory the transaction takes up.
    pub(super) fn footprint(&self) -> i64 {
        /// An entry of both tables.
        const EACH: usize = 256;
        self.bytes + (self.accessed.len() * EACH + self.paths) as i64
    }

    /// Returns the transaction's copy of a node without accessing the node.
    pub(crate) fn peek(&self, path: &str) -> Option<&Arc<Node>> {
        self.by_path.get(path).and_then(|at| self.accessed[*at].node.as_ref())
    }

    pub(super) fn read(
        &mut self,
        store: &Store,
        path: &str,
        max_accessed: usize,
    ) -> Result<Option<Arc<Node>>, ErrorCode> {
        let at = self.access(store, path, max_accessed)?;
        Ok(self.accessed[at].node.clone())
    }

    /// Replaces, creates or (with `None`) deletes a node inside the transaction.
    pub(super) fn change(
        &mut self,
        store: &Store,
        path: &str,
        node: Option<Arc<Node>>,
        max_accessed: usize,
    ) -> Result<(), ErrorCode> {
        let at = self.access(store, path, max_accessed)?;
        let new_size = node.as_deref().map_or(0, |node| self.size_of_copy(store, node));
        let accessed = &mut self.accessed[at];
        accessed.modified = true;
        let old = std::mem::replace(&mut accessed.node, node);
        let old_size = old.as_deref().map_or(0, |node| self.size_of_copy(store, node));
        self.bytes += new_size - old_size;
        Ok(())
    }

    /// Returns the change in the number of nodes of a domain.
    pub(crate) fn nodes_of(&self, domid: DomId) -> i64 {
        self.nodes.iter().find(|(of, _)| *of == domid).map_or(0, |(_, change)| *change)
    }

    pub(crate) fn add_nodes(&mut self, domid: DomId, change: i64) {
        match self.nodes.iter_mut().find(|(of, _)| *of == domid) {
            Some((_, sum)) => *sum += change,
            None => self.nodes.push((domid, change)),
        }
    }

    /// Fires watches for this path on commit. [`Scope::Subtree`] replaces any other scope.
    pub(crate) fn queue_event(&mut self, path: &str, scope: Scope) {
        if let Some(at) = self.by_path.get(path) {
            let fire = &mut self.accessed[*at].fire;
            if fire.is_none() || scope == Scope::Subtree {
                *fire = Some(scope);
            }
        }
    }

    /// Ends the transaction and returns its changes in the order of first access.
    ///
    /// # Errors
    /// EAGAIN: a node has changed since the transaction first accessed it.
    pub(crate) fn into_changes(
        self,
        store: &Store,
    ) -> Result<impl Iterator<Item = Accessed> + use<>, ErrorCode> {
        let is_unchanged = |accessed: &Accessed| {
            store.get(&accessed.path).map(|node| node.generation) == accessed.generation
        };
        if !self.accessed.iter().all(is_unchanged) {
            return Err(ErrorCode::Again);
        }
        Ok(self.accessed.into_iter().filter(|accessed| accessed.modified))
    }

    /// Returns the index of a node's copy and makes the copy at the first access.
    fn access(
        &mut self,
        store: &Store,
        path: &str,
        max_accessed: usize,
    ) -> Result<usize, ErrorCode> {
        if let Some(at) = self.by_path.get(path) {
            return Ok(*at);
        }
        if self.accessed.len() >= max_accessed {
            self.failed = true;
            return Err(ErrorCode::NoSpace);
        }
        let node = store.get(path).cloned();
        let size = node.as_deref().map_or(0, |node| store.size_of(node));
        self.largest = self.largest.max(size);
        self.bytes += node.as_deref().map_or(0, |node| self.size_of_copy(store, node));
        self.paths += path.len();
        let (at, path) = (self.accessed.len(), Arc::<str>::from(path));
        self.by_path.insert(path.clone(), at);
        self.accessed.push(Accessed {
            path,
            generation: node.as_ref().map(|node| node.generation),
            old_perms: node.as_ref().map(|node| node.perms.clone()),
            node,
            modified: false,
            fire: None,
        });
        Ok(at)
    }

    fn size_of_copy(&self, store: &Store, node: &Node) -> i64 {
        (self.prefix + node.path.len() + store.size_of(node)) as i64
    }
}
