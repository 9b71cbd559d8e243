//! All nodes, by path.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xs_proto::DomId;

use super::node::Node;
use super::path::{ancestors, join, name_of, parent_of};
use super::permissions::NodePerms;
use crate::mock::id_map::IdMap;

/// All nodes by absolute path. `@introduceDomain` and `@releaseDomain` are among them, for their
/// permissions only: as paths of their own, or as children of the root.
///
/// One lookup in the flat map finds a node at any depth. Nodes are shared with the transactions
/// that have read them, and copied when written; the list of children is copied in constant time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    nodes: HashSet<ByPath>,
    usage: IdMap<DomId, Usage>,
    /// The number and the size of all nodes.
    total: Usage,
    accounting: Accounting,
    /// Grows with each change of a node and each start of a transaction.
    generation: u64,
    /// The key of the node created last in its parent's list of children.
    last_order: u64,
}

/// The names of the special watches that have permissions.
pub(crate) const INTRODUCE_DOMAIN: &str = "@introduceDomain";
pub(crate) const RELEASE_DOMAIN: &str = "@releaseDomain";

/// The nodes that a domain may own and that are not removed with it.
pub(crate) const PERMANENT: [&str; 3] = ["/", INTRODUCE_DOMAIN, RELEASE_DOMAIN];

/// The number and the size of the nodes of one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) nodes: i64,
    pub(crate) bytes: i64,
}

/// How a daemon counts nodes and their sizes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accounting {
    /// The bytes that each node counts on top of its contents.
    pub(crate) node_header: usize,
    /// Whether the nodes of special watches count.
    pub(crate) counts_special_nodes: bool,
    /// Whether the root counts. If not, a change of its owner still moves one node from the old
    /// owner's count to the new owner's.
    pub(crate) counts_root: bool,
}

/// A node that is equal to any other node of the same path.
#[derive(Clone, Debug)]
struct ByPath(Arc<Node>);

impl Store {
    /// Creates a store with a root.
    pub(crate) fn new(accounting: Accounting) -> Self {
        let mut store = Store { accounting, ..Store::default() };
        store.put(Node::new("/", NodePerms::owned_by(DomId::DOM0), 0));
        if !accounting.counts_root {
            store.usage.entry(DomId::DOM0).or_default().nodes -= 1;
        }
        store
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Node>> {
        self.nodes.get(path.as_bytes()).map(|ByPath(node)| node)
    }

    /// Returns the number of nodes, including special ones.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Replaces or creates a node. The caller updates the parent's list of children.
    pub(crate) fn put(&mut self, node: impl Into<Arc<Node>>) {
        let node = node.into();
        self.count(&node, 1);
        if let Some(ByPath(old)) = self.nodes.replace(ByPath(node)) {
            self.count(&old, -1);
        }
    }

    /// Removes a node. The caller updates the parent's list of children.
    pub(crate) fn remove(&mut self, path: &str) {
        if let Some(ByPath(old)) = self.nodes.take(path.as_bytes()) {
            self.count(&old, -1);
        }
    }

    /// Returns what the nodes of this owner use.
    pub(crate) fn usage_of(&self, owner: DomId) -> Usage {
        self.usage.get(&owner).copied().unwrap_or_default()
    }

    /// Returns whether neither the node nor any descendant has changed since an earlier state of
    /// the store, nor the permissions of its ancestors. A node that does not exist is unchanged if
    /// its parent exists.
    pub(super) fn is_unchanged_since(&self, old: &Store, path: &str) -> bool {
        match (old.get(path), self.get(path)) {
            (Some(old_node), Some(node)) => {
                let same_perms = |at: &str| {
                    let perms = |store: &Store| store.get(at).map(|node| node.perms.clone());
                    perms(old) == perms(self)
                };
                self.is_same_subtree(old, old_node, node) && ancestors(path).all(same_perms)
            }
            (None, None) => self.get(parent_of(path)).is_some(),
            _ => false,
        }
    }

    fn is_same_subtree(&self, old: &Store, old_node: &Arc<Node>, node: &Arc<Node>) -> bool {
        let path = String::from_utf8_lossy(&node.path);
        Arc::ptr_eq(old_node, node)
            && node.children.iter().all(|name| {
                let child = join(&path, name);
                let both = old.get(&child).zip(self.get(&child));
                both.is_some_and(|(old_child, child)| self.is_same_subtree(old, old_child, child))
            })
    }

    /// Replaces a node and its descendants by those of another store. The parent has to exist.
    pub(super) fn copy_subtree(&mut self, from: &Store, path: &str) {
        let mut at = vec![path.to_owned()];
        while let Some(path) = at.pop() {
            if let Some(node) = self.get(&path).cloned() {
                at.extend(node.children.iter().map(|name| join(&path, name)));
                self.remove(&path);
            }
        }
        at.push(path.to_owned());
        while let Some(path) = at.pop() {
            if let Some(node) = from.get(&path).cloned() {
                at.extend(node.children.iter().map(|name| join(&path, name)));
                self.put(node);
            }
        }
        let is_listed = |parent: &Node| parent.children.iter().any(|name| name == name_of(path));
        let parent = self.get(parent_of(path)).filter(|parent| path != "/" && !is_listed(parent));
        if let (Some(parent), Some(node)) = (parent.cloned(), from.get(path)) {
            let mut parent = Node::clone(&parent);
            parent.children.add(node.order, name_of(path));
            self.put(parent);
        }
    }

    /// Returns what the nodes of all owners use.
    pub(crate) fn all_usage(&self) -> IdMap<DomId, Usage> {
        self.usage.clone()
    }

    /// Replaces what the nodes of all owners use, for a daemon that counts otherwise.
    pub(crate) fn set_all_usage(&mut self, usage: IdMap<DomId, Usage>) {
        self.usage = usage;
    }

    /// Returns what all nodes use.
    pub(crate) fn total(&self) -> Usage {
        self.total
    }

    /// Returns whether this owner has the node of a special watch.
    pub(crate) fn owns_special_nodes(&self, owner: DomId) -> bool {
        let special = PERMANENT.iter().filter(|path| path.starts_with('@'));
        special.filter_map(|path| self.get(path)).any(|node| node.owner() == owner)
    }

    /// Returns the size of a node as the daemon counts it: the header, 8 bytes for each permission,
    /// the value and the names of the children.
    pub(crate) fn size_of(&self, node: &Node) -> usize {
        let perms = 8 * node.perms.entries().len();
        self.accounting.node_header + perms + node.value.len() + node.children.wire_len()
    }

    /// Returns the permissions of a node and of its parent, as far as these exist. The list is
    /// empty for the root.
    pub(crate) fn perms_around(&self, path: &str) -> Vec<NodePerms> {
        if path == "/" {
            return Vec::new();
        }
        let Some(parent) = self.get(parent_of(path)) else {
            return Vec::new();
        };
        let own = self.get(path).map(|node| node.perms.clone());
        std::iter::once(parent.perms.clone()).chain(own).collect()
    }

    /// Replaces this store with one that was made from it.
    pub(crate) fn replace_with(&mut self, other: Store) {
        let generation = self.generation.max(other.generation) + 1;
        let last_order = self.last_order.max(other.last_order);
        *self = Store { generation, last_order, ..other };
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub(crate) fn next_order(&mut self) -> u64 {
        self.last_order += 1;
        self.last_order
    }

    fn count(&mut self, node: &Node, sign: i64) {
        let bytes = sign * (self.size_of(node) + node.path.len()) as i64;
        self.total.nodes += sign;
        self.total.bytes += bytes;
        if node.path.starts_with(b"@") && !self.accounting.counts_special_nodes {
            return;
        }
        let usage = self.usage.entry(node.owner()).or_default();
        usage.nodes += sign;
        usage.bytes += bytes;
    }
}

impl Borrow<[u8]> for ByPath {
    fn borrow(&self) -> &[u8] {
        &self.0.path
    }
}

impl Hash for ByPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Must equal the hash of the path, which is the key of a lookup.
        self.0.path.as_slice().hash(state);
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPath {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_follows_each_change_of_a_node() {
        let accounting =
            Accounting { node_header: 24, counts_special_nodes: false, counts_root: true };
        let mut store = Store::new(accounting);
        let (dom0, guest) = (DomId::DOM0, DomId::new(5));
        assert_eq!(store.usage_of(dom0), Usage { nodes: 1, bytes: 1 + 24 + 8 });
        let node = Node::new("/a", NodePerms::owned_by(guest), 0);
        store.put(node.clone());
        store.put(Node { value: b"abc"[..].into(), ..node.clone() });
        assert_eq!(store.usage_of(guest), Usage { nodes: 1, bytes: 2 + 24 + 8 + 3 });
        store.put(Node { perms: NodePerms::owned_by(dom0), ..node });
        assert_eq!(store.usage_of(guest), Usage::default());
        store.remove("/a");
        store.remove("/a");
        assert_eq!(store.usage_of(dom0).nodes, 1);
    }
}
