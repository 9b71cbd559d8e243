//! Who watches what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ConnId;
use super::store::parent_of;

/// All watches, by the path that they watch: firing costs what matches, not what there is.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_path: HashMap<Arc<str>, BTreeMap<Key, Watch>>,
    by_conn: HashMap<ConnId, BTreeMap<u64, Arc<str>>>,
    next: u64,
}

/// Events go out by connection, then by age of the watch.
type Key = (ConnId, u64);

#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) token: Arc<[u8]>,
    /// How much of an event's path is cut off because the watch is relative.
    pub(super) prefix: usize,
    /// How many levels below the path are watched; all if `None`.
    pub(super) depth: Option<u32>,
}

/// Which watches an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Those of the path itself.
    Exact,
    /// Those of the path and of all above it.
    Subtree,
    /// Those of the path itself without a depth: a special event without its domain.
    NoDepth,
    /// Those of the path itself, and those above it whose depth reaches: a special event with its
    /// domain.
    Depth,
}

/// A watch that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fired {
    key: Key,
    pub(super) token: Arc<[u8]>,
    pub(super) prefix: usize,
}

impl Fired {
    pub(super) fn conn(&self) -> ConnId {
        self.key.0
    }
}

impl Watches {
    /// Whether the connection has this watch already.
    pub(super) fn contains(&self, conn: ConnId, path: &str, token: &[u8]) -> bool {
        self.find(conn, path, token).is_some()
    }

    pub(super) fn add(&mut self, conn: ConnId, path: &str, watch: Watch) {
        let path: Arc<str> = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => path.into(),
        };
        self.next += 1;
        self.by_conn.entry(conn).or_default().insert(self.next, path.clone());
        self.by_path.entry(path).or_default().insert((conn, self.next), watch);
    }

    /// Whether there was such a watch.
    pub(super) fn remove(&mut self, conn: ConnId, path: &str, token: &[u8]) -> bool {
        let Some(age) = self.find(conn, path, token) else {
            return false;
        };
        if let Some(ages) = self.by_conn.get_mut(&conn) {
            ages.remove(&age);
        }
        self.unlink(path, (conn, age));
        true
    }

    /// Removes all watches of the connection and says how many there were, and their
    /// [size](size_of).
    pub(super) fn remove_all(&mut self, conn: ConnId) -> (usize, usize) {
        let bytes = self.of_conn(conn).map(|(path, token)| size_of(path, token)).sum();
        let ages = self.by_conn.remove(&conn).unwrap_or_default();
        for (age, path) in &ages {
            self.unlink(path, (conn, *age));
        }
        (ages.len(), bytes)
    }

    /// The connection's watches, by age.
    pub(super) fn of_conn(&self, conn: ConnId) -> impl Iterator<Item = (&str, &[u8])> {
        self.by_conn.get(&conn).into_iter().flatten().filter_map(move |(age, path)| {
            let watch = self.by_path.get(path)?.get(&(conn, *age))?;
            Some((&**path, &*watch.token))
        })
    }

    /// The watches that fire when something happens to `path`, in the order of their events.
    pub(super) fn matching(&self, path: &str, matching: Match, root_takes_all: bool) -> Vec<Fired> {
        let mut fired = Vec::new();
        if self.by_path.is_empty() {
            return fired;
        }
        let mut collect = |at: &str, is_due: &dyn Fn(&Watch) -> bool| {
            for (key, watch) in self.by_path.get(at).into_iter().flatten() {
                if is_due(watch) {
                    fired.push(Fired {
                        key: *key,
                        token: watch.token.clone(),
                        prefix: watch.prefix,
                    });
                }
            }
        };
        match matching {
            Match::Exact => collect(path, &|_| true),
            Match::NoDepth => collect(path, &|watch| watch.depth.is_none()),
            Match::Subtree | Match::Depth => {
                collect(path, &|_| true);
                let (mut at, mut levels) = (path, 0);
                while at != "/" {
                    (at, levels) = (parent_of(at), levels + 1);
                    if at == "/" && path.starts_with('@') && !root_takes_all {
                        break;
                    }
                    collect(at, &|watch| match watch.depth {
                        Some(depth) => depth >= levels,
                        None => matching == Match::Subtree,
                    });
                }
            }
        }
        fired.sort_unstable_by_key(|fired| fired.key);
        fired
    }

    /// The watches of paths below `path`, with the paths.
    pub(super) fn below(&self, path: &str) -> Vec<(Arc<str>, Fired)> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let mut fired = Vec::new();
        for (at, watches) in &self.by_path {
            if at.len() > prefix.len() && at.starts_with(&prefix) {
                fired.extend(watches.iter().map(|(key, watch)| {
                    let (token, prefix) = (watch.token.clone(), watch.prefix);
                    (at.clone(), Fired { key: *key, token, prefix })
                }));
            }
        }
        fired.sort_unstable_by_key(|(_, fired)| fired.key);
        fired
    }

    fn find(&self, conn: ConnId, path: &str, token: &[u8]) -> Option<u64> {
        let watches = self.by_path.get(path)?;
        let mut own = watches.range((conn, 0)..=(conn, u64::MAX));
        own.find(|(_, watch)| *watch.token == *token).map(|((_, age), _)| *age)
    }

    fn unlink(&mut self, path: &str, key: Key) {
        if let Some(watches) = self.by_path.get_mut(path) {
            watches.remove(&key);
            if watches.is_empty() {
                self.by_path.remove(path);
            }
        }
    }
}

/// What the daemon takes a watch to need.
pub(super) fn size_of(path: &str, token: &[u8]) -> usize {
    path.len() + token.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(token: &str, depth: Option<u32>) -> Watch {
        Watch { token: token.as_bytes().into(), prefix: 0, depth }
    }

    fn tokens(watches: &Watches, path: &str, matching: Match) -> Vec<String> {
        let fired = watches.matching(path, matching, true);
        fired.iter().map(|fired| String::from_utf8_lossy(&fired.token).into_owned()).collect()
    }

    #[test]
    fn fire_by_connection_then_by_age() {
        let (first, second) = (ConnId(1), ConnId(2));
        let mut watches = Watches::default();
        watches.add(second, "/", watch("2-root", None));
        watches.add(second, "/a", watch("2-a", None));
        watches.add(first, "/a/b", watch("1-a-b", None));
        watches.add(first, "/", watch("1-root", None));
        assert_eq!(tokens(&watches, "/a/b", Match::Subtree), ["1-a-b", "1-root", "2-root", "2-a"]);
        assert_eq!(tokens(&watches, "/a", Match::Exact), ["2-a"]);
        assert_eq!(tokens(&watches, "/ab", Match::Subtree), ["1-root", "2-root"]);
        assert_eq!(watches.remove_all(first), (2, "/a/b1-a-b/1-root".len()));
        assert!(!watches.remove(second, "/a", b"other"));
        assert!(watches.remove(second, "/a", b"2-a"));
        assert_eq!(tokens(&watches, "/a/b", Match::Subtree), ["2-root"]);
        assert!(watches.of_conn(second).eq([("/", b"2-root".as_slice())]));
    }

    #[test]
    fn depth_says_how_far_down() {
        let conn = ConnId(1);
        let mut watches = Watches::default();
        watches.add(conn, "/a", watch("0", Some(0)));
        watches.add(conn, "/a", watch("1", Some(1)));
        watches.add(conn, "/", watch("root", Some(1)));
        assert_eq!(tokens(&watches, "/a", Match::Subtree), ["0", "1", "root"]);
        assert_eq!(tokens(&watches, "/a/b", Match::Subtree), ["1"]);
        assert_eq!(tokens(&watches, "/a/b/c", Match::Subtree), [""; 0]);
    }

    #[test]
    fn special_events_with_and_without_their_domain() {
        let conn = ConnId(1);
        let mut watches = Watches::default();
        watches.add(conn, "@releaseDomain", watch("any", None));
        watches.add(conn, "@releaseDomain", watch("each", Some(1)));
        watches.add(conn, "@releaseDomain/5", watch("five", None));
        assert_eq!(tokens(&watches, "@releaseDomain", Match::NoDepth), ["any"]);
        assert_eq!(tokens(&watches, "@releaseDomain/5", Match::Depth), ["each", "five"]);
        assert_eq!(tokens(&watches, "@releaseDomain/6", Match::Depth), ["each"]);
    }
}
