//! The events of one watch that nobody has taken yet.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// A watch fired.
///
/// The watched node, or one below it, was written, created or removed, or its permissions were
/// changed. What it is now has to be read: the event does not say, and may come without a reason
/// (xenstore.txt, "Watches").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WatchEvent {
    /// What changed: the watched path, or one below it. Relative if it was watched so.
    pub path: Arc<str>,
    /// Why the event is here.
    pub kind: EventKind,
}

/// Why an event is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The daemon sent it. The first one of each watch comes as soon as the watch is set; a guest
    /// that sees another one like it was probably resumed.
    #[default]
    Fired,
    /// Too many events waited to be taken, and some were dropped: look at the watched node and all
    /// below it. The path is the watched one.
    Overflow,
    /// The connection was lost and made again, and events may have been missed: look at the
    /// watched node and all below it. The path is the watched one.
    Reconnected,
}

impl fmt::Display for WatchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Events in the order in which they came, bounded.
///
/// An event whose path waits already is dropped: who takes the one will look at the node later
/// than both. This never holds for the special paths (`@releaseDomain`), of which each event
/// counts, nor for the first event of a watch.
#[derive(Debug)]
pub(crate) struct Queue {
    events: VecDeque<Waiting>,
    /// The paths of the waiting events that others coalesce with.
    pending: HashSet<Arc<str>>,
    capacity: usize,
    /// The next event is the first one since the watch was set.
    first: bool,
    /// An overflow waits at the end: what comes now is covered by it.
    overflowed: bool,
    /// Likewise the notice of another connection.
    noticed: bool,
}

#[derive(Debug)]
struct Waiting {
    event: WatchEvent,
    /// Its path is in `pending`.
    coalesces: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Queue {
            events: VecDeque::new(),
            pending: HashSet::new(),
            capacity: capacity.max(1),
            first: true,
            overflowed: false,
            noticed: false,
        }
    }

    /// Takes in an event of the watch on `watched`. Returns whether there is something new.
    pub(crate) fn push(&mut self, path: &str, watched: &str) -> bool {
        let first = std::mem::replace(&mut self.first, false);
        let distinct = first || path.starts_with('@');
        if self.overflowed || !distinct && self.pending.contains(path) {
            return false;
        }
        if self.events.len() >= self.capacity {
            self.overflowed = true;
            self.push_notice(watched, EventKind::Overflow);
            return true;
        }
        let path: Arc<str> = path.into();
        if !distinct {
            self.pending.insert(path.clone());
        }
        let event = WatchEvent { path, kind: EventKind::Fired };
        self.events.push_back(Waiting { event, coalesces: !distinct });
        true
    }

    /// The watch has been set again on a new connection.
    pub(crate) fn reconnected(&mut self, watched: &str) {
        self.first = true;
        // Who takes the notice that waits will look later than now.
        if !std::mem::replace(&mut self.noticed, true) {
            self.push_notice(watched, EventKind::Reconnected);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<WatchEvent> {
        let Waiting { event, coalesces } = self.events.pop_front()?;
        if coalesces {
            self.pending.remove(&event.path);
        }
        match event.kind {
            EventKind::Overflow => self.overflowed = false,
            EventKind::Reconnected => self.noticed = false,
            EventKind::Fired => {}
        }
        Some(event)
    }

    /// Whether half of it is in use.
    pub(crate) fn is_crowded(&self) -> bool {
        self.events.len() > self.capacity / 2
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn push_notice(&mut self, watched: &str, kind: EventKind) {
        let event = WatchEvent { path: watched.into(), kind };
        self.events.push_back(Waiting { event, coalesces: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|event| event.path.to_string()).collect()
    }

    #[test]
    fn equal_paths_coalesce_but_not_with_the_first_event() {
        let mut queue = Queue::new(10);
        for path in ["a", "a", "a/b", "a", "a/b", "a/c"] {
            queue.push(path, "a");
        }
        assert_eq!(drain(&mut queue), ["a", "a", "a/b", "a/c"]);
        // Once taken, a path counts as new again.
        for path in ["a", "a/b"] {
            assert!(queue.push(path, "a"));
            assert!(!queue.push(path, "a"));
        }
        assert_eq!(drain(&mut queue), ["a", "a/b"]);
    }

    #[test]
    fn special_paths_never_coalesce() {
        let mut queue = Queue::new(10);
        for _ in 0..3 {
            queue.push("@releaseDomain", "@releaseDomain");
        }
        assert_eq!(drain(&mut queue).len(), 3);
    }

    #[test]
    fn an_overflow_is_reported_where_it_happened_and_holds_the_memory() {
        let mut queue = Queue::new(2);
        for at in 0..100 {
            queue.push(&format!("w/{at}"), "w");
        }
        let events: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(events.len(), 3);
        assert_eq!(&*events[1].path, "w/1");
        assert_eq!(events[2].kind, EventKind::Overflow);
        assert_eq!(events[2].to_string(), "w");
        // And it goes on afterwards.
        assert!(queue.push("w/5", "w"));
        assert_eq!(queue.pop().unwrap().kind, EventKind::Fired);
    }

    #[test]
    fn it_is_crowded_above_half_of_its_capacity() {
        let mut queue = Queue::new(4);
        for (path, is_crowded) in [("a", false), ("b", false), ("c", true), ("d", true)] {
            queue.push(path, "watched");
            assert_eq!(queue.is_crowded(), is_crowded, "{path}");
        }
        queue.pop();
        queue.pop();
        assert!(!queue.is_crowded());
    }

    #[test]
    fn connections_that_come_and_go_hold_the_memory() {
        let mut queue = Queue::new(4);
        for _ in 0..100 {
            queue.push("a", "a");
            queue.reconnected("a");
        }
        let kinds: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|event| event.kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Reconnected).count(), 1);
        assert!(kinds.len() <= 6, "{kinds:?}");
        queue.reconnected("a");
        assert_eq!(queue.pop().unwrap().kind, EventKind::Reconnected);
    }

    #[test]
    fn the_first_event_after_a_reconnect_counts_again() {
        let mut queue = Queue::new(10);
        queue.push("a", "a");
        queue.push("a", "a");
        queue.reconnected("a");
        queue.push("a", "a");
        let kinds: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|event| event.kind).collect();
        use EventKind::{Fired, Reconnected};
        assert_eq!(kinds, [Fired, Fired, Reconnected, Fired]);
    }
}
