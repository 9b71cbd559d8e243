//! Tests of the watch table.

use super::super::counted_wakes::CountedWakes;
use super::super::queue::EventKind;
use super::*;

struct Fixture {
    watches: Watches,
    deferred: Deferred,
    wakes: CountedWakes,
}

impl Fixture {
    fn new(capacity: usize) -> Self {
        let (watches, deferred) = (Watches::new(capacity), Deferred::default());
        Fixture { watches, deferred, wakes: CountedWakes::default() }
    }

    fn woken(&mut self) -> usize {
        self.wakes.run(&mut self.deferred)
    }

    fn deliver(&mut self, token: WatchToken, path: &str) {
        self.watches.deliver(path, token.to_string().as_bytes(), &mut self.deferred);
    }

    /// Adds a single watch.
    fn add(&mut self, path: &str, delivery: Delivery) -> (WatchToken, GroupId) {
        self.watches.add(&WatchOptions::new(path), delivery)
    }

    /// Adds a watch to a set.
    fn add_to(&mut self, set: GroupId, path: &str) -> WatchToken {
        self.watches.add_to(set, &WatchOptions::new(path))
    }

    fn take_next(&mut self, group: GroupId) -> Option<Next> {
        self.watches.take_next(group, &mut self.deferred)
    }

    /// Takes all events of a group, and returns their paths.
    fn take_paths(&mut self, group: GroupId) -> Vec<String> {
        let events = std::iter::from_fn(|| self.take_next(group));
        events.map(|next| next.into_result(None).unwrap().path.to_string()).collect()
    }

    fn install(&mut self, group: GroupId) {
        let installed = self.watches.install_callback(group, Box::new(drop), &mut self.deferred);
        assert!(installed.is_ok());
    }

    /// Adds a watch on `a` that is being set again on a new connection.
    fn add_again(&mut self, delivery: Delivery) -> (WatchToken, GroupId) {
        let (token, group) = self.add("a", delivery);
        self.watches.submitted(token.to_string().as_bytes());
        assert_eq!(self.watches.reconnected(&mut self.deferred), [token]);
        assert!(self.watches.known_tokens().is_empty());
        assert!(self.watches.submit_again(token).is_some());
        (token, group)
    }

    /// Runs a callback that is due, and returns its event.
    fn run_callback(&mut self) -> Option<Result<WatchEvent>> {
        let due = self.watches.take_callback(&mut self.deferred)?;
        drop(self.watches.return_callback(due.group, due.callback));
        Some(due.event)
    }
}

#[test]
fn removed_watch_delivers_nothing() {
    let mut fixture = Fixture::new(8);
    let (token, group) = fixture.add("a", Delivery::Owner);
    fixture.deliver(token, "a");
    fixture.watches.remove(token, &mut fixture.deferred);
    fixture.deliver(token, "a");
    assert!(matches!(fixture.take_next(group), Some(Next::Removed)));
}

#[test]
fn callbacks_take_turns() {
    let mut fixture = Fixture::new(8);
    let [(a, one), (b, other)] =
        ["a", "b"].map(|path| fixture.add(path, Delivery::AwaitingCallback));
    for path in ["a", "a/1", "a/2"] {
        fixture.deliver(a, path);
    }
    assert!(fixture.run_callback().is_none(), "no callback is installed");
    [one, other].into_iter().for_each(|group| fixture.install(group));
    fixture.deliver(b, "b");
    let events = std::iter::from_fn(|| fixture.run_callback());
    let paths: Vec<_> = events.map(|event| event.unwrap().path.to_string()).collect();
    assert_eq!(paths, ["a", "b", "a/1", "a/2"]);
}

#[test]
fn callback_thread_is_woken_by_events_only() {
    let mut fixture = Fixture::new(8);
    let (token, group) = fixture.add("a", Delivery::AwaitingCallback);
    fixture.watches.register_callback_thread(fixture.wakes.waiter());
    fixture.install(group);
    assert_eq!(fixture.woken(), 0);
    fixture.deliver(token, "a");
    assert_eq!(fixture.woken(), 1);
}

#[test]
fn owner_is_told_of_reconnection_by_event_or_reply() {
    for event_first in [true, false] {
        let mut fixture = Fixture::new(2);
        let (token, group) = fixture.add_again(Delivery::Owner);
        assert!(fixture.take_next(group).is_none());
        let waiter = fixture.wakes.waiter();
        fixture.watches.register(group, &waiter, &mut fixture.deferred);
        if event_first {
            fixture.deliver(token, "a");
        } else {
            fixture.watches.answered_again(token, None, &mut fixture.deferred);
        }
        assert_eq!(fixture.woken(), 1, "{event_first}");
        let Some(Next::Event(event)) = fixture.take_next(group) else {
            panic!("there is no event, {event_first}");
        };
        assert_eq!(event.kind, EventKind::Reconnected, "{event_first}");
    }
}

#[test]
fn callback_is_told_of_refusal_once() {
    let mut fixture = Fixture::new(2);
    let (token, _) = fixture.add_again(Delivery::Callback(Some(Box::new(drop))));
    let refused = Some(ErrorCode::Quota);
    fixture.watches.answered_again(token, refused, &mut fixture.deferred);
    let error = fixture.run_callback().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::Quota));
    assert!(fixture.run_callback().is_none());
}

#[cfg(feature = "futures")]
#[test]
fn crowded_queues_are_reported_once_without_patience() {
    let mut fixture = Fixture::new(2);
    let (token, group) = fixture.add("a", Delivery::Owner);
    fixture.deliver(token, "a");
    assert!(!fixture.watches.are_crowded(true));
    fixture.deliver(token, "a/1");
    assert!(fixture.watches.are_crowded(true) && fixture.watches.are_crowded(true));
    assert!(!fixture.watches.are_crowded(false) && !fixture.watches.are_crowded(true));
    fixture.deliver(token, "a/2");
    assert!(fixture.watches.are_crowded(true));
    while fixture.take_next(group).is_some() {}
    assert!(!fixture.watches.are_crowded(true));
}

#[test]
fn watches_of_a_set_take_turns() {
    for has_callback in [false, true] {
        let mut fixture = Fixture::new(8);
        let set = fixture.watches.add_set(match has_callback {
            false => Delivery::Owner,
            true => Delivery::Callback(Some(Box::new(drop))),
        });
        let [a, b, c] = ["a", "b", "c"].map(|path| fixture.add_to(set, path));
        for (token, path) in [(a, "a"), (a, "a/1"), (a, "a/2"), (c, "c"), (b, "b"), (c, "c/1")] {
            fixture.deliver(token, path);
        }
        let paths = match has_callback {
            false => fixture.take_paths(set),
            true => std::iter::from_fn(|| fixture.run_callback())
                .map(|event| event.unwrap().path.to_string())
                .collect(),
        };
        assert_eq!(paths, ["a", "c", "b", "a/1", "c/1", "a/2"]);
    }
}

#[test]
fn set_outlives_its_watches() {
    let mut fixture = Fixture::new(8);
    let set = fixture.watches.add_set(Delivery::Owner);
    for round in 0..3 {
        let token = fixture.add_to(set, "a");
        fixture.deliver(token, "a");
        fixture.watches.remove(token, &mut fixture.deferred);
        assert!(fixture.take_next(set).is_none(), "in round {round}");
    }
    let (waiter, token) = (fixture.wakes.waiter(), fixture.add_to(set, "b"));
    fixture.watches.register(set, &waiter, &mut fixture.deferred);
    assert_eq!(fixture.watches.remove_set(set, &mut fixture.deferred).len(), 1);
    assert_eq!(fixture.woken(), 1);
    assert!(!fixture.watches.contains(token));
    assert!(matches!(fixture.take_next(set), Some(Next::Removed)));
    let late = fixture.add_to(set, "c");
    assert!(!fixture.watches.contains(late));
}

#[test]
fn refused_watch_leaves_its_set() {
    let mut fixture = Fixture::new(8);
    let set = fixture.watches.add_set(Delivery::Owner);
    let [bad, good] = ["bad", "good"].map(|path| fixture.add_to(set, path));
    for token in [bad, good] {
        fixture.watches.submitted(token.to_string().as_bytes());
    }
    assert_eq!(fixture.watches.reconnected(&mut fixture.deferred), [bad, good]);
    for (token, code) in [(bad, Some(ErrorCode::Quota)), (good, None)] {
        fixture.watches.submit_again(token).unwrap();
        fixture.watches.answered_again(token, code, &mut fixture.deferred);
    }
    let error = fixture.take_next(set).unwrap().into_result(None).unwrap_err();
    assert_eq!((error.path(), error.code()), (Some("bad"), Some(&ErrorCode::Quota)));
    assert_eq!(fixture.take_paths(set), ["good"]);
    assert!(!fixture.watches.contains(bad) && fixture.watches.contains(good));
}

#[test]
fn removed_watches_leave_no_turns_behind() {
    let mut fixture = Fixture::new(8);
    let set = fixture.watches.add_set(Delivery::Callback(Some(Box::new(drop))));
    for _ in 0..100 {
        let token = fixture.add_to(set, "a");
        fixture.deliver(token, "a");
        fixture.watches.remove(token, &mut fixture.deferred);
    }
    let token = fixture.add_to(set, "a");
    fixture.deliver(token, "a");
    assert_eq!(fixture.watches.groups.runnable.len(), 1);
    assert!(fixture.run_callback().is_some() && fixture.run_callback().is_none());
}
