//! The state machine of a walk, which threads and tasks drive.

use std::fmt;

use xs_proto::Permissions;

use crate::error::{Error, Result};
use crate::frontier::{Frontier, MAX_NAMES, Next, Spot};
use crate::listing::Listing;
use crate::op::{self, OfNode, Op};
use crate::tree::Tree;

/// A walk without I/O. It chooses the requests, and turns the answers into nodes.
pub(crate) struct Traversal {
    wanted: Wanted,
    /// The depth below which no nodes are requested.
    max_depth: usize,
    /// The number of slashes in the path of the start.
    start_slashes: usize,
    /// The number of nodes that a query reads.
    at_once: usize,
    frontier: Frontier<Answers>,
}

/// The next step of a walk.
#[derive(Debug)]
pub(crate) enum Step {
    /// Return this node.
    Node(Node),
    /// Read the children of this node in parts, and [complete](Traversal::complete) it.
    List(Incomplete),
    /// Send [queries](Traversal::query), wait for the answers to the oldest one, and
    /// [pass them on](Traversal::answer).
    Ask,
    End,
}

/// Some nodes, and the operations that read them.
#[derive(Debug)]
pub(crate) struct Query {
    wanted: Wanted,
    spots: Vec<Spot>,
}

/// A node whose children do not fit into one message.
#[derive(Debug)]
pub(crate) struct Incomplete {
    node: Node,
    has_children: bool,
}

/// A node that a [`Walk`](crate::Walk) returns.
#[non_exhaustive]
pub struct Node {
    /// The path of the node, relative if the walk started from a relative path.
    pub path: String,
    /// How many levels the node is below the start of the walk; 0 for the start itself.
    pub depth: usize,
    /// The names of the node's children. If they cannot be listed, the walk skips them.
    pub children: Result<Vec<String>>,
    /// The value of the node, if the walk [reads values](crate::Walk::with_values).
    pub value: Option<Result<Vec<u8>>>,
    /// The permissions of the node, if the walk [reads permissions](crate::Walk::with_perms).
    pub perms: Option<Result<Permissions>>,
}

/// The replies to the requests for one node.
#[derive(Debug)]
struct Answers {
    children: Result<OfNode>,
    value: Option<Result<OfNode>>,
    perms: Option<Result<OfNode>>,
}

/// The parts of a node that are read in addition to its children.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    values: bool,
    perms: bool,
}

/// The number of nodes that a query reads. It makes the fixed cost of a query negligible.
pub(crate) const AT_ONCE: usize = 170;

/// The same over a device, where each request is a round trip and one deadline covers the whole
/// query.
const AT_ONCE_BY_DEVICE: usize = 16;

/// The number of queries in flight at a time: with two, the daemon always has work.
pub(crate) const TIMES_AHEAD: usize = 2;

impl Traversal {
    pub(crate) fn new(tree: &Tree, path: &str) -> Self {
        let transport = tree.handle.lock().transport();
        let at_once = match transport.limits().one_at_a_time {
            true => AT_ONCE_BY_DEVICE,
            false => AT_ONCE,
        };
        let wanted = Wanted { values: false, perms: false };
        let start_slashes = slashes(path);
        let frontier = Frontier::new(path.to_owned());
        Traversal { wanted, max_depth: usize::MAX, start_slashes, at_once, frontier }
    }

    pub(crate) fn want_values(&mut self) {
        self.wanted.values = true;
    }

    pub(crate) fn want_perms(&mut self) {
        self.wanted.perms = true;
    }

    pub(crate) fn limit_depth(&mut self, levels: usize) {
        self.max_depth = levels;
    }

    /// Returns the query for the next nodes, if there are any.
    pub(crate) fn query(&mut self) -> Option<Query> {
        let spots = self.frontier.request(self.at_once);
        (!spots.is_empty()).then_some(Query { wanted: self.wanted, spots })
    }

    /// Takes the answers to a query.
    pub(crate) fn answer(&mut self, Query { wanted, spots }: Query, answers: Vec<Result<OfNode>>) {
        let mut answers = answers.into_iter();
        for spot in spots {
            let Some(children) = answers.next() else { return };
            let mut next = |is_wanted: bool| if is_wanted { answers.next() } else { None };
            let (value, perms) = (next(wanted.values), next(wanted.perms));
            let answers = Answers { children, value, perms };
            let descends = slashes(&spot.path) - self.start_slashes < self.max_depth;
            let names = answers.names().filter(|_| descends).map(str::to_owned);
            let size = answers.size();
            self.frontier.answer(spot, answers, size, names);
        }
    }

    /// Returns the next step.
    pub(crate) fn next(&mut self) -> Step {
        loop {
            let (path, depth, answers, has_children) = match self.frontier.pop() {
                Next::Node { path, depth, answer, has_children } => {
                    (path, depth, answer, has_children)
                }
                Next::Unanswered => return Step::Ask,
                Next::End => return Step::End,
            };
            let children = op::directory(&path).result(answers.children);
            let value = answers.value.map(|answer| op::read(&path).result(answer));
            let perms = answers.perms.map(|answer| op::get_perms(&path).result(answer));
            let node = Node { path, depth, children, value, perms };
            if Listing::is_needed(&node.children) {
                return Step::List(Incomplete { node, has_children });
            }
            if let Some(node) = self.visit(node, has_children) {
                return Step::Node(node);
            }
        }
    }

    /// Returns the node with these children, or `None` if it has been removed.
    pub(crate) fn complete(
        &mut self,
        incomplete: Incomplete,
        children: Result<Vec<String>>,
    ) -> Option<Node> {
        let node = Node { children, ..incomplete.node };
        self.visit(node, incomplete.has_children)
    }

    /// Continues the walk with the children of a node, unless the frontier already has them.
    /// Returns `None` if the node has been removed.
    fn visit(&mut self, mut node: Node, has_children: bool) -> Option<Node> {
        let is_gone = gone(&node.children)
            || node.value.as_ref().is_some_and(gone)
            || node.perms.as_ref().is_some_and(gone);
        if is_gone && node.depth > 0 {
            return None;
        }
        let is_done = has_children || node.depth >= self.max_depth;
        match &node.children {
            Ok(names) if !is_done && !self.frontier.push_children(&node.path, names) => {
                node.children = Err(too_many_names(&node.path));
            }
            _ => {}
        }
        Some(node)
    }
}

impl Query {
    /// Returns the operations whose results are the answers.
    pub(crate) fn ops(&self) -> Vec<Op<'_, OfNode>> {
        let ops = self.spots.iter().flat_map(|Spot { path, .. }| {
            [
                Some(op::directory(path).of_node()),
                self.wanted.values.then(|| op::read(path).of_node()),
                self.wanted.perms.then(|| op::get_perms(path).of_node()),
            ]
        });
        ops.flatten().collect()
    }
}

impl Incomplete {
    pub(crate) fn path(&self) -> &str {
        &self.node.path
    }
}

impl Answers {
    /// Returns the names of the children, each followed by a NUL, if the node exists and has a
    /// valid list.
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

/// Returns the number of slashes in a path, and 0 for the root.
fn slashes(path: &str) -> usize {
    if path == "/" { 0 } else { path.matches('/').count() }
}

fn gone<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(error) if error.is_not_found())
}

fn too_many_names(path: &str) -> Error {
    let limit = format!("the names ahead of the walk exceed {} MiB", MAX_NAMES >> 20);
    op::directory(path).label.unexpected(&limit)
}

impl fmt::Debug for Traversal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traversal")
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
