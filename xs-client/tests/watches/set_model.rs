//! A set of watches against a model, under random operations.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xs_client::{EventKind, WatchEvent, WatchSet, WatchToken};

use crate::support::daemon::{finish_cleanup, start};

/// The nodes that the operations use. Each exists from the start.
const NODES: [&str; 5] = ["/m", "/m/a", "/m/a/x", "/m/b", "/n"];

/// The capacity of each watch.
const CAPACITY: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    /// Removes one of the watches, or nothing if there is none.
    Remove(usize),
    Write(usize),
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..NODES.len()).prop_map(Step::Add),
        1 => any::<usize>().prop_map(Step::Remove),
        5 => (0..NODES.len()).prop_map(Step::Write),
        5 => Just(Step::Take),
    ]
}

/// The expected state of a set: the queue of each watch, and how the watches take turns.
#[derive(Default)]
struct Model {
    watches: BTreeMap<WatchToken, Expected>,
}

#[derive(Debug)]
struct Expected {
    watched: &'static str,
    /// The events that wait to be taken.
    queue: Vec<(EventKind, &'static str)>,
    /// The watches that were served since this one got its turn.
    served: Vec<WatchToken>,
    /// The first event has been taken, and later ones coalesce.
    is_first_queued: bool,
}

impl Model {
    fn add(&mut self, token: WatchToken, watched: &'static str) {
        let queue = vec![(EventKind::Fired, watched)];
        let watch = Expected { watched, queue, served: Vec::new(), is_first_queued: true };
        self.watches.insert(token, watch);
    }

    fn write(&mut self, node: &'static str) {
        for watch in self.watches.values_mut() {
            let below = node.strip_prefix(watch.watched);
            if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                watch.fire(node);
            }
        }
    }

    /// The set has returned this event, or none.
    fn take(&mut self, event: Option<WatchEvent>) {
        let Some(event) = event else {
            assert!(
                self.watches.values().all(|watch| watch.queue.is_empty()),
                "events are missing"
            );
            return;
        };
        let watch = self.watches.get_mut(&event.token).expect("the watch is in the set");
        assert_eq!(*watch.watched, *event.watched);
        let (kind, path) = watch.queue.remove(0);
        watch.is_first_queued = false;
        watch.served.clear();
        assert_eq!((kind, path), (event.kind, &*event.path));
        for (token, other) in &mut self.watches {
            if *token != event.token && !other.queue.is_empty() {
                assert!(!other.served.contains(&event.token), "{token} is served too late");
                other.served.push(event.token);
            }
        }
    }
}

impl Expected {
    fn fire(&mut self, node: &'static str) {
        if self.queue.is_empty() {
            self.served.clear();
        }
        // The first event of a watch does not coalesce with later ones.
        let coalescing = &self.queue[usize::from(self.is_first_queued)..];
        let is_full = self.queue.last().is_some_and(|(kind, _)| *kind == EventKind::Overflow);
        if is_full || coalescing.contains(&(EventKind::Fired, node)) {
            return;
        }
        let is_full = self.queue.len() >= CAPACITY;
        self.queue.push(match is_full {
            true => (EventKind::Overflow, self.watched),
            false => (EventKind::Fired, node),
        });
    }
}

/// Takes an event that the client has received.
fn take(set: &mut WatchSet) -> Option<WatchEvent> {
    set.try_next().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn set_delivers_what_its_watches_do_and_in_turns(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (xenstored, client) = start();
        for node in NODES {
            xenstored.set(node, "").unwrap();
        }
        let mut set = client.watch_set();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Add(node) => {
                    let builder = client.watch_builder(NODES[node]).capacity(CAPACITY);
                    model.add(builder.add_to(&set).unwrap(), NODES[node]);
                }
                Step::Remove(at) => {
                    let tokens: Vec<_> = model.watches.keys().copied().collect();
                    if let Some(token) = tokens.get(at % tokens.len().max(1)) {
                        set.remove(*token).unwrap();
                        model.watches.remove(token);
                    }
                }
                Step::Write(node) => {
                    xenstored.set(NODES[node], "").unwrap();
                    model.write(NODES[node]);
                }
                Step::Take => model.take(take(&mut set)),
            }
            // The client receives all events now, so that their number is known.
            finish_cleanup(&client);
            prop_assert_eq!(set.len(), model.watches.len());
        }
        while let Some(event) = take(&mut set) {
            model.take(Some(event));
        }
        model.take(None);
    }
}
