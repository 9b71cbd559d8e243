//! A whole subtree, node by node.

use std::collections::VecDeque;

use xs_proto::Permissions;

use crate::error::Result;
use crate::listing::Listing;
use crate::op::{self, OfNode};
use crate::tree::Tree;

/// The nodes of a subtree, each before its children and these in the daemon's order; made by
/// [`Tree::walk`].
///
/// Nodes are asked for ahead, many in one round trip, in the order in which they come out: memory
/// is bounded by how wide and deep the tree is, not by how large. A node that goes away meanwhile,
/// other than the first, is left out.
///
/// Outside of a transaction the nodes are not of one moment.
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// # client.write("/vm/1/name", "guest")?;
/// for node in client.walk("/vm").with_values() {
///     println!("{} = {:?}", node.path, node.value.expect("was asked for")?);
/// }
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    values: bool,
    perms: bool,
    at_once: usize,
    /// What is still to come out, in this order.
    ahead: VecDeque<Place>,
}

/// A node that a [`Walk`] came by.
#[derive(Debug)]
#[non_exhaustive]
pub struct Node {
    /// Where it is; relative if the walk started from a relative path.
    pub path: String,
    /// How far below the start of the walk; 0 is the start itself.
    pub depth: usize,
    /// The names of its children. What lies below a node whose children cannot be listed does not
    /// come up.
    pub children: Result<Vec<String>>,
    /// Its value, if it was asked for.
    pub value: Option<Result<Vec<u8>>>,
    /// Its permissions, if they were asked for.
    pub perms: Option<Result<Permissions>>,
}

#[derive(Debug)]
enum Place {
    Known(Node),
    Unknown { path: String, depth: usize },
}

/// What is found out about a node: children, value, permissions.
type Found = (Result<Vec<String>>, Option<Result<Vec<u8>>>, Option<Result<Permissions>>);

/// How many nodes are asked for at a time: enough that round trips hardly count.
const AT_ONCE: usize = 340;

/// The same where there are round trips anyway, and the deadline is for all at once.
const AT_ONCE_BY_DEVICE: usize = 16;

impl Tree {
    /// Goes through a node and all below it.
    pub fn walk(&self, path: &str) -> Walk<'_> {
        let start = Place::Unknown { path: path.to_owned(), depth: 0 };
        let limits = self.handle.drive.transport().limits();
        let at_once = if limits.one_at_a_time { AT_ONCE_BY_DEVICE } else { AT_ONCE };
        Walk { tree: self, values: false, perms: false, at_once, ahead: VecDeque::from([start]) }
    }
}

impl Walk<'_> {
    /// Reads the values, too.
    #[must_use]
    pub fn with_values(mut self) -> Self {
        self.values = true;
        self
    }

    /// Reads the permissions, too.
    #[must_use]
    pub fn with_perms(mut self) -> Self {
        self.perms = true;
        self
    }

    /// Looks up the next unknown places, and puts those of their children behind each.
    fn look_ahead(&mut self) {
        let unknown = self.ahead.iter().filter_map(|place| match place {
            Place::Unknown { path, .. } => Some(path.as_str()),
            Place::Known(_) => None,
        });
        let paths: Vec<&str> = unknown.take(self.at_once).collect();
        let mut found = self.look_up(&paths).into_iter();

        let mut ahead = VecDeque::with_capacity(self.ahead.len() + paths.len());
        let mut places = std::mem::take(&mut self.ahead).into_iter();
        while let Some(place) = places.next() {
            let Place::Unknown { path, depth } = place else {
                ahead.push_back(place);
                continue;
            };
            let Some((children, value, perms)) = found.next() else {
                ahead.push_back(Place::Unknown { path, depth });
                ahead.extend(places);
                break;
            };
            let is_gone = gone(&children)
                || value.as_ref().is_some_and(gone)
                || perms.as_ref().is_some_and(gone);
            if is_gone && depth > 0 {
                continue;
            }
            let parent = if path == "/" { "" } else { &path };
            let below: Vec<_> = children
                .iter()
                .flatten()
                .map(|name| Place::Unknown { path: format!("{parent}/{name}"), depth: depth + 1 })
                .collect();
            ahead.push_back(Place::Known(Node { path, depth, children, value, perms }));
            ahead.extend(below);
        }
        self.ahead = ahead;
    }

    /// Asks all there is to ask of some nodes, in one round trip.
    fn look_up(&self, paths: &[&str]) -> Vec<Found> {
        let asked = paths.iter().flat_map(|path| {
            [
                Some(op::directory(path).of_node()),
                self.values.then(|| op::read(path).of_node()),
                self.perms.then(|| op::get_perms(path).of_node()),
            ]
        });
        let mut answers = self.tree.run_all(asked.flatten()).into_iter();
        let of_node = |path: &&str| {
            let children = OfNode::take(answers.next()?, &op::directory(path));
            let children = match Listing::is_needed(&children) {
                true => self.tree.directory(path),
                false => children,
            };
            let mut next = |is_asked: bool| if is_asked { answers.next() } else { None };
            let value = next(self.values).map(|answer| OfNode::take(answer, &op::read(path)));
            let perms = next(self.perms).map(|answer| OfNode::take(answer, &op::get_perms(path)));
            Some((children, value, perms))
        };
        // There is an answer to each question.
        paths.iter().map_while(of_node).collect()
    }
}

impl Iterator for Walk<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            match self.ahead.pop_front()? {
                Place::Known(node) => return Some(node),
                unknown => {
                    self.ahead.push_front(unknown);
                    self.look_ahead();
                }
            }
        }
    }
}

fn gone<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(error) if error.is_not_found())
}

#[cfg(test)]
mod tests {
    use xs_proto::{DomId, ErrorCode};
    use xs_transport::mock::{Fault, Xenstored};

    use super::*;
    use crate::Client;

    fn paths(walk: Walk<'_>) -> Vec<(String, usize)> {
        walk.map(|node| (node.path, node.depth)).collect()
    }

    #[test]
    fn every_node_comes_before_its_children_and_its_next_sibling() {
        let xenstored = Xenstored::new();
        // More than is asked for at a time, and deeper than wide in places.
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
        let client = Client::over(xenstored.connect(DomId::DOM0));
        assert_eq!(paths(client.walk("/t")), wanted);
    }

    #[test]
    fn the_root_and_relative_paths() {
        let xenstored = Xenstored::new();
        xenstored.set("/local/domain/0/a/b", "1").unwrap();
        let client = Client::over(xenstored.connect(DomId::DOM0));
        assert_eq!(paths(client.walk("a")), [("a".to_owned(), 0), ("a/b".to_owned(), 1)]);
        let root = paths(client.walk("/"));
        assert!(root.contains(&("/local".to_owned(), 1)), "{root:?}");
    }

    #[test]
    fn values_and_permissions_are_read_if_asked_for() {
        let xenstored = Xenstored::new();
        xenstored.seed("/a [n0 r5] = 1").unwrap();
        let client = Client::over(xenstored.connect(DomId::DOM0));
        let node = client.walk("/a").with_values().with_perms().next().unwrap();
        assert_eq!(node.value.unwrap().unwrap(), b"1");
        assert_eq!(node.perms.unwrap().unwrap().to_string(), "n0 r5");
        let node = client.walk("/a").next().unwrap();
        assert!(node.value.is_none() && node.perms.is_none());
    }

    #[test]
    fn what_goes_away_is_left_out_and_what_is_closed_is_reported() {
        let xenstored = Xenstored::new();
        xenstored.seed("/a [n0 r5]\n/a/b [n0]\n/a/b/c\n/a/d [n0 r5]").unwrap();
        let client = Client::over(xenstored.connect(DomId::new(5)));
        let nodes: Vec<_> = client.walk("/a").collect();
        assert_eq!(nodes.len(), 3);
        assert!(nodes[1].children.is_err());

        xenstored.inject(Fault::error(ErrorCode::NoEntry).at("/a/d"));
        assert_eq!(paths(client.walk("/a")).len(), 2);

        let missing = client.walk("/a/missing").next().unwrap();
        assert!(missing.children.unwrap_err().is_not_found());
    }
}
