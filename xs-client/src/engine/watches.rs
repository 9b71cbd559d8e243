//! The table of watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xs_proto::ErrorCode;
use xs_transport::Failure;

use super::callback_thread::Running;
use super::deferred::{Deferred, Waiter};
use super::group::{Callback, Delivery, GroupId, Groups};
use super::queue::{Queue, WatchEvent};
use super::token::WatchToken;
use super::watch_entry::{Entry, Next, Submission, WatchOptions};
use crate::error::Result;
use crate::sync::thread::ThreadId;

/// The watches of one client, by token.
#[derive(Debug)]
pub(crate) struct Watches {
    entries: BTreeMap<WatchToken, Entry>,
    groups: Groups,
    /// The capacity of each queue, in events, unless the watch has its own.
    capacity: usize,
    /// A queue may be more than half full.
    crowded: bool,
    /// The watches that were removed before WATCH was submitted, and that the daemon may know now.
    orphans: BTreeSet<WatchToken>,
}

/// A watch that was removed from the table.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) token: WatchToken,
    pub(crate) path: Arc<str>,
    /// The daemon may know the watch.
    pub(crate) may_be_known: bool,
}

/// A callback that is due, with its event.
pub(crate) struct DueCallback {
    pub(crate) group: GroupId,
    /// The watch of the event, if it concerns a single one.
    pub(crate) token: Option<WatchToken>,
    pub(crate) callback: Callback,
    pub(crate) event: Result<WatchEvent>,
}

impl DueCallback {
    /// Returns the note that this callback runs on a thread.
    pub(crate) fn run_on(&self, thread: ThreadId) -> Running {
        Running { group: self.group, token: self.token, thread }
    }
}

impl Watches {
    pub(super) fn new(capacity: usize) -> Self {
        let (entries, groups) = (BTreeMap::new(), Groups::default());
        Watches { entries, groups, capacity, crowded: false, orphans: BTreeSet::new() }
    }

    /// Adds an empty set.
    pub(crate) fn add_set(&mut self, delivery: Delivery) -> GroupId {
        self.groups.add(delivery, None)
    }

    /// Adds a single watch. This comes before WATCH is sent, since the first event may precede the
    /// reply.
    pub(crate) fn add(
        &mut self,
        options: &WatchOptions<'_>,
        delivery: Delivery,
    ) -> (WatchToken, GroupId) {
        let token = WatchToken::new();
        let group = self.groups.add(delivery, Some(token));
        self.insert(token, options, group);
        (token, group)
    }

    /// Adds a watch to a set, like [`add`](Self::add). If the set was removed, the watch is not in
    /// the table.
    pub(crate) fn add_to(&mut self, group: GroupId, options: &WatchOptions<'_>) -> WatchToken {
        let token = WatchToken::new();
        if self.groups.contains(group) {
            self.insert(token, options, group);
        }
        token
    }

    fn insert(&mut self, token: WatchToken, options: &WatchOptions<'_>, group: GroupId) {
        let WatchOptions { path, depth, capacity } = *options;
        let path: Arc<str> = path.into();
        let queue = Queue::new(token, path.clone(), capacity.unwrap_or(self.capacity));
        let submission = Submission::New;
        let entry = Entry { path, depth, group, submission, queue, refused: None };
        self.entries.insert(token, entry);
    }

    /// Installs the callback of a group, which gets the waiting events and all later ones.
    ///
    /// # Errors
    /// Returns the callback if the group was removed.
    pub(crate) fn install_callback(
        &mut self,
        id: GroupId,
        callback: Callback,
        deferred: &mut Deferred,
    ) -> std::result::Result<(), Callback> {
        let Some(group) = self.groups.get_mut(id) else {
            return Err(callback);
        };
        group.delivery = Delivery::Callback(Some(callback));
        if !group.ready.is_empty() {
            self.groups.push_runnable(id, deferred);
        }
        Ok(())
    }

    /// WATCH was submitted.
    pub(super) fn submitted(&mut self, token: &[u8]) {
        let Some(token) = WatchToken::parse(token) else { return };
        match self.entries.get_mut(&token) {
            Some(entry) => entry.submission = Submission::Submitted,
            None => _ = self.orphans.insert(token),
        }
    }

    /// Returns whether a watch that is not in the table has to be removed at the daemon by the
    /// caller that has set it. If it was removed later, the caller that did so removes it there.
    pub(crate) fn take_orphan(&mut self, token: WatchToken) -> bool {
        self.orphans.remove(&token)
    }

    /// Removes a watch, which delivers nothing from then on.
    pub(crate) fn remove(&mut self, token: WatchToken, deferred: &mut Deferred) -> Option<Removed> {
        let entry = self.entries.remove(&token)?;
        self.groups.remove_watch(entry.group, token, deferred);
        let may_be_known = entry.submission.may_be_known();
        Some(Removed { token, path: entry.path, may_be_known })
    }

    /// Removes a set and its watches.
    pub(crate) fn remove_set(&mut self, group: GroupId, deferred: &mut Deferred) -> Vec<Removed> {
        self.groups.remove(group, deferred);
        let tokens = self.tokens_of(group);
        tokens.into_iter().filter_map(|token| self.remove(token, deferred)).collect()
    }

    pub(crate) fn contains(&self, token: WatchToken) -> bool {
        self.entries.contains_key(&token)
    }

    /// Returns whether a watch belongs to a set.
    pub(crate) fn is_in(&self, group: GroupId, token: WatchToken) -> bool {
        self.entries.get(&token).is_some_and(|entry| entry.group == group)
    }

    pub(crate) fn tokens(&self) -> Vec<WatchToken> {
        self.entries.keys().copied().collect()
    }

    /// Returns the watches of a set.
    pub(crate) fn tokens_of(&self, group: GroupId) -> Vec<WatchToken> {
        let members = self.entries.iter().filter(|(_, entry)| entry.group == group);
        members.map(|(token, _)| *token).collect()
    }

    /// Returns the watches that the daemon may know.
    pub(super) fn known_tokens(&self) -> Vec<WatchToken> {
        let known = self.entries.iter().filter(|(_, entry)| entry.submission.may_be_known());
        known.map(|(token, _)| *token).collect()
    }

    /// An event arrived. A late event of a removed watch is dropped.
    pub(super) fn deliver(&mut self, path: &str, token: &[u8], deferred: &mut Deferred) {
        let Some(token) = WatchToken::parse(token) else { return };
        let Some(entry) = self.entries.get_mut(&token) else { return };
        let was_idle = !entry.has_work();
        // The first event may precede the reply to WATCH.
        let is_news = entry.confirm_again() | entry.queue.push(path);
        if is_news {
            self.crowded |= entry.queue.is_crowded();
        }
        if is_news && was_idle {
            self.groups.push_ready(entry.group, token, deferred);
        }
    }

    /// Returns whether a queue is more than half full. A caller without patience is told only once
    /// of the same events.
    #[cfg(feature = "futures")]
    pub(crate) fn are_crowded(&mut self, patience: bool) -> bool {
        let is_crowded = |entry: &Entry| entry.queue.is_crowded();
        self.crowded = self.crowded && patience && self.entries.values().any(is_crowded);
        self.crowded
    }

    /// Registers the party to wake when a watch of the group has something.
    pub(crate) fn register(&mut self, group: GroupId, waiter: &Waiter, deferred: &mut Deferred) {
        self.groups.register(group, waiter, deferred);
    }

    /// Takes what comes next for the owner of a group, except that the connection is lost.
    pub(super) fn take_next(&mut self, group: GroupId, deferred: &mut Deferred) -> Option<Next> {
        if !self.groups.contains(group) {
            return Some(Next::Removed);
        }
        self.take_ready(group, deferred).map(|(_, next)| next)
    }

    /// Takes one item of the watch whose turn it is.
    fn take_ready(&mut self, id: GroupId, deferred: &mut Deferred) -> Option<(WatchToken, Next)> {
        let group = self.groups.get_mut(id)?;
        let token = group.ready.pop_front()?;
        let entry = self.entries.get_mut(&token)?;
        if let Some(event) = entry.queue.pop() {
            if entry.has_work() {
                group.ready.push_back(token);
            }
            return Some((token, Next::Event(event)));
        }
        let refused = Next::Refused(entry.path.clone(), entry.refused.take()?);
        self.remove(token, deferred);
        Some((token, refused))
    }

    /// Returns the watches whose owners have something to take. A lost connection does not count:
    /// it may be replaced, and is reported in another way if not.
    #[cfg(feature = "mio")]
    pub(crate) fn tokens_with_events(&self) -> Vec<WatchToken> {
        self.groups.ready_for_owners().collect()
    }

    /// Takes a callback that is due out of the table, until [`return_callback`].
    ///
    /// The groups take turns, one event each, so that a busy one does not starve the others.
    ///
    /// [`return_callback`]: Self::return_callback
    pub(crate) fn take_callback(&mut self, deferred: &mut Deferred) -> Option<DueCallback> {
        while let Some(id) = self.groups.runnable.pop_front() {
            let Some(group) = self.groups.get_mut(id) else { continue };
            let Delivery::Callback(slot) = &mut group.delivery else { continue };
            let Some(callback) = slot.take() else { continue };
            let (token, next) = self.take_ready(id, deferred)?;
            if self.groups.get_mut(id).is_some_and(|group| !group.ready.is_empty()) {
                self.groups.runnable.push_back(id);
            }
            let event = next.into_result(None);
            return Some(DueCallback { group: id, token: Some(token), callback, event });
        }
        None
    }

    /// Returns the groups, for [`take_last_callback`](Self::take_last_callback).
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.groups.ids()
    }

    /// Takes the callback of a group, to be called for the last time.
    pub(crate) fn take_last_callback(
        &mut self,
        id: GroupId,
        failure: &Failure,
    ) -> Option<DueCallback> {
        let group = self.groups.get_mut(id)?;
        let Delivery::Callback(slot) = &mut group.delivery else { return None };
        let callback = slot.take()?;
        let token = group.single;
        let path = token.and_then(|token| self.entries.get(&token)).map(|entry| &*entry.path);
        let event = Next::Failed(failure.clone()).into_result(path);
        Some(DueCallback { group: id, token, callback, event })
    }

    /// Registers the callback thread, to be woken when a callback is due.
    pub(crate) fn register_callback_thread(&mut self, waiter: Waiter) {
        self.groups.callback_thread = Some(waiter);
    }

    /// Puts a callback back after its call.
    ///
    /// # Errors
    /// Returns the callback if its group was removed meanwhile.
    pub(crate) fn return_callback(
        &mut self,
        id: GroupId,
        callback: Callback,
    ) -> std::result::Result<(), Callback> {
        match self.groups.get_mut(id).map(|group| &mut group.delivery) {
            Some(Delivery::Callback(slot)) => *slot = Some(callback),
            _ => return Err(callback),
        }
        Ok(())
    }

    /// Wakes all parties that wait for events.
    pub(super) fn wake_all(&mut self, deferred: &mut Deferred) {
        self.groups.wake_all(deferred);
    }

    /// The connection was replaced. Returns the watches to set on the new one.
    pub(super) fn reconnected(&mut self, deferred: &mut Deferred) -> Vec<WatchToken> {
        let mut again = Vec::new();
        for (token, entry) in &mut self.entries {
            if entry.refused.is_none() && entry.submission != Submission::New {
                entry.submission = Submission::QueuedAgain;
                again.push(*token);
            }
        }
        self.wake_all(deferred);
        again
    }

    /// WATCH is about to be submitted again. Returns the path and the depth, unless the watch was
    /// removed.
    pub(super) fn submit_again(&mut self, token: WatchToken) -> Option<(Arc<str>, Option<u32>)> {
        let entry = self.entries.get_mut(&token)?;
        entry.submission = Submission::SubmittedAgain;
        Some((entry.path.clone(), entry.depth))
    }

    /// The daemon has answered a WATCH that was submitted again.
    pub(super) fn answered_again(
        &mut self,
        token: WatchToken,
        refused: Option<ErrorCode>,
        deferred: &mut Deferred,
    ) {
        let Some(entry) = self.entries.get_mut(&token) else { return };
        let was_idle = !entry.has_work();
        let is_news = refused.is_some() || entry.confirm_again();
        entry.refused = refused.or(entry.refused.take());
        if is_news && was_idle {
            self.groups.push_ready(entry.group, token, deferred);
        }
    }
}

#[cfg(test)]
mod tests {
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
            let installed =
                self.watches.install_callback(group, Box::new(drop), &mut self.deferred);
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
            for (token, path) in [(a, "a"), (a, "a/1"), (a, "a/2"), (c, "c"), (b, "b"), (c, "c/1")]
            {
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
}
