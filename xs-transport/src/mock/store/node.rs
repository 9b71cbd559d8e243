//! A node of the tree.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;
use xs_proto::{DomId, PAYLOAD_MAX};

use super::name_list::NameList;
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
    names: NameList,
    /// The list on the wire, once a list that is too long for one reply was read in parts.
    /// Otherwise each part would cost as much as all parts before it.
    wire: OnceLock<Arc<[u8]>>,
}

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
        self.names.add(order, name);
        self.wire = OnceLock::new();
    }

    /// Returns whether there was such a child.
    pub(crate) fn remove(&mut self, order: u64) -> bool {
        let was_there = self.names.remove(order);
        if was_there {
            self.wire = OnceLock::new();
        }
        was_there
    }

    /// Iterates over the names in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// Returns the names as they are on the wire, each with its NUL.
    pub(crate) fn wire(&self) -> Arc<[u8]> {
        let build = || self.names.to_wire().into();
        if self.wire_len() > PAYLOAD_MAX { self.wire.get_or_init(build).clone() } else { build() }
    }

    /// Returns the length of the list on the wire.
    pub(crate) fn wire_len(&self) -> usize {
        self.names.wire_len()
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
    fn wire_form_follows_each_change() {
        let mut children = Children::default();
        for count in 1..2000 {
            let order = 3 * count as u64;
            children.add(order, &format!("child-{count}"));
            if count % 7 == 0 {
                assert!(children.remove(order - 3));
            }
            let wire = children.wire();
            let names = children.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat());
            assert!(count % 100 != 0 || wire.iter().copied().eq(names));
            assert_eq!(wire.len(), children.wire_len());
        }
        // Reading it again, also from a copy of the node, costs nothing.
        assert!(Arc::ptr_eq(&children.wire(), &children.clone().wire()));
    }
}
