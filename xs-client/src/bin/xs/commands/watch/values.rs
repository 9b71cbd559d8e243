//! The values of watched nodes, so that a change can be printed with the old value.

use std::collections::BTreeMap;
use std::ops::Bound;

use xs_client::{Client, EventKind, Result, WatchEvent};

use crate::subtree;

/// The last known values of all watched nodes.
pub(super) struct Values<'a> {
    client: &'a Client,
    depth: Option<u32>,
    /// The watched paths whose nodes have been read.
    read: Vec<String>,
    /// The watched paths whose first event on a new connection is still to come.
    set_again: Vec<String>,
    nodes: BTreeMap<String, Vec<u8>>,
}

/// An event, with the values before and after it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) watched: String,
    /// `None` if values are not wanted. `Some(None)` if the node does not exist.
    pub(super) old: Option<Option<Vec<u8>>>,
    pub(super) new: Option<Option<Vec<u8>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The watch has been set.
    Start,
    Change,
    Overflow,
    Reconnected,
}

/// The number of values that are remembered. The old values of further nodes are not known.
const MAX_NODES: usize = 1 << 20;

impl<'a> Values<'a> {
    pub(super) fn new(client: &'a Client, depth: Option<u32>) -> Self {
        Values { client, depth, read: Vec::new(), set_again: Vec::new(), nodes: BTreeMap::new() }
    }

    /// Reads the values that an event may have changed. Returns the change that it reports, and any
    /// changes that were missed while events were lost.
    pub(super) fn update(&mut self, event: &WatchEvent) -> Result<Vec<Change>> {
        let (path, watched) = (&*event.path, &*event.watched);
        if path.starts_with('@') {
            return Ok(vec![Change::without_values(event)]);
        }
        let is_first = !self.read.iter().any(|read| read == watched);
        if !is_first && event.kind == EventKind::Fired {
            let new = self.read(path)?;
            let old = self.replace(path, new.clone());
            if path == watched && old == new && self.takes_first(watched) {
                return Ok(Vec::new());
            }
            let change = Change { old: Some(old), new: Some(new), ..Change::without_values(event) };
            return Ok(vec![change]);
        }
        let after = self.read_all(watched)?;
        let before = self.take_below(watched);
        if event.kind == EventKind::Reconnected {
            self.set_again.push(watched.to_owned());
        }
        let mut start = Change::without_values(event);
        if is_first {
            self.read.push(watched.to_owned());
            start.kind = Kind::Start;
        }
        start.new = Some(after.get(path).cloned());
        let mut changes = vec![start];
        if !is_first {
            changes.extend(missed(event, &before, &after));
        }
        self.nodes.extend(after);
        Ok(changes)
    }

    /// Returns whether an event is the first one of a watch that was set again, which reports no
    /// change.
    fn takes_first(&mut self, watched: &str) -> bool {
        let at = self.set_again.iter().position(|set| set == watched);
        at.map(|at| self.set_again.swap_remove(at)).is_some()
    }

    /// Reads the values of a subtree, as far as they can be read.
    fn read_all(&self, watched: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let depth = self.depth.map_or(usize::MAX, |depth| depth as usize);
        let mut values = BTreeMap::new();
        for node in self.client.walk(watched).with_values().max_depth(depth).take(MAX_NODES) {
            match node.value {
                Some(Ok(value)) => drop(values.insert(node.path, value)),
                Some(Err(error)) if error.code().is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(values)
    }

    /// Reads a value. A node that cannot be read counts as one that does not exist.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.client.read_opt(path) {
            Err(error) if error.code().is_none() => Err(error),
            result => Ok(result.unwrap_or_default()),
        }
    }

    /// Remembers a value, and returns the old one. Without a value, forgets the node and its
    /// descendants.
    fn replace(&mut self, path: &str, new: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match new {
            Some(new) if self.nodes.len() < MAX_NODES || self.nodes.contains_key(path) => {
                self.nodes.insert(path.to_owned(), new)
            }
            Some(_) => None,
            None => self.take_below(path).remove(path),
        }
    }

    /// Forgets a node and its descendants, and returns them.
    fn take_below(&mut self, path: &str) -> BTreeMap<String, Vec<u8>> {
        let from = (Bound::Included(path.to_owned()), Bound::Unbounded);
        let after = self.nodes.range(from).map(|(path, _)| path.clone());
        // Siblings such as a-b sort between a and a/b.
        let prefix = path.to_owned();
        let paths: Vec<_> = after
            .take_while(|other| other.starts_with(&prefix))
            .filter(|other| subtree::below(other, path).is_some())
            .collect();
        let take = |path: String| self.nodes.remove_entry(&path);
        paths.into_iter().filter_map(take).collect()
    }
}

/// Returns the changes that were missed while events were lost.
fn missed<'a>(
    event: &'a WatchEvent,
    before: &'a BTreeMap<String, Vec<u8>>,
    after: &'a BTreeMap<String, Vec<u8>>,
) -> impl Iterator<Item = Change> + 'a {
    let removed = before.keys().filter(|path| !after.contains_key(*path));
    let paths = after.keys().chain(removed);
    paths.filter(|path| before.get(*path) != after.get(*path)).map(|path| Change {
        kind: Kind::Change,
        path: path.clone(),
        watched: event.watched.to_string(),
        old: Some(before.get(path).cloned()),
        new: Some(after.get(path).cloned()),
    })
}

impl Change {
    pub(super) fn without_values(event: &WatchEvent) -> Self {
        let kind = match event.kind {
            EventKind::Overflow => Kind::Overflow,
            EventKind::Reconnected => Kind::Reconnected,
            _ => Kind::Change,
        };
        let (path, watched) = (event.path.to_string(), event.watched.to_string());
        Change { kind, path, watched, old: None, new: None }
    }

    /// Returns whether this is not a change of a node.
    pub(super) fn is_start(&self) -> bool {
        self.kind != Kind::Change
    }
}
