//! The nodes that the view knows, and the rows that it shows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xs_client::Permissions;

use super::worker::Loaded;

/// The known nodes below the root.
#[derive(Debug)]
pub(super) struct Model {
    root: String,
    nodes: HashMap<String, Entry>,
    rows: Vec<Row>,
    filter: String,
    /// Whether `rows` have to be computed again.
    is_stale: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// The names of the children, in the order in which they are shown.
    pub(super) children: Vec<String>,
    pub(super) value: Result<Vec<u8>, String>,
    pub(super) perms: Option<Permissions>,
    /// Whether the children have been read, or are about to be.
    is_loaded: bool,
    is_open: bool,
    changed: Option<Instant>,
}

/// A line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) path: String,
    pub(super) depth: usize,
}

/// The time for which a node is marked after a change.
pub(super) const MARK_TIME: Duration = Duration::from_secs(5);

impl Model {
    pub(super) fn new(root: String) -> Self {
        Model {
            root,
            nodes: HashMap::new(),
            rows: Vec::new(),
            filter: String::new(),
            is_stale: true,
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Entry> {
        self.nodes.get(path)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn set_filter(&mut self, filter: &str) {
        self.filter = filter.to_ascii_lowercase();
        self.is_stale = true;
    }

    /// Adds a node, or replaces a known one.
    pub(super) fn insert(&mut self, loaded: Loaded) {
        let Loaded { path, mut children, value, perms } = loaded;
        children.sort_by_cached_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        let old = self.nodes.get(&path);
        let (is_loaded, is_open, changed) = match old {
            Some(old) => (old.is_loaded, old.is_open, old.changed),
            None => (false, path == self.root, None),
        };
        if old.is_none_or(|old| old.children != children) {
            self.is_stale = true;
        }
        self.is_stale |= !self.filter.is_empty();
        self.nodes.insert(path, Entry { children, value, perms, is_loaded, is_open, changed });
    }

    /// Removes a node that does not exist any more, and those below it.
    pub(super) fn remove(&mut self, path: &str) {
        let mut paths = vec![path.to_owned()];
        while let Some(path) = paths.pop() {
            if let Some(entry) = self.nodes.remove(&path) {
                paths.extend(entry.children.iter().map(|name| join(&path, name)));
            }
        }
        if let Some((parent, name)) = self.parent(path) {
            if let Some(entry) = self.nodes.get_mut(&parent) {
                entry.children.retain(|child| *child != name);
            }
        }
        self.is_stale = true;
    }

    /// Marks a node as changed. Returns whether it has to be read again, because it is known or its
    /// parent's children are.
    pub(super) fn mark(&mut self, path: &str, now: Instant) -> bool {
        if let Some(entry) = self.nodes.get_mut(path) {
            entry.changed = Some(now);
            return true;
        }
        self.parent(path)
            .is_some_and(|(parent, _)| self.nodes.get(&parent).is_some_and(|entry| entry.is_loaded))
    }

    /// Adds the name of a node to the children of its parent.
    pub(super) fn link(&mut self, path: &str, now: Instant) {
        let Some((parent, name)) = self.parent(path) else { return };
        let Some(entry) = self.nodes.get_mut(&parent) else { return };
        if !entry.children.contains(&name) {
            entry.children.push(name);
            self.is_stale = true;
        }
        if let Some(entry) = self.nodes.get_mut(path) {
            entry.changed = Some(now);
        }
    }

    pub(super) fn is_marked(&self, path: &str, now: Instant) -> bool {
        let changed = self.nodes.get(path).and_then(|entry| entry.changed);
        changed.is_some_and(|changed| now.duration_since(changed) < MARK_TIME)
    }

    /// Opens a node. Returns whether its children have to be read.
    pub(super) fn open(&mut self, path: &str) -> bool {
        let Some(entry) = self.nodes.get_mut(path) else { return false };
        entry.is_open = true;
        self.is_stale = true;
        !std::mem::replace(&mut entry.is_loaded, true)
    }

    /// Closes a node. Returns whether this has hidden its children: it was open and has some.
    pub(super) fn close(&mut self, path: &str) -> bool {
        let Some(entry) = self.nodes.get_mut(path) else { return false };
        let was_open = std::mem::replace(&mut entry.is_open, false);
        self.is_stale |= was_open;
        was_open && !entry.children.is_empty()
    }

    pub(super) fn is_open(&self, path: &str) -> bool {
        self.nodes.get(path).is_some_and(|entry| entry.is_open)
    }

    /// Returns the open nodes.
    pub(super) fn open_paths(&self) -> Vec<String> {
        let open = self.nodes.iter().filter(|(_, entry)| entry.is_open);
        open.map(|(path, _)| path.clone()).collect()
    }

    /// Returns the parent of a node and its name, unless it is the root of the view.
    pub(super) fn parent(&self, path: &str) -> Option<(String, String)> {
        if path == self.root {
            return None;
        }
        let (parent, name) = path.rsplit_once('/')?;
        let parent = if parent.is_empty() { "/" } else { parent };
        Some((parent.to_owned(), name.to_owned()))
    }

    /// Returns the rows. Without a filter, these are the open nodes and their children. With a
    /// filter, they are the nodes that match it, and their ancestors.
    pub(super) fn rows(&mut self) -> &[Row] {
        if self.is_stale {
            self.is_stale = false;
            let mut rows = Vec::new();
            match self.filter.is_empty() {
                true => self.add_open(&mut rows),
                false => self.add_matching(&mut rows),
            }
            self.rows = rows;
        }
        &self.rows
    }

    fn add_open(&self, rows: &mut Vec<Row>) {
        let mut next = vec![Row { path: self.root.clone(), depth: 0 }];
        while let Some(row) = next.pop() {
            let Some(entry) = self.nodes.get(&row.path) else { continue };
            if entry.is_open {
                let children = entry.children.iter().rev();
                let depth = row.depth + 1;
                next.extend(children.map(|name| Row { path: join(&row.path, name), depth }));
            }
            rows.push(row);
        }
    }

    /// Adds the nodes that match the filter, and their ancestors.
    fn add_matching(&self, rows: &mut Vec<Row>) {
        let mut search = Search {
            nodes: &self.nodes,
            filter: self.filter.as_bytes(),
            path: self.root.clone(),
            unmatched: Vec::new(),
            rows,
        };
        let is_in_root = contains(self.root.as_bytes(), search.filter);
        search.visit(is_in_root);
    }
}

/// The search for the nodes that match a filter. It takes most of the time between a key and the
/// next drawing, so it avoids an allocation per node.
struct Search<'a> {
    nodes: &'a HashMap<String, Entry>,
    /// In lower case.
    filter: &'a [u8],
    /// The path of the current node.
    path: String,
    /// The lengths of the paths of the nodes from the root to the current one that are not rows
    /// yet.
    unmatched: Vec<usize>,
    rows: &'a mut Vec<Row>,
}

impl Search<'_> {
    /// Visits the current node and its descendants. `is_in_path` says whether the path of the node,
    /// and therefore that of each descendant, contains the filter. The maximum length of paths
    /// bounds the recursion.
    fn visit(&mut self, is_in_path: bool) {
        let Some(entry) = self.nodes.get(&self.path) else { return };
        let length = self.path.len();
        self.unmatched.push(length);
        if is_in_path || entry.value.as_ref().is_ok_and(|value| contains(value, self.filter)) {
            self.add_rows();
        }
        for name in &entry.children {
            if self.path != "/" {
                self.path.push('/');
            }
            self.path.push_str(name);
            // The path of the parent does not contain the filter, so a match ends in the name.
            let start = length.saturating_sub(self.filter.len());
            self.visit(is_in_path || contains(&self.path.as_bytes()[start..], self.filter));
            self.path.truncate(length);
        }
        // It has not become a row if it is still there.
        if self.unmatched.last() == Some(&length) {
            self.unmatched.pop();
        }
    }

    /// Adds rows for the current node and for those of its ancestors that have none yet.
    fn add_rows(&mut self) {
        for length in self.unmatched.drain(..) {
            let path = self.path[..length].to_owned();
            // The first row is the root of the view.
            let depth = self.rows.first().map_or(0, |root| slashes(&path) - slashes(&root.path));
            self.rows.push(Row { path, depth });
        }
    }
}

/// Returns the depth of a node below `/`.
fn slashes(path: &str) -> usize {
    if path == "/" { 0 } else { path.matches('/').count() }
}

/// Returns whether `text` contains `wanted`, which is in lower case.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return true };
    text.iter().enumerate().any(|(at, byte)| {
        byte.to_ascii_lowercase() == *first
            && text[at + 1..].get(..rest.len()).is_some_and(|next| next.eq_ignore_ascii_case(rest))
    })
}

fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(path: &str, children: &[&str], value: &str) -> Loaded {
        let children = children.iter().map(|name| (*name).to_owned()).collect();
        Loaded { path: path.to_owned(), children, value: Ok(value.into()), perms: None }
    }

    fn model() -> Model {
        let mut model = Model::new("/".to_owned());
        model.insert(loaded("/", &["vm", "10", "9"], ""));
        for path in ["/10", "/9"] {
            model.insert(loaded(path, &[], "x"));
        }
        model.insert(loaded("/vm", &["a"], ""));
        model.insert(loaded("/vm/a", &[], "Needle"));
        model
    }

    fn paths(model: &mut Model) -> Vec<String> {
        model.rows().iter().map(|row| row.path.clone()).collect()
    }

    #[test]
    fn rows_are_the_open_nodes_in_natural_order() {
        let mut model = model();
        assert_eq!(paths(&mut model), ["/", "/9", "/10", "/vm"]);
        assert!(model.open("/vm"));
        assert!(!model.open("/vm"));
        assert_eq!(paths(&mut model), ["/", "/9", "/10", "/vm", "/vm/a"]);
        assert!(model.close("/vm"));
        assert_eq!(paths(&mut model), ["/", "/9", "/10", "/vm"]);
    }

    #[test]
    fn filter_keeps_matching_nodes_and_their_ancestors() {
        let mut model = model();
        model.set_filter("needle");
        assert_eq!(paths(&mut model), ["/", "/vm", "/vm/a"]);
        model.set_filter("VM/A");
        assert_eq!(paths(&mut model), ["/", "/vm", "/vm/a"]);
        model.set_filter("nothing");
        assert!(model.rows().is_empty());
    }

    #[test]
    fn changes_are_marked_for_some_time() {
        let mut model = model();
        let now = Instant::now();
        assert!(model.mark("/vm/a", now));
        assert!(model.is_marked("/vm/a", now) && !model.is_marked("/vm/a", now + MARK_TIME));
        // A new child matters only to an open node.
        assert!(!model.mark("/vm/new", now));
        model.open("/vm");
        assert!(model.mark("/vm/new", now));
        model.insert(loaded("/vm/new", &[], ""));
        model.link("/vm/new", now);
        assert_eq!(paths(&mut model).last().unwrap(), "/vm/new");
        model.remove("/vm");
        assert_eq!(paths(&mut model), ["/", "/9", "/10"]);
        assert!(model.get("/vm/a").is_none());
    }
}
