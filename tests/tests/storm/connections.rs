//! Counts the connections of the client, and the events by which each watcher learns of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use xs_client::{EventKind, WatchEvent};

use super::oracle::Oracle;

/// The connections of the client, and the events that report them.
///
/// When a connection is replaced, every watch has an event of the kind `Reconnected` for its owner.
/// Events that were not taken coalesce, so the owner need not see one for each connection. It must
/// see one after the last connection was made.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    made: AtomicU64,
    told: Mutex<HashMap<&'static str, Told>>,
    changed: Condvar,
}

/// The events of one watcher that report a connection.
#[derive(Debug)]
struct Told {
    /// The number of connections when the watch was set.
    first: u64,
    /// The number of connections when the last event came that reported one.
    last: u64,
    events: u64,
}

/// The time within which a watcher must receive the event of a connection that is left alone.
const PATIENCE: Duration = Duration::from_secs(60);

impl Connections {
    /// A connection is made.
    pub(crate) fn add(&self) {
        self.made.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<&'static str, Told>> {
        self.told.lock().unwrap()
    }

    /// A watcher is about to set its watch.
    pub(crate) fn add_watcher(&self, watcher: &'static str) {
        let made = self.made();
        self.told().insert(watcher, Told { first: made, last: made, events: 0 });
    }

    /// A watcher has an event.
    pub(crate) fn saw(&self, oracle: &Oracle, watcher: &'static str, event: &WatchEvent) {
        if event.kind != EventKind::Reconnected {
            return;
        }
        let mut told = self.told();
        let told = told.get_mut(watcher).expect("each watcher is added before it watches");
        told.last = self.made();
        told.events += 1;
        let most = told.last - told.first;
        if told.events > most {
            oracle.violated(format!("{watcher}: {} of {most} reconnections", told.events));
        }
        self.changed.notify_all();
    }

    /// Checks that all watchers are told of the last connection.
    pub(crate) fn check(&self, oracle: &Oracle) {
        let deadline = Instant::now() + PATIENCE;
        let mut told = self.told();
        loop {
            let made = self.made();
            let late: Vec<_> = told.iter().filter(|(_, told)| told.last < made).collect();
            if late.is_empty() || oracle.has_failed.load(Ordering::SeqCst) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                oracle.violated(format!("no event reports connection {made} to {late:?}"));
                return;
            }
            told = self.changed.wait_timeout(told, left.min(Duration::from_secs(1))).unwrap().0;
        }
    }
}
