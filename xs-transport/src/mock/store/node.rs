//! A node of the tree.

use std::sync::{Arc, OnceLock};

use rpds::RedBlackTreeMapSync;
use smallvec::SmallVec;
use xs_proto::DomId;

use super::permissions::NodePerms;

/// A node: its value, its permissions and the names of its children.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Stored in the node, so that a lookup compares paths without another indirection.
    pub(crate) path: PathBytes,
    pub(crate) value: Value,
    pub(crate) perms: NodePerms,
    /// The generation of the store when the node was last written.
    pub(crate) generation: u64,
    /// The node's key in its parent's [`Children`].
    pub(crate) order: u64,
    pub(crate) children: Children,
}

/// A path. Most are short enough to need no allocation.
pub(crate) type PathBytes = SmallVec<[u8; 40]>;

/// A value. Most are short enough to need no allocation.
pub(crate) type Value = SmallVec<[u8; 16]>;

/// The names of a node's children, in the order of their creation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    names: RedBlackTreeMapSync<u64, Box<str>>,
    /// The length of all names, each with its NUL.
    len: usize,
    /// Positions in the list, found when a long list is first read in parts. Without them, each part
    /// would cost as much as all parts before it.
    marks: OnceLock<Arc<[Mark]>>,
}

/// The position of a name in the list on the wire.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: usize,
    order: u64,
}

/// The distance of two [`Mark`]s in bytes: about one part of a list.
const MARK_DISTANCE: usize = 4096;

impl Node {
    /// Creates a node without value and children.
    pub(crate) fn new(path: &str, perms: NodePerms, order: u64) -> Self {
        let (value, children) = (Value::new(), Children::default());
        Node { path: path.as_bytes().into(), value, perms, generation: 0, order, children }
    }

    pub(crate) fn owner(&self) -> DomId {
        self.perms.owner()
    }
}

impl Children {
    pub(crate) fn add(&mut self, order: u64, name: &str) {
        self.names.insert_mut(order, name.into());
        self.len += name.len() + 1;
        self.marks = OnceLock::new();
    }

    /// Returns whether there was such a child.
    pub(crate) fn remove(&mut self, order: u64) -> bool {
        let Some(name) = self.names.get(&order) else {
            return false;
        };
        self.len -= name.len() + 1;
        self.marks = OnceLock::new();
        self.names.remove_mut(&order)
    }

    /// Iterates over the names in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(|name| &**name)
    }

    /// Iterates over the names from a position at or shortly before byte `offset` of the list, which
    /// is returned.
    pub(crate) fn iter_from(&self, offset: usize) -> (usize, impl Iterator<Item = &str>) {
        let mark = if offset < MARK_DISTANCE {
            Mark { offset: 0, order: 0 }
        } else {
            let marks = self.marks.get_or_init(|| self.find_marks());
            let after = marks.partition_point(|mark| mark.offset <= offset);
            marks.get(after.saturating_sub(1)).copied().unwrap_or(Mark { offset: 0, order: 0 })
        };
        (mark.offset, self.names.range(mark.order..).map(|(_, name)| &**name))
    }

    fn find_marks(&self) -> Arc<[Mark]> {
        let mut marks = vec![Mark { offset: 0, order: 0 }];
        let mut offset = 0;
        for (order, name) in &self.names {
            if offset >= marks.len() * MARK_DISTANCE {
                marks.push(Mark { offset, order: *order });
            }
            offset += name.len() + 1;
        }
        marks.into()
    }

    /// Returns the length of the list on the wire.
    pub(crate) fn wire_len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_keep_the_order_of_creation() {
        let mut children = Children::default();
        for (order, name) in [(1, "z"), (2, "a"), (3, "m")] {
            children.add(order, name);
        }
        let before = children.clone();
        assert!(children.remove(2));
        assert!(!children.remove(99));
        assert!(children.iter().eq(["z", "m"]));
        assert_eq!(children.wire_len(), 4);
        assert!(before.iter().eq(["z", "a", "m"]));
    }

    #[test]
    fn iteration_starts_close_to_any_offset() {
        let mut children = Children::default();
        for order in 0..5000 {
            children.add(order * 3 + 1, &"x".repeat(order as usize % 100 + 1));
        }
        assert!(children.remove(301) && children.remove(1));
        for offset in (0..children.wire_len() + 5000).step_by(997) {
            let (at, names) = children.iter_from(offset);
            assert!(at <= offset);
            let is_near = offset - at < MARK_DISTANCE + 200 || offset >= children.wire_len();
            assert!(is_near, "{at} is far from {offset}");
            let rest: usize = names.map(|name| name.len() + 1).sum();
            assert_eq!(at + rest, children.wire_len());
        }
        children.add(u64::MAX, "last");
        assert_eq!(children.iter_from(usize::MAX).1.last(), Some("last"));
    }
}
