//! The store as a request sees it.

use std::sync::Arc;

use xs_proto::ErrorCode;

use super::node::Node;
use super::tracked::Tracked;
use super::transaction::Transaction;
use super::tree::Store;

/// The store as a request sees it: directly, or through the request's transaction.
#[derive(Debug)]
pub(crate) struct View<'a> {
    store: &'a mut Store,
    tracked: Option<&'a mut Tracked>,
    /// The number of nodes that the transaction may access.
    max_accessed: usize,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        store: &'a mut Store,
        transaction: Option<&'a mut Transaction>,
        max_accessed: usize,
    ) -> Self {
        match transaction {
            None => View { store, tracked: None, max_accessed },
            Some(Transaction::Tracked(tracked)) => {
                View { store, tracked: Some(tracked), max_accessed }
            }
            Some(Transaction::Snapshot(snapshot)) => {
                View { store: &mut snapshot.store, tracked: None, max_accessed }
            }
        }
    }

    /// Returns the node, if it exists.
    ///
    /// # Errors
    /// ENOSPC: the transaction has accessed too many nodes.
    pub(crate) fn read(&mut self, path: &str) -> Result<Option<Arc<Node>>, ErrorCode> {
        match &mut self.tracked {
            Some(tracked) => tracked.read(self.store, path, self.max_accessed),
            None => Ok(self.store.get(path).cloned()),
        }
    }

    /// Replaces or creates the node, with a new generation.
    ///
    /// # Errors
    /// ENOSPC: the transaction has accessed too many nodes.
    pub(crate) fn write(&mut self, path: &str, mut node: Node) -> Result<Arc<Node>, ErrorCode> {
        node.generation = self.store.next_generation();
        let node = Arc::new(node);
        match &mut self.tracked {
            Some(tracked) => {
                tracked.change(self.store, path, Some(node.clone()), self.max_accessed)?;
            }
            None => self.store.put(node.clone()),
        }
        Ok(node)
    }

    /// Counts a change that leaves every node as it is.
    pub(crate) fn touch(&mut self) {
        self.store.next_generation();
    }

    /// Removes the node.
    ///
    /// # Errors
    /// ENOSPC: the transaction has accessed too many nodes.
    pub(crate) fn delete(&mut self, path: &str) -> Result<(), ErrorCode> {
        self.store.next_generation();
        match &mut self.tracked {
            Some(tracked) => tracked.change(self.store, path, None, self.max_accessed)?,
            None => self.store.remove(path),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::DomId;

    use super::super::permissions::NodePerms;
    use super::super::tree::Accounting;
    use super::*;

    fn start() -> (Store, Transaction) {
        let mut store = Store::new(Accounting::default());
        let transaction = Transaction::tracked(&mut store);
        (store, transaction)
    }

    fn node(path: &str, value: &[u8]) -> Node {
        let node = Node::new(path, NodePerms::owned_by(DomId::DOM0), 0);
        Node { value: value.into(), ..node }
    }

    fn outside(store: &mut Store) -> View<'_> {
        View::new(store, None, 10)
    }

    fn inside<'a>(store: &'a mut Store, transaction: &'a mut Transaction) -> View<'a> {
        View::new(store, Some(transaction), 10)
    }

    fn tracked(transaction: Transaction) -> Tracked {
        let Transaction::Tracked(tracked) = transaction else { panic!("a snapshot") };
        tracked
    }

    #[test]
    fn nodes_keep_the_state_of_their_first_access() {
        let (mut store, mut tx) = start();
        outside(&mut store).write("/a", node("/a", b"1")).unwrap();
        outside(&mut store).write("/a", node("/a", b"2")).unwrap();
        assert_eq!(*inside(&mut store, &mut tx).read("/a").unwrap().unwrap().value, *b"2");
        outside(&mut store).write("/a", node("/a", b"3")).unwrap();
        assert_eq!(*inside(&mut store, &mut tx).read("/a").unwrap().unwrap().value, *b"2");
        assert_eq!(tracked(tx).into_changes(&store).err(), Some(ErrorCode::Again));
    }

    #[test]
    fn appearing_nodes_conflict() {
        let (mut store, mut tx) = start();
        assert!(inside(&mut store, &mut tx).read("/a").unwrap().is_none());
        outside(&mut store).write("/a", node("/a", b"")).unwrap();
        assert_eq!(tracked(tx).into_changes(&store).err(), Some(ErrorCode::Again));
    }

    #[test]
    fn changes_come_in_the_order_of_first_access() {
        let (mut store, mut tx) = start();
        let mut view = inside(&mut store, &mut tx);
        view.read("/b").unwrap();
        view.read("/only-read").unwrap();
        view.write("/a", node("/a", b"a")).unwrap();
        view.write("/b", node("/b", b"b")).unwrap();
        view.delete("/a").unwrap();
        let changes: Vec<_> = tracked(tx).into_changes(&store).unwrap().collect();
        let paths: Vec<&str> = changes.iter().map(|change| &*change.path).collect();
        assert_eq!(paths, ["/b", "/a"]);
        assert!(changes[0].node.is_some() && changes[1].node.is_none());
    }

    #[test]
    fn too_many_accesses_fail_the_transaction() {
        let (mut store, mut tx) = start();
        let mut view = inside(&mut store, &mut tx);
        for at in 0..10 {
            view.read(&format!("/{at}")).unwrap();
        }
        assert_eq!(view.read("/more").err(), Some(ErrorCode::NoSpace));
        view.read("/0").unwrap();
        assert!(tracked(tx).failed);
    }

    #[test]
    fn snapshots_do_not_see_later_changes() {
        let mut store = Store::new(Accounting::default());
        outside(&mut store).write("/a", node("/a", b"1")).unwrap();
        let mut tx = Transaction::snapshot(&store);
        outside(&mut store).write("/a", node("/a", b"2")).unwrap();
        assert_eq!(*inside(&mut store, &mut tx).read("/a").unwrap().unwrap().value, *b"1");
        inside(&mut store, &mut tx).delete("/a").unwrap();
        assert!(store.get("/a").is_some());
    }
}
