//! Iteration over a subtree.

use std::collections::VecDeque;
use std::fmt;

use xs_proto::Permissions;

use crate::batch::Batch;
use crate::error::Result;
use crate::frontier::{Frontier, MAX_NAMES, Next, Spot};
use crate::listing::Listing;
use crate::op::{self, OfNode, Op};
use crate::tree::Tree;

/// An iterator over the nodes of a subtree, returned by [`Tree::walk`].
///
/// Each node precedes its children, and siblings keep the order in which the daemon lists them. A
/// node that is removed during the walk is left out, unless it is the first one. Outside of a
/// transaction, the nodes do not form a consistent snapshot.
///
/// The walk requests many nodes at a time and ahead of the caller, so that the daemon works while
/// the caller uses earlier nodes.
///
/// # Limits
/// A daemon may list a tree without end. A walk of it returns nodes for as long as the caller wants
/// them, and keeps at most 64 MiB of names, and about 8 MiB of answers that the caller has not
/// taken. Children of a node whose names exceed the first limit are left out, and
/// [`Node::children`] is [`Unexpected`](crate::ErrorKind::Unexpected). The walk descends until paths
/// are too long for the protocol, which is at most 1536 levels; the children of the last node are
/// then [`Invalid`](crate::ErrorKind::Invalid).
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
    wanted: Wanted,
    at_once: usize,
    frontier: Frontier<Answers>,
    /// The batches in flight, oldest first.
    in_flight: VecDeque<Requested<'a>>,
}

/// The parts of a node that are read in addition to its children.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    values: bool,
    perms: bool,
}

/// A node that a [`Walk`] returns.
#[non_exhaustive]
pub struct Node {
    /// The path of the node, relative if the walk started from a relative path.
    pub path: String,
    /// How many levels the node is below the start of the walk; 0 for the start itself.
    pub depth: usize,
    /// The names of the node's children. If they cannot be listed, the walk skips them.
    pub children: Result<Vec<String>>,
    /// The value of the node, if the walk [reads values](Walk::with_values).
    pub value: Option<Result<Vec<u8>>>,
    /// The permissions of the node, if the walk [reads permissions](Walk::with_perms).
    pub perms: Option<Result<Permissions>>,
}

/// The replies to the requests for one node.
#[derive(Debug)]
struct Answers {
    children: Result<OfNode>,
    value: Option<Result<OfNode>>,
    perms: Option<Result<OfNode>>,
}

/// A batch in flight, and the nodes that it requests.
#[derive(Debug)]
struct Requested<'a> {
    wanted: Wanted,
    spots: Vec<Spot>,
    batch: Batch<'a>,
}

/// How many nodes a batch asks for: enough to make the fixed cost of a batch negligible.
const AT_ONCE: usize = 170;

/// The same for a device, on which each request is a round trip and the whole batch has one
/// deadline.
const AT_ONCE_BY_DEVICE: usize = 16;

/// How many batches are in flight at a time, so that the daemon always has work.
const TIMES_AHEAD: usize = 2;

impl Tree {
    /// Returns an iterator over a node and all its descendants.
    pub fn walk(&self, path: impl AsRef<str>) -> Walk<'_> {
        Walk::new(self, path.as_ref())
    }
}

impl<'a> Walk<'a> {
    fn new(tree: &'a Tree, path: &str) -> Self {
        let transport = tree.handle.lock().transport();
        let limits = transport.limits();
        let at_once = if limits.one_at_a_time { AT_ONCE_BY_DEVICE } else { AT_ONCE };
        Walk {
            tree,
            wanted: Wanted { values: false, perms: false },
            at_once,
            frontier: Frontier::new(path.to_owned()),
            in_flight: VecDeque::new(),
        }
    }

    /// Also reads the values of the nodes that have not been requested yet.
    pub fn with_values(mut self) -> Self {
        self.wanted.values = true;
        self
    }

    /// Also reads the permissions of the nodes that have not been requested yet.
    pub fn with_perms(mut self) -> Self {
        self.wanted.perms = true;
        self
    }

    /// Requests the next nodes, unless enough batches are in flight.
    fn request(&mut self) {
        while self.in_flight.len() < TIMES_AHEAD {
            let spots = self.frontier.request(self.at_once);
            if spots.is_empty() {
                return;
            }
            let Tree { handle, scope, .. } = self.tree;
            let wanted = self.wanted;
            let questions = wanted.questions(&spots);
            let batch = Batch::submit(handle, *scope, self.tree.deadline(), &questions);
            drop(questions);
            self.in_flight.push_back(Requested { wanted, spots, batch });
        }
    }

    /// Takes the answers of a batch.
    fn receive(&mut self, Requested { wanted, spots, batch }: Requested<'a>) {
        // The caller's work since the batch was sent does not count against the deadline.
        let answers = batch.results(self.tree.deadline(), &wanted.questions(&spots));
        let mut answers = answers.into_iter();
        for spot in spots {
            let Some(children) = answers.next() else { return };
            let mut next = |is_wanted: bool| if is_wanted { answers.next() } else { None };
            let (value, perms) = (next(wanted.values), next(wanted.perms));
            let answers = Answers { children, value, perms };
            let (size, names) = (answers.size(), answers.names().map(str::to_owned));
            self.frontier.answer(spot, answers, size, names);
        }
    }

    /// Builds a node from its answers. Returns `None` if the node has been removed.
    fn node(&self, path: String, depth: usize, answers: Answers) -> Option<Node> {
        let children = op::directory(&path).result(answers.children);
        let value = answers.value.map(|answer| op::read(&path).result(answer));
        let perms = answers.perms.map(|answer| op::get_perms(&path).result(answer));
        let children = match Listing::is_needed(&children) {
            true => self.tree.directory(&path),
            false => children,
        };
        let is_gone =
            gone(&children) || value.as_ref().is_some_and(gone) || perms.as_ref().is_some_and(gone);
        (!is_gone || depth == 0).then_some(Node { path, depth, children, value, perms })
    }

    /// Continues the walk with the children of a node.
    fn descend(&mut self, node: &mut Node) {
        let Ok(names) = &node.children else { return };
        if !self.frontier.push_children(&node.path, names) {
            let limit = format!("the names ahead of the walk exceed {} MiB", MAX_NAMES >> 20);
            node.children = Err(op::directory(&node.path).label.unexpected(&limit));
        }
    }
}

impl Answers {
    /// Returns the names of the children, each followed by a NUL, if the node exists and has a valid
    /// list.
    fn names(&self) -> Option<&str> {
        let is_gone = [&self.value, &self.perms].into_iter().flatten().any(gone);
        self.children.as_ref().ok().filter(|_| !is_gone)?.names()
    }

    /// Returns the size of the replies in bytes.
    fn size(&self) -> usize {
        let replies = [Some(&self.children), self.value.as_ref(), self.perms.as_ref()];
        replies.into_iter().flatten().flatten().map(OfNode::size).sum()
    }
}

impl Wanted {
    /// Returns the operations that read some nodes.
    fn questions(self, spots: &[Spot]) -> Vec<Op<'_, OfNode>> {
        let questions = spots.iter().flat_map(|Spot { path, .. }| {
            [
                Some(op::directory(path).of_node()),
                self.values.then(|| op::read(path).of_node()),
                self.perms.then(|| op::get_perms(path).of_node()),
            ]
        });
        questions.flatten().collect()
    }
}

impl Iterator for Walk<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            match self.frontier.pop() {
                Next::Node { path, depth, answer, has_children } => {
                    if let Some(mut node) = self.node(path, depth, answer) {
                        if !has_children {
                            self.descend(&mut node);
                        }
                        return Some(node);
                    }
                }
                Next::Unanswered => {
                    self.request();
                    let first = self.in_flight.pop_front()?;
                    self.receive(first);
                    self.request();
                }
                Next::End => return None,
            }
        }
    }
}

fn gone<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(error) if error.is_not_found())
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("with_values", &self.wanted.values)
            .field("with_perms", &self.wanted.perms)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children = self.children.as_ref().map(Vec::len);
        let value = self.value.as_ref().map(|value| value.as_ref().map(Vec::len));
        f.debug_struct("Node")
            .field("path", &self.path)
            .field("depth", &self.depth)
            .field("children", &children)
            .field("value_len", &value)
            .field("perms", &self.perms)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::{DomId, ErrorCode, MessageType};
    use xs_transport::mock::{Fault, Xenstored};

    use super::*;
    use crate::Client;

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
