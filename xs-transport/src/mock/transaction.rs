//! Transactions: what was accessed, and what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use xs_proto::{DomId, ErrorCode};

use super::ocaml::Snapshot;
use super::store::{Node, NodePerms, Store};
use super::watches::Match;

/// An open transaction, kept as the C daemon keeps it: a copy of each node as it was when first
/// accessed, changed or not. Starting one costs nothing, and ending one costs what it accessed.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    accessed: Vec<Accessed>,
    by_path: HashMap<Arc<str>, usize>,
    /// By how much each domain's number of nodes changes.
    pub(super) nodes: Vec<(DomId, i64)>,
    /// In oxenstored's way: all that follows from a copy of the store.
    pub(super) snapshot: Option<Box<Snapshot>>,
    /// A node was created.
    pub(super) created: bool,
    /// What its copies of nodes come to.
    pub(super) bytes: i64,
    /// What stands in front of a copy's path, in bytes.
    prefix: usize,
    /// Something went wrong half-way; there is nothing to commit.
    pub(super) failed: bool,
}

#[derive(Debug)]
pub(super) struct Accessed {
    pub(super) path: Arc<str>,
    /// When first accessed; `None`: it did not exist.
    generation: Option<u64>,
    /// When first accessed, if it existed.
    pub(super) old_perms: Option<NodePerms>,
    /// Inside the transaction; `None`: it does not exist.
    pub(super) node: Option<Arc<Node>>,
    pub(super) modified: bool,
    /// Watches fire on commit.
    pub(super) fire: Option<Match>,
}

impl Transaction {
    /// One that starts at this generation of the store, by which the daemon names its copies:
    /// `123//a/b`.
    pub(super) fn starting_at(generation: u64) -> Self {
        Transaction { prefix: generation.to_string().len() + 1, ..Self::default() }
    }

    /// One that works on a copy of the store.
    pub(super) fn on_copy(store: &Store) -> Self {
        Transaction { snapshot: Some(Box::new(Snapshot::new(store))), ..Self::default() }
    }

    /// What stands in front of a copy's path, in bytes.
    pub(super) fn prefix(&self) -> usize {
        self.prefix
    }

    /// The copy of a node, if there is one.
    pub(super) fn peek(&self, path: &str) -> Option<&Arc<Node>> {
        self.by_path.get(path).and_then(|at| self.accessed[*at].node.as_ref())
    }

    fn find(&mut self, path: &str) -> Option<&mut Accessed> {
        self.by_path.get(path).map(|at| &mut self.accessed[*at])
    }

    /// How the domain's number of nodes changes with the commit.
    pub(super) fn nodes_of(&self, domid: DomId) -> i64 {
        self.nodes.iter().find(|(of, _)| *of == domid).map_or(0, |(_, change)| *change)
    }

    pub(super) fn add_nodes(&mut self, domid: DomId, change: i64) {
        match self.nodes.iter_mut().find(|(of, _)| *of == domid) {
            Some((_, sum)) => *sum += change,
            None => self.nodes.push((domid, change)),
        }
    }

    /// Watches shall fire for this path on commit. An event for a whole subtree stands above one
    /// for the node alone.
    pub(super) fn queue_event(&mut self, path: &str, matching: Match) {
        if let Some(accessed) = self.find(path) {
            if accessed.fire.is_none() || matching == Match::Subtree {
                accessed.fire = Some(matching);
            }
        }
    }

    /// Ends the transaction: the changes in the order of first access, or EAGAIN if a node that
    /// was accessed has changed since.
    pub(super) fn into_changes(
        self,
        store: &Store,
    ) -> Result<impl Iterator<Item = Accessed> + use<>, ErrorCode> {
        let unchanged = |accessed: &Accessed| {
            store.get(&accessed.path).map(|node| node.generation) == accessed.generation
        };
        if !self.accessed.iter().all(unchanged) {
            return Err(ErrorCode::Again);
        }
        Ok(self.accessed.into_iter().filter(|accessed| accessed.modified))
    }
}

/// The store as a request sees it: directly, or through the transaction that it belongs to.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) store: &'a mut Store,
    pub(super) transaction: Option<&'a mut Transaction>,
    /// How many nodes the transaction may access.
    pub(super) max_accessed: usize,
}

impl View<'_> {
    /// The node, if it exists.
    ///
    /// # Errors
    /// ENOSPC: the transaction has accessed too many nodes.
    pub(super) fn read(&mut self, path: &str) -> Result<Option<Arc<Node>>, ErrorCode> {
        match self.access(path)? {
            Some(accessed) => Ok(accessed.node.clone()),
            None => Ok(self.store.get(path).cloned()),
        }
    }

    /// Replaces or creates the node, with a new generation.
    pub(super) fn write(&mut self, path: &str, mut node: Node) -> Result<Arc<Node>, ErrorCode> {
        node.generation = self.store.next_generation();
        let node = Arc::new(node);
        match self.access(path)? {
            Some(accessed) => {
                accessed.modified = true;
                let old = accessed.node.replace(node.clone());
                self.count_copy(old.as_deref(), -1);
                self.count_copy(Some(&node), 1);
            }
            None => self.store.put(node.clone()),
        }
        Ok(node)
    }

    /// Removes the node.
    pub(super) fn delete(&mut self, path: &str) -> Result<(), ErrorCode> {
        self.store.next_generation();
        match self.access(path)? {
            Some(accessed) => {
                accessed.modified = true;
                let old = accessed.node.take();
                self.count_copy(old.as_deref(), -1);
            }
            None => self.store.remove(path),
        }
        Ok(())
    }

    fn count_copy(&mut self, node: Option<&Node>, sign: i64) {
        if let (Some(transaction), Some(node)) = (self.transaction.as_deref_mut(), node) {
            let bytes = transaction.prefix + node.path.len() + self.store.size_of(node);
            transaction.bytes += sign * bytes as i64;
        }
    }

    /// Notes the access; `None` outside of transactions.
    fn access(&mut self, path: &str) -> Result<Option<&mut Accessed>, ErrorCode> {
        let Some(transaction) = self.transaction.as_deref_mut() else {
            return Ok(None);
        };
        let at = match transaction.by_path.get(path) {
            Some(at) => *at,
            None => {
                if transaction.accessed.len() >= self.max_accessed {
                    transaction.failed = true;
                    return Err(ErrorCode::NoSpace);
                }
                let node = self.store.get(path).cloned();
                if let Some(node) = &node {
                    let bytes = transaction.prefix + path.len() + self.store.size_of(node);
                    transaction.bytes += bytes as i64;
                }
                let path: Arc<str> = path.into();
                transaction.by_path.insert(path.clone(), transaction.accessed.len());
                transaction.accessed.push(Accessed {
                    path,
                    generation: node.as_ref().map(|node| node.generation),
                    old_perms: node.as_ref().map(|node| node.perms.clone()),
                    node,
                    modified: false,
                    fire: None,
                });
                transaction.accessed.len() - 1
            }
        };
        Ok(Some(&mut transaction.accessed[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::Rules;
    use super::*;

    fn node(path: &str, value: &[u8]) -> Node {
        let node = Node::new(path, NodePerms::owned_by(DomId::DOM0), 0);
        Node { value: value.into(), ..node }
    }

    fn outside(store: &mut Store) -> View<'_> {
        View { store, transaction: None, max_accessed: 10 }
    }

    fn inside<'a>(store: &'a mut Store, transaction: &'a mut Transaction) -> View<'a> {
        View { store, transaction: Some(transaction), max_accessed: 10 }
    }

    #[test]
    fn a_node_is_seen_as_it_was_at_its_first_access() {
        let (mut store, mut tx) = (Store::new(Rules::default()), Transaction::default());
        outside(&mut store).write("/a", node("/a", b"1")).unwrap();
        outside(&mut store).write("/a", node("/a", b"2")).unwrap();
        assert_eq!(*inside(&mut store, &mut tx).read("/a").unwrap().unwrap().value, *b"2");
        outside(&mut store).write("/a", node("/a", b"3")).unwrap();
        assert_eq!(*inside(&mut store, &mut tx).read("/a").unwrap().unwrap().value, *b"2");
        assert_eq!(tx.into_changes(&store).err(), Some(ErrorCode::Again));
    }

    #[test]
    fn a_node_that_appeared_is_a_conflict() {
        let (mut store, mut tx) = (Store::new(Rules::default()), Transaction::default());
        assert!(inside(&mut store, &mut tx).read("/a").unwrap().is_none());
        outside(&mut store).write("/a", node("/a", b"")).unwrap();
        assert_eq!(tx.into_changes(&store).err(), Some(ErrorCode::Again));
    }

    #[test]
    fn changes_come_in_the_order_of_first_access() {
        let (mut store, mut tx) = (Store::new(Rules::default()), Transaction::default());
        let mut view = inside(&mut store, &mut tx);
        view.read("/b").unwrap();
        view.read("/only-read").unwrap();
        view.write("/a", node("/a", b"a")).unwrap();
        view.write("/b", node("/b", b"b")).unwrap();
        view.delete("/a").unwrap();
        let changes: Vec<_> = tx.into_changes(&store).unwrap().collect();
        let paths: Vec<&str> = changes.iter().map(|change| &*change.path).collect();
        assert_eq!(paths, ["/b", "/a"]);
        assert!(changes[0].node.is_some() && changes[1].node.is_none());
    }

    #[test]
    fn too_many_accesses_fail_the_transaction() {
        let (mut store, mut tx) = (Store::new(Rules::default()), Transaction::default());
        let mut view = inside(&mut store, &mut tx);
        for at in 0..10 {
            view.read(&format!("/{at}")).unwrap();
        }
        assert_eq!(view.read("/more").err(), Some(ErrorCode::NoSpace));
        view.read("/0").unwrap();
        assert!(tx.failed);
    }
}
