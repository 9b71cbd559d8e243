//! The events of one watch that wait to be taken.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::token::WatchToken;

/// A change that a watch reports.
///
/// The watched node or one of its descendants was written, created or removed, or its permissions
/// changed. The event does not carry the new value: read the node. Watches may also fire without a
/// change (xenstore.txt, "Watches").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WatchEvent {
    /// The path of the changed node: the watched path or one below it, relative if the watched path
    /// is relative.
    pub path: Arc<str>,
    /// The reason for the event.
    pub kind: EventKind,
    /// The token of the watch.
    pub token: WatchToken,
    /// The watched path, as the caller gave it.
    pub watched: Arc<str>,
}

/// The reason for a [`WatchEvent`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The daemon reported a change. The first event of each watch comes as soon as the watch is
    /// set. If a guest sees that event again, it was probably resumed.
    #[default]
    Fired,
    /// Too many events waited to be taken, and some were dropped: examine the watched node and its
    /// descendants. The path is the watched path.
    Overflow,
    /// The connection was lost and replaced, and events may have been missed: examine the watched
    /// node and its descendants. The path is the watched path.
    Reconnected,
}

impl fmt::Display for WatchEvent {
    /// Writes the path. Control characters, which only a faulty daemon sends, are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.escape_debug().fmt(f)
    }
}

/// A bounded queue of events in the order in which they arrived.
///
/// An event is dropped if another one with its path is already in the queue: the caller that takes
/// that one will read the node after both changes. This does not apply to special paths
/// (`@releaseDomain`), where each event counts, nor to the first event of a watch.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The token of the watch.
    token: WatchToken,
    watched: Arc<str>,
    events: VecDeque<Entry>,
    /// The paths of the entries that later events coalesce with.
    pending: HashSet<Arc<str>>,
    capacity: usize,
    /// The next event is the first since the watch was set.
    first: bool,
    /// The last entry is an overflow, which covers all events until it is taken.
    overflowed: bool,
    /// An entry reports a new connection.
    reconnect_queued: bool,
}

#[derive(Debug)]
struct Entry {
    path: Arc<str>,
    kind: EventKind,
    /// The path is in `pending`.
    coalesces: bool,
}

impl Queue {
    pub(crate) fn new(token: WatchToken, watched: Arc<str>, capacity: usize) -> Self {
        Queue {
            token,
            watched,
            events: VecDeque::new(),
            pending: HashSet::new(),
            capacity: capacity.max(1),
            first: true,
            overflowed: false,
            reconnect_queued: false,
        }
    }

    /// Appends an event, or drops it and returns false if a queued event covers it.
    pub(crate) fn push(&mut self, path: &str) -> bool {
        let first = std::mem::replace(&mut self.first, false);
        let distinct = first || path.starts_with('@');
        if self.overflowed || !distinct && self.pending.contains(path) {
            return false;
        }
        if self.events.len() >= self.capacity {
            self.overflowed = true;
            self.push_notice(EventKind::Overflow);
            return true;
        }
        let path: Arc<str> = path.into();
        if !distinct {
            self.pending.insert(path.clone());
        }
        let kind = EventKind::Fired;
        self.events.push_back(Entry { path, kind, coalesces: !distinct });
        true
    }

    /// Appends the event that the watch was set again on a new connection.
    pub(crate) fn reconnected(&mut self) {
        self.first = true;
        // A queued notice covers this one.
        if !std::mem::replace(&mut self.reconnect_queued, true) {
            self.push_notice(EventKind::Reconnected);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<WatchEvent> {
        let Entry { path, kind, coalesces } = self.events.pop_front()?;
        if coalesces {
            self.pending.remove(&path);
        }
        match kind {
            EventKind::Overflow => self.overflowed = false,
            EventKind::Reconnected => self.reconnect_queued = false,
            EventKind::Fired => {}
        }
        Some(WatchEvent { path, kind, token: self.token, watched: self.watched.clone() })
    }

    /// Returns whether more than half of the capacity is in use.
    pub(crate) fn is_crowded(&self) -> bool {
        self.events.len() > self.capacity / 2
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn push_notice(&mut self, kind: EventKind) {
        self.events.push_back(Entry { path: self.watched.clone(), kind, coalesces: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(watched: &str, capacity: usize) -> Queue {
        Queue::new(WatchToken::new(), watched.into(), capacity)
    }

    #[test]
    fn text_of_an_event_has_no_control_characters() {
        let text = |path: &str| {
            let mut queue = queue("/", 1);
            queue.push(path);
            queue.pop().unwrap().to_string()
        };
        assert_eq!(text("/a-b_c@/D"), "/a-b_c@/D");
        assert_eq!(text("/a\u{1b}[2J\n\u{9b}"), r"/a\u{1b}[2J\n\u{9b}");
    }

    fn drain(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|event| event.path.to_string()).collect()
    }

    #[test]
    fn equal_paths_coalesce_but_not_with_the_first_event() {
        let mut queue = queue("a", 10);
        for path in ["a", "a", "a/b", "a", "a/b", "a/c"] {
            queue.push(path);
        }
        assert_eq!(drain(&mut queue), ["a", "a", "a/b", "a/c"]);
        // A path that was taken no longer coalesces.
        for path in ["a", "a/b"] {
            assert!(queue.push(path));
            assert!(!queue.push(path));
        }
        assert_eq!(drain(&mut queue), ["a", "a/b"]);
    }

    #[test]
    fn special_paths_never_coalesce() {
        let mut queue = queue("a", 10);
        for _ in 0..3 {
            queue.push("@releaseDomain");
        }
        assert_eq!(drain(&mut queue).len(), 3);
    }

    #[test]
    fn overflow_is_reported_in_order_and_bounds_memory() {
        let mut queue = queue("w", 2);
        for at in 0..100 {
            queue.push(&format!("w/{at}"));
        }
        let events: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(events.len(), 3);
        assert_eq!(&*events[1].path, "w/1");
        assert_eq!(events[2].kind, EventKind::Overflow);
        assert_eq!(events[2].to_string(), "w");
        // Later events are queued again.
        assert!(queue.push("w/5"));
        assert_eq!(queue.pop().unwrap().kind, EventKind::Fired);
    }

    #[test]
    fn queue_is_crowded_above_half_of_its_capacity() {
        let mut queue = queue("a", 4);
        for (path, is_crowded) in [("a", false), ("b", false), ("c", true), ("d", true)] {
            queue.push(path);
            assert_eq!(queue.is_crowded(), is_crowded, "{path}");
        }
        queue.pop();
        queue.pop();
        assert!(!queue.is_crowded());
    }

    #[test]
    fn repeated_reconnects_do_not_grow_the_queue() {
        let mut queue = queue("a", 4);
        for _ in 0..100 {
            queue.push("a");
            queue.reconnected();
        }
        let kinds: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|event| event.kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Reconnected).count(), 1);
        assert!(kinds.len() <= 6, "{kinds:?}");
        queue.reconnected();
        assert_eq!(queue.pop().unwrap().kind, EventKind::Reconnected);
    }

    #[test]
    fn first_event_after_reconnect_never_coalesces() {
        let mut queue = queue("a", 10);
        queue.push("a");
        queue.push("a");
        queue.reconnected();
        queue.push("a");
        let kinds: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|event| event.kind).collect();
        use EventKind::{Fired, Reconnected};
        assert_eq!(kinds, [Fired, Fired, Reconnected, Fired]);
    }
}
