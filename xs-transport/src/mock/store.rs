//! The tree of nodes, as a pure data structure.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use smallvec::SmallVec;
use xs_proto::{Access, DomId, Permission, Permissions};

use super::idmap::IdMap;

/// All nodes by their absolute path, and `@introduceDomain` and `@releaseDomain`, which have
/// permissions only.
///
/// A flat map: one look-up reaches any node, however deep. Nodes are shared with transactions
/// that have read them and copied when written, children and all in constant time.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    nodes: HashSet<ByPath>,
    used: IdMap<DomId, Used>,
    rules: Rules,
    /// Grows with each change of a node and each start of a transaction.
    generation: u64,
    /// Where the next child comes in its parent's list.
    next_order: u64,
}

/// What the nodes of one owner come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) nodes: i64,
    pub(super) bytes: i64,
}

/// How a daemon counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// The header that it keeps with each node, in bytes.
    pub(super) header: usize,
    /// Special paths count as nodes.
    pub(super) special: bool,
    /// The root does. If not, it still counts for one owner less and for another one more when
    /// it changes hands.
    pub(super) root: bool,
}

/// A node as the store finds it: equal to any other of the same path.
#[derive(Clone, Debug)]
struct ByPath(Arc<Node>);

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Stands here so that finding a node costs no look at anything else.
    pub(super) path: Path,
    pub(super) value: Value,
    pub(super) perms: NodePerms,
    /// That of the store when the node was last written.
    pub(super) generation: u64,
    /// The key in the parent's list of children.
    pub(super) order: u64,
    pub(super) children: Children,
}

pub(super) type Path = SmallVec<[u8; 40]>;

/// Most values are short: they cost no allocation of their own.
pub(super) type Value = SmallVec<[u8; 16]>;

/// The names of a node's children, in the order of their creation.
#[derive(Clone, Debug, Default)]
pub(super) struct Children {
    names: RedBlackTreeMapSync<u64, Box<str>>,
    /// The length of all names with their NULs.
    len: usize,
}

/// A node's permissions, and which entries are void because they were meant for an earlier
/// domain of the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodePerms(Arc<[Entry]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) permission: Permission,
    pub(super) void: bool,
}

impl Store {
    /// What the daemon starts with.
    pub(super) fn new(rules: Rules) -> Self {
        let mut store = Store { rules, ..Store::default() };
        let perms = NodePerms::owned_by(DomId::DOM0);
        for path in ["/", "@introduceDomain", "@releaseDomain"] {
            store.put(Node::new(path, perms.clone(), 0));
        }
        if !rules.root {
            store.used.entry(DomId::DOM0).or_default().nodes -= 1;
        }
        store
    }

    pub(super) fn get(&self, path: &str) -> Option<&Arc<Node>> {
        self.nodes.get(path.as_bytes()).map(|ByPath(node)| node)
    }

    /// How many nodes there are, the special ones included.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Replaces or creates a node. Its parent's list of children is the caller's business.
    pub(super) fn put(&mut self, node: impl Into<Arc<Node>>) {
        let node = node.into();
        self.count(&node, 1);
        if let Some(ByPath(old)) = self.nodes.replace(ByPath(node)) {
            self.count(&old, -1);
        }
    }

    /// Removes a node. Its parent's list of children is the caller's business.
    pub(super) fn remove(&mut self, path: &str) {
        if let Some(ByPath(old)) = self.nodes.take(path.as_bytes()) {
            self.count(&old, -1);
        }
    }

    /// What the nodes of this owner come to.
    pub(super) fn used_by(&self, owner: DomId) -> Used {
        self.used.get(&owner).copied().unwrap_or_default()
    }

    /// How large the daemon takes a node to be: the header, 8 bytes for each permission, the value
    /// and the names of the children.
    pub(super) fn size_of(&self, node: &Node) -> usize {
        let perms = 8 * node.perms.entries().len();
        self.rules.header + perms + node.value.len() + node.children.wire_len()
    }

    fn count(&mut self, node: &Node, sign: i64) {
        if node.path.starts_with(b"@") && !self.rules.special {
            return;
        }
        let bytes = self.size_of(node) + node.path.len();
        let used = self.used.entry(node.owner()).or_default();
        used.nodes += sign;
        used.bytes += sign * bytes as i64;
    }

    /// Becomes another store that was made from this one.
    pub(super) fn become_(&mut self, other: Store) {
        let generation = self.generation.max(other.generation) + 1;
        let next_order = self.next_order.max(other.next_order);
        *self = Store { generation, next_order, ..other };
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub(super) fn next_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }
}

impl Node {
    /// Without value and children.
    pub(super) fn new(path: &str, perms: NodePerms, order: u64) -> Self {
        let (value, children) = (Value::new(), Children::default());
        Node { path: path.as_bytes().into(), value, perms, generation: 0, order, children }
    }

    pub(super) fn owner(&self) -> DomId {
        self.perms.owner()
    }
}

impl Borrow<[u8]> for ByPath {
    fn borrow(&self) -> &[u8] {
        &self.0.path
    }
}

impl Hash for ByPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the path alone does, by which it is looked up.
        self.0.path.as_slice().hash(state);
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPath {}

impl Children {
    pub(super) fn add(&mut self, order: u64, name: &str) {
        self.names.insert_mut(order, name.into());
        self.len += name.len() + 1;
    }

    /// Says whether there was such a child.
    pub(super) fn remove(&mut self, order: u64) -> bool {
        let Some(name) = self.names.get(&order) else {
            return false;
        };
        self.len -= name.len() + 1;
        self.names.remove_mut(&order)
    }

    /// In the order of their creation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(|name| &**name)
    }

    /// The length of the list as it goes over the wire.
    pub(super) fn wire_len(&self) -> usize {
        self.len
    }
}

impl NodePerms {
    pub(super) fn owned_by(owner: DomId) -> Self {
        let permission = Permission::new(owner, Access::None);
        NodePerms(Arc::new([Entry { permission, void: false }]))
    }

    /// `None` if the list is empty.
    pub(super) fn from_entries(entries: Vec<Entry>) -> Option<Self> {
        if entries.is_empty() { None } else { Some(NodePerms(entries.into())) }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(super) fn owner(&self) -> DomId {
        self.0[0].permission.domid
    }

    /// The same with another owner.
    pub(super) fn with_owner(&self, owner: DomId) -> Self {
        if owner == self.owner() {
            return self.clone();
        }
        let mut entries = self.0.to_vec();
        entries[0].permission.domid = owner;
        NodePerms(entries.into())
    }

    /// The same with every entry void, the owner's aside, that `is_void` says so of.
    pub(super) fn voiding(&self, is_void: impl Fn(DomId) -> bool) -> Self {
        let due = |entry: &Entry| !entry.void && is_void(entry.permission.domid);
        if !self.0[1..].iter().any(due) {
            return self.clone();
        }
        let mut entries = self.0.to_vec();
        for entry in &mut entries[1..] {
            entry.void |= is_void(entry.permission.domid);
        }
        NodePerms(entries.into())
    }

    /// As they were set, void entries included.
    pub(super) fn to_permissions(&self) -> Permissions {
        let list = self.0.iter().map(|entry| entry.permission);
        Permissions::from_list(list).unwrap_or(Permissions::owned_by(DomId::DOM0, Access::None))
    }
}

/// The path one level up; the root of the root is the root, and special paths stand below it.
pub(super) fn parent_of(path: &str) -> &str {
    match path.get(1..).and_then(|rest| rest.rfind('/')) {
        Some(at) => &path[..at + 1],
        None => "/",
    }
}

/// The last component.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The path of a child.
pub(super) fn join(parent: &str, name: &str) -> String {
    let parent = if parent == "/" { "" } else { parent };
    format!("{parent}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_up_and_down() {
        assert_eq!(parent_of("/"), "/");
        assert_eq!(parent_of("/a"), "/");
        assert_eq!(parent_of("/a/b"), "/a");
        assert_eq!(parent_of("@releaseDomain"), "/");
        assert_eq!(parent_of("@releaseDomain/5"), "@releaseDomain");
        assert_eq!(name_of("/a/b"), "b");
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a", "b"), "/a/b");
    }

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
    fn what_an_owner_has_is_counted() {
        let mut store = Store::new(Rules { header: 24, special: false, root: true });
        let (dom0, guest) = (DomId::DOM0, DomId::new(5));
        assert_eq!(store.used_by(dom0), Used { nodes: 1, bytes: 1 + 24 + 8 });
        let node = Node::new("/a", NodePerms::owned_by(guest), 0);
        store.put(node.clone());
        store.put(Node { value: b"abc"[..].into(), ..node.clone() });
        assert_eq!(store.used_by(guest), Used { nodes: 1, bytes: 2 + 24 + 8 + 3 });
        store.put(Node { perms: NodePerms::owned_by(dom0), ..node });
        assert_eq!(store.used_by(guest), Used::default());
        store.remove("/a");
        store.remove("/a");
        assert_eq!(store.used_by(dom0).nodes, 1);
    }

    #[test]
    fn void_entries_are_kept_and_shown() {
        let entry = |text: &str| Entry { permission: text.parse().unwrap(), void: false };
        let perms = NodePerms::from_entries(vec![entry("n5"), entry("r6"), entry("b7")]).unwrap();
        let void = perms.voiding(|domid| domid == DomId::new(6));
        assert_eq!(void.to_permissions().to_string(), "n5 r6 b7");
        assert!(void.entries()[1].void && !void.entries()[2].void);
        assert_eq!(void.with_owner(DomId::new(9)).owner(), DomId::new(9));
        assert!(NodePerms::from_entries(Vec::new()).is_none());
    }
}
