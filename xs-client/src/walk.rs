//! Iteration over a subtree.

use std::collections::VecDeque;
use std::fmt;

use crate::batch::Batch;
use crate::traversal::{Node, Query, Step, TIMES_AHEAD, Traversal};
use crate::tree::Tree;

/// An iterator over the nodes of a subtree, returned by [`Tree::walk`].
///
/// Each node precedes its children, and siblings keep the order in which the daemon lists them. A
/// node that is removed during the walk is left out, unless it is the first one. Outside of a
/// transaction, the nodes do not form a consistent snapshot. A [`Node`] contains the errors of
/// reading it, and the walk continues with the next node.
///
/// The walk requests many nodes at a time and ahead of the caller, so that the daemon works while
/// the caller uses earlier nodes.
///
/// # Limits
/// A faulty daemon may list an endless tree. The walk then returns nodes for as long as the caller
/// wants them, and keeps at most 64 MiB of names and about 8 MiB of answers that the caller has not
/// taken. If the names of a node's children exceed the first limit, the children are left out, and
/// [`Node::children`] is [`Unexpected`](crate::ErrorKind::Unexpected). The walk descends until
/// paths are too long for the protocol, which is at most 1536 levels; the children of the last node
/// are then [`Invalid`](crate::ErrorKind::Invalid).
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// # client.write("/vm/1/name", "guest")?;
/// for node in client.walk("/vm").with_values() {
///     println!("{} = {:?}", node.path, node.value.expect("was asked for")?);
/// }
/// # Ok::<(), xs_client::Error>(())
/// ```
#[must_use = "an iterator does nothing unless it is used"]
pub struct Walk<'a> {
    tree: &'a Tree,
    traversal: Traversal,
    /// The queries in flight, oldest first.
    in_flight: VecDeque<(Query, Batch<'a>)>,
}

impl Tree {
    /// Returns an iterator over a node and all its descendants.
    pub fn walk(&self, path: impl AsRef<str>) -> Walk<'_> {
        Walk {
            tree: self,
            traversal: Traversal::new(self, path.as_ref()),
            in_flight: VecDeque::new(),
        }
    }
}

impl Walk<'_> {
    /// Also reads the values of the nodes. In a walk that has already begun, nodes that were
    /// requested before have no value.
    pub fn with_values(mut self) -> Self {
        self.traversal.want_values();
        self
    }

    /// Also reads the permissions of the nodes. In a walk that has already begun, nodes that were
    /// requested before have none.
    pub fn with_perms(mut self) -> Self {
        self.traversal.want_perms();
        self
    }

    /// Limits the walk to the first node and `levels` levels of descendants. The nodes of the last
    /// level still list their [`children`](Node::children), but the walk does not descend to them.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// # client.write("/vm/1/name", "guest")?;
    /// let paths: Vec<_> = client.walk("/vm").max_depth(1).map(|node| node.path).collect();
    /// assert_eq!(paths, ["/vm", "/vm/1"]);
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.traversal.limit_depth(levels);
        self
    }

    /// Requests the next nodes, unless enough queries are in flight.
    fn request(&mut self) {
        while self.in_flight.len() < TIMES_AHEAD {
            let Some(query) = self.traversal.query() else { return };
            let Tree { handle, scope, .. } = self.tree;
            let batch = Batch::submit(handle, *scope, self.tree.deadline(), &query.ops());
            self.in_flight.push_back((query, batch));
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            match self.traversal.next() {
                Step::Node(node) => return Some(node),
                Step::List(incomplete) => {
                    let children = self.tree.directory(incomplete.path());
                    if let Some(node) = self.traversal.complete(incomplete, children) {
                        return Some(node);
                    }
                }
                Step::Ask => {
                    self.request();
                    let (query, batch) = self.in_flight.pop_front()?;
                    // The caller's work since the query was sent does not count against the deadline.
                    let answers = batch.results(self.tree.deadline(), &query.ops());
                    self.traversal.answer(query, answers);
                    self.request();
                }
                Step::End => return None,
            }
        }
    }
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Walk").field(&self.traversal).finish()
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::{DomId, ErrorCode, MessageType};
    use xs_transport::mock::{Fault, Xenstored};

    use super::*;
    use crate::Client;
    use crate::traversal::AT_ONCE;

    fn paths(walk: Walk<'_>) -> Vec<(String, usize)> {
        walk.map(|node| (node.path, node.depth)).collect()
    }

    #[test]
    fn values_may_be_requested_during_walk() {
        let xenstored = Xenstored::new();
        for path in ["/t/a/1", "/t/b/2", "/t/c/3"] {
            xenstored.set(path, "v").unwrap();
        }
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        let mut walk = client.walk("/t");
        assert_eq!(walk.next().unwrap().path, "/t");
        assert_eq!(walk.next().unwrap().path, "/t/a");
        let rest: Vec<_> = walk.with_values().map(|node| node.path).collect();
        assert_eq!(rest, ["/t/a/1", "/t/b", "/t/b/2", "/t/c", "/t/c/3"]);
    }

    #[test]
    fn nodes_precede_their_children_and_next_siblings() {
        let xenstored = Xenstored::new();
        // The nodes exceed a batch, and some branches are deeper than wide.
        let mut wanted = vec![("/t".to_owned(), 0)];
        for i in 0..40 {
            wanted.push((format!("/t/{i}"), 1));
            for j in 0..40 {
                wanted.push((format!("/t/{i}/{j}"), 2));
                xenstored.set(&format!("/t/{i}/{j}"), "").unwrap();
            }
            let mut deep = format!("/t/{i}/39");
            for depth in 3..6 {
                deep += "/x";
                wanted.push((deep.clone(), depth));
            }
            xenstored.set(&deep, "").unwrap();
        }
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        assert_eq!(paths(client.walk("/t")), wanted);
    }

    #[test]
    fn walk_accepts_root_and_relative_paths() {
        let xenstored = Xenstored::new();
        xenstored.set("/local/domain/0/a/b", "1").unwrap();
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        assert_eq!(paths(client.walk("a")), [("a".to_owned(), 0), ("a/b".to_owned(), 1)]);
        let root = paths(client.walk("/"));
        assert!(root.contains(&("/local".to_owned(), 1)), "{root:?}");
    }

    #[test]
    fn values_and_permissions_are_read_on_request() {
        let xenstored = Xenstored::new();
        xenstored.seed("/a [n0 r5] = 1").unwrap();
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        let node = client.walk("/a").with_values().with_perms().next().unwrap();
        assert_eq!(node.value.unwrap().unwrap(), b"1");
        assert_eq!(node.perms.unwrap().unwrap().to_string(), "n0 r5");
        let node = client.walk("/a").next().unwrap();
        assert!(node.value.is_none() && node.perms.is_none());
    }

    #[test]
    fn max_depth_limits_the_requests() {
        let xenstored = Xenstored::new();
        for path in ["/t/a/1", "/t/a/1/x", "/t/b", "/local/domain/0/r/1/2"] {
            xenstored.set(path, "v").unwrap();
        }
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        for (start, levels, wanted) in [
            ("/t", 0, &["/t"][..]),
            ("/t", 1, &["/t", "/t/a", "/t/b"]),
            ("/t", 2, &["/t", "/t/a", "/t/a/1", "/t/b"]),
            ("r", 1, &["r", "r/1"]),
        ] {
            xenstored.record();
            let nodes: Vec<_> = client.walk(start).max_depth(levels).collect();
            assert_eq!(nodes.iter().map(|node| &*node.path).collect::<Vec<_>>(), wanted);
            assert_eq!(xenstored.take_records().len(), wanted.len(), "{start} {levels}");
            assert!(!nodes[0].children.as_ref().unwrap().is_empty());
        }
        let root: Vec<_> = client.walk("/").max_depth(1).map(|node| node.depth).collect();
        assert_eq!(root.iter().max(), Some(&1));
    }

    #[test]
    fn walk_may_be_dropped_anywhere() {
        let xenstored = Xenstored::new();
        (0..1000).for_each(|i| xenstored.set(&format!("/a/{i}"), "1").unwrap());
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        // The answers to requests made ahead arrive later and are ignored.
        for taken in [1, 2, AT_ONCE, 2 * AT_ONCE + 1] {
            assert_eq!(client.walk("/a").with_values().take(taken).count(), taken);
            assert_eq!(client.read("/a/7").unwrap(), b"1");
        }
        // A dropped walk does not keep its transaction open.
        let third = client.transaction(|tx| Ok(tx.walk("/a").nth(2).map(|node| node.path)));
        assert_eq!(third.unwrap().as_deref(), Some("/a/1"));
        xenstored.inject(Fault::error(ErrorCode::Access).at("/a/999"));
        assert!(client.walk("/a").last().unwrap().children.is_err());
    }

    #[test]
    fn requests_are_sent_ahead_of_caller() {
        let xenstored = Xenstored::new();
        (0..3 * AT_ONCE).for_each(|i| xenstored.set(&format!("/a/{i}"), "1").unwrap());
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        xenstored.record();
        let mut walk = client.walk("/a");
        assert_eq!(walk.next().unwrap().path, "/a");
        assert_eq!(xenstored.take_records().len(), 1 + TIMES_AHEAD * AT_ONCE);
    }

    #[test]
    fn dropped_walk_keeps_no_answers() {
        let xenstored = Xenstored::new();
        (0..3 * AT_ONCE).for_each(|i| xenstored.set(&format!("/a/{i}"), "1").unwrap());
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        let wanted = || client.handle.lock().open_calls();
        let mut walk = client.walk("/a");
        assert_eq!(walk.next().unwrap().path, "/a");
        assert_eq!(wanted(), TIMES_AHEAD * AT_ONCE);
        drop(walk);
        client.read("/a").unwrap();
        assert_eq!(wanted(), 0);
    }

    #[test]
    fn removed_nodes_are_left_out_and_unreadable_nodes_are_reported() {
        let xenstored = Xenstored::new();
        xenstored.seed("/a [n0 r5]\n/a/b [n0]\n/a/b/c\n/a/d [n0 r5]").unwrap();
        let client = Client::from_transport(xenstored.connect(DomId::new(5)));
        let nodes: Vec<_> = client.walk("/a").collect();
        assert_eq!(nodes.len(), 3);
        assert!(nodes[1].children.is_err());

        for (msg_type, walk) in [
            (MessageType::Directory, client.walk("/a")),
            (MessageType::Read, client.walk("/a").with_values()),
            (MessageType::GetPerms, client.walk("/a").with_perms()),
        ] {
            xenstored.inject(Fault::error(ErrorCode::NoEntry).on(msg_type).at("/a/d"));
            assert_eq!(paths(walk).len(), 2, "{msg_type:?}");
        }

        let missing = client.walk("/a/missing").next().unwrap();
        assert!(missing.children.unwrap_err().is_not_found());
    }
}
