//! The watches of all connections.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::conn::ConnId;
use crate::mock::flavour::behaviour::EventOrder;
use crate::mock::store::path::parent_of;
use crate::mock::store::scope::Scope;

/// All watches by the path that they watch. The cost of a change is proportional to the number of
/// matching watches.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_path: HashMap<Arc<str>, BTreeMap<Key, Watch>>,
    by_conn: HashMap<ConnId, BTreeMap<u64, Arc<str>>>,
    last: u64,
}

/// Events are ordered by connection, then by age of the watch.
type Key = (ConnId, u64);

/// A watch on a node and its descendants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) token: Arc<[u8]>,
    /// The length of the prefix that is removed from an event's path. Not 0 for a watch on a
    /// relative path.
    pub(crate) prefix: usize,
    /// The number of levels below the path that are watched, or `None` for all.
    pub(crate) depth: Option<u32>,
}

/// A watch that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fired {
    key: Key,
    pub(super) token: Arc<[u8]>,
    pub(super) prefix: usize,
}

/// An event that has fired and waits for its delivery.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) conn: ConnId,
    pub(super) path: String,
    pub(super) token: Arc<[u8]>,
}

impl Fired {
    fn new(key: Key, watch: &Watch) -> Self {
        Fired { key, token: watch.token.clone(), prefix: watch.prefix }
    }

    pub(super) fn conn(&self) -> ConnId {
        self.key.0
    }
}

impl Watches {
    /// Returns whether the connection has this watch.
    pub(crate) fn contains(&self, conn: ConnId, path: &str, token: &[u8]) -> bool {
        self.find(conn, path, token).is_some()
    }

    pub(crate) fn add(&mut self, conn: ConnId, path: &str, watch: Watch) {
        let path: Arc<str> = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => path.into(),
        };
        self.last += 1;
        self.by_conn.entry(conn).or_default().insert(self.last, path.clone());
        self.by_path.entry(path).or_default().insert((conn, self.last), watch);
    }

    /// Removes a watch. Returns whether it existed.
    pub(crate) fn remove(&mut self, conn: ConnId, path: &str, token: &[u8]) -> bool {
        let Some(age) = self.find(conn, path, token) else {
            return false;
        };
        if let Some(ages) = self.by_conn.get_mut(&conn) {
            ages.remove(&age);
        }
        self.unlink(path, (conn, age));
        true
    }

    /// Removes all watches of a connection. Returns their number and their [size](size_of).
    pub(super) fn remove_all(&mut self, conn: ConnId) -> (usize, usize) {
        let bytes = self.of_conn(conn).map(|(path, token)| size_of(path, token)).sum();
        let ages = self.by_conn.remove(&conn).unwrap_or_default();
        for (age, path) in &ages {
            self.unlink(path, (conn, *age));
        }
        (ages.len(), bytes)
    }

    /// Iterates over the path and the token of each watch of a connection, oldest first.
    pub(crate) fn of_conn(&self, conn: ConnId) -> impl Iterator<Item = (&str, &[u8])> {
        self.by_conn.get(&conn).into_iter().flatten().filter_map(move |(age, path)| {
            let watch = self.by_path.get(path)?.get(&(conn, *age))?;
            Some((&**path, &*watch.token))
        })
    }

    /// Returns the path and a copy of each watch of a connection, oldest first.
    #[cfg(all(target_os = "linux", feature = "xen"))]
    pub(crate) fn saved(&self, conn: ConnId) -> Vec<(String, Watch)> {
        let all = self.by_conn.get(&conn).into_iter().flatten();
        let watches = all.filter_map(|(age, path)| {
            Some((path.to_string(), self.by_path.get(path)?.get(&(conn, *age))?.clone()))
        });
        watches.collect()
    }

    /// Returns the watches that a change fires, in the order of their events.
    pub(super) fn matching(&self, path: &str, scope: Scope, order: EventOrder) -> Vec<Fired> {
        let mut fired = Vec::new();
        if self.by_path.is_empty() {
            return fired;
        }
        let mut collect = |at: &str, fires: &dyn Fn(&Watch) -> bool| {
            let watches = self.by_path.get(at).into_iter().flatten();
            let firing = watches.filter(|(_, watch)| fires(watch));
            fired.extend(firing.map(|(key, watch)| Fired::new(*key, watch)));
        };
        match scope {
            Scope::Exact => collect(path, &|_| true),
            Scope::Special => collect(path, &|watch| watch.depth.is_none()),
            Scope::Subtree | Scope::SpecialOfDomain => {
                collect(path, &|_| true);
                let (mut at, mut levels) = (path, 0);
                while at != "/" {
                    (at, levels) = (parent_of(at), levels + 1);
                    if at == "/" && scope == Scope::SpecialOfDomain {
                        break;
                    }
                    collect(at, &|watch| match watch.depth {
                        Some(depth) => depth >= levels,
                        None => scope == Scope::Subtree,
                    });
                }
            }
        }
        match order {
            EventOrder::OldestFirst => fired.sort_unstable_by_key(|fired| fired.key),
            // They were collected from the bottom up, on each path from the oldest to the newest.
            EventOrder::TopDown => fired.reverse(),
        }
        fired
    }

    /// Returns the watches on paths below `path`, each with its path.
    pub(super) fn below(&self, path: &str, order: EventOrder) -> Vec<(Arc<str>, Fired)> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let mut fired = Vec::new();
        for (at, watches) in &self.by_path {
            if at.len() > prefix.len() && at.starts_with(&prefix) {
                let of_path = |(key, watch): (&Key, _)| (at.clone(), Fired::new(*key, watch));
                fired.extend(watches.iter().map(of_path));
            }
        }
        fired.sort_unstable_by(|(path, fired), (other_path, other)| match order {
            EventOrder::OldestFirst => fired.key.cmp(&other.key),
            EventOrder::TopDown => {
                let by_path = path.split('/').cmp(other_path.split('/'));
                by_path.then(other.key.cmp(&fired.key))
            }
        });
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

/// Returns the size of a watch as the daemon counts it.
pub(crate) fn size_of(path: &str, token: &[u8]) -> usize {
    path.len() + token.len()
}

/// Returns about how many bytes of memory watches take up. `bytes` is their [size](size_of).
pub(crate) fn footprint_of(watches: usize, bytes: usize) -> i64 {
    /// The entries in both maps.
    const EACH: usize = 256;
    (watches * EACH + bytes) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(token: &str, depth: Option<u32>) -> Watch {
        Watch { token: token.as_bytes().into(), prefix: 0, depth }
    }

    fn tokens(watches: &Watches, path: &str, scope: Scope) -> Vec<String> {
        let fired = watches.matching(path, scope, EventOrder::OldestFirst);
        fired.iter().map(|fired| String::from_utf8_lossy(&fired.token).into_owned()).collect()
    }

    #[test]
    fn watches_fire_by_connection_then_by_age() {
        let (first, second) = (ConnId(1), ConnId(2));
        let mut watches = Watches::default();
        watches.add(second, "/", watch("2-root", None));
        watches.add(second, "/a", watch("2-a", None));
        watches.add(first, "/a/b", watch("1-a-b", None));
        watches.add(first, "/", watch("1-root", None));
        assert_eq!(tokens(&watches, "/a/b", Scope::Subtree), ["1-a-b", "1-root", "2-root", "2-a"]);
        assert_eq!(tokens(&watches, "/a", Scope::Exact), ["2-a"]);
        assert_eq!(tokens(&watches, "/ab", Scope::Subtree), ["1-root", "2-root"]);
        assert_eq!(watches.remove_all(first), (2, "/a/b1-a-b/1-root".len()));
        assert!(!watches.remove(second, "/a", b"other"));
        assert!(watches.remove(second, "/a", b"2-a"));
        assert_eq!(tokens(&watches, "/a/b", Scope::Subtree), ["2-root"]);
        assert!(watches.of_conn(second).eq([("/", b"2-root".as_slice())]));
    }

    #[test]
    fn depth_limits_the_watched_levels() {
        let conn = ConnId(1);
        let mut watches = Watches::default();
        watches.add(conn, "/a", watch("0", Some(0)));
        watches.add(conn, "/a", watch("1", Some(1)));
        watches.add(conn, "/", watch("root", Some(1)));
        assert_eq!(tokens(&watches, "/a", Scope::Subtree), ["0", "1", "root"]);
        assert_eq!(tokens(&watches, "/a/b", Scope::Subtree), ["1"]);
        assert_eq!(tokens(&watches, "/a/b/c", Scope::Subtree), [""; 0]);
    }

    #[test]
    fn special_events_fire_with_and_without_domain() {
        let conn = ConnId(1);
        let mut watches = Watches::default();
        watches.add(conn, "@releaseDomain", watch("any", None));
        watches.add(conn, "@releaseDomain", watch("each", Some(1)));
        watches.add(conn, "@releaseDomain/5", watch("five", None));
        assert_eq!(tokens(&watches, "@releaseDomain", Scope::Special), ["any"]);
        assert_eq!(tokens(&watches, "@releaseDomain/5", Scope::SpecialOfDomain), ["each", "five"]);
        assert_eq!(tokens(&watches, "@releaseDomain/6", Scope::SpecialOfDomain), ["each"]);
    }
}
