//! The table of watches.

use std::collections::{BTreeMap, VecDeque};

use xs_proto::ErrorCode;
use xs_transport::Failure;

use super::deferred::{Deferred, Waiter};
use super::queue::{Queue, WatchEvent};
use super::token::WatchToken;
use super::watch_entry::{Callback, Delivery, End, Entry, Next, Submission};
use crate::error::Result;

/// The watches of one client, by token.
#[derive(Debug)]
pub(crate) struct Watches {
    entries: BTreeMap<WatchToken, Entry>,
    /// The capacity of each queue, in events.
    capacity: usize,
    /// A queue may be more than half full.
    crowded: bool,
    runnable: Runnable,
}

/// The watches whose callbacks have something to be called with.
#[derive(Debug, Default)]
struct Runnable {
    tokens: VecDeque<WatchToken>,
    /// The callback thread, while it waits.
    callback_thread: Option<Waiter>,
}

/// A watch that was removed from the table.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) path: Box<str>,
    /// The daemon may know the watch.
    pub(crate) may_be_known: bool,
}

/// A callback that is due, with its event.
pub(crate) struct DueCallback {
    pub(crate) token: WatchToken,
    pub(crate) callback: Callback,
    pub(crate) event: Result<WatchEvent>,
}

impl Watches {
    pub(super) fn new(capacity: usize) -> Self {
        let (entries, runnable) = (BTreeMap::new(), Runnable::default());
        Watches { entries, capacity, crowded: false, runnable }
    }

    /// Adds a watch. This comes before WATCH is sent, since the first event may precede the reply.
    pub(crate) fn add(&mut self, path: &str, depth: Option<u32>, delivery: Delivery) -> WatchToken {
        let token = WatchToken::new();
        let entry = Entry::new(path, depth, delivery, Queue::new(self.capacity));
        self.entries.insert(token, entry);
        token
    }

    /// Installs the callback of a watch, which gets the waiting events and all later ones.
    ///
    /// # Errors
    /// Returns the callback if the watch was removed.
    pub(crate) fn install_callback(
        &mut self,
        token: WatchToken,
        callback: Callback,
        deferred: &mut Deferred,
    ) -> std::result::Result<(), Callback> {
        let Some(entry) = self.entries.get_mut(&token) else {
            return Err(callback);
        };
        entry.delivery = Delivery::Callback(Some(callback));
        if entry.has_work() {
            self.runnable.push(token, deferred);
        }
        Ok(())
    }

    /// WATCH was submitted.
    pub(super) fn submitted(&mut self, token: &[u8]) {
        if let Some(entry) = WatchToken::parse(token).and_then(|token| self.entries.get_mut(&token))
        {
            entry.submission = Submission::Submitted;
        }
    }

    /// Removes a watch, which delivers nothing from then on.
    pub(crate) fn remove(&mut self, token: WatchToken, deferred: &mut Deferred) -> Option<Removed> {
        let entry = self.entries.remove(&token)?;
        deferred.wake_all(entry.waiter);
        if let Delivery::Callback(Some(callback)) = entry.delivery {
            deferred.drop_later(callback);
        }
        Some(Removed { path: entry.path, may_be_known: entry.submission.may_be_known() })
    }

    pub(crate) fn contains(&self, token: WatchToken) -> bool {
        self.entries.contains_key(&token)
    }

    pub(crate) fn tokens(&self) -> Vec<WatchToken> {
        self.entries.keys().copied().collect()
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
        let is_news = entry.confirm_again() | entry.queue.push(path, &entry.path);
        if is_news {
            self.crowded |= entry.queue.is_crowded();
            self.runnable.notify(token, entry, was_idle, deferred);
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

    /// Registers the party to wake when a watch has something.
    pub(crate) fn register(&mut self, token: WatchToken, waiter: &Waiter, deferred: &mut Deferred) {
        if let Some(entry) = self.entries.get_mut(&token) {
            deferred.register(&mut entry.waiter, waiter);
        }
    }

    /// Takes what comes next for the owner of a watch.
    pub(super) fn take_next(&mut self, token: WatchToken) -> Option<Next> {
        match self.entries.get_mut(&token) {
            Some(entry) => entry.take_next(),
            None => Some(Next::Removed),
        }
    }

    /// Returns the watches whose owners have something to take. A lost connection does not count:
    /// it may be replaced, and is reported in another way if not.
    #[cfg(feature = "mio")]
    pub(crate) fn tokens_with_events(&self) -> Vec<WatchToken> {
        let has_events =
            |entry: &Entry| matches!(entry.delivery, Delivery::Owner) && entry.has_work();
        let with_events = self.entries.iter().filter(|(_, entry)| has_events(entry));
        with_events.map(|(token, _)| *token).collect()
    }

    /// Takes a callback that is due out of the table, until [`return_callback`].
    ///
    /// The watches take turns, one event each, so that a busy watch does not starve the others.
    ///
    /// [`return_callback`]: Self::return_callback
    pub(crate) fn take_callback(&mut self) -> Option<DueCallback> {
        while let Some(token) = self.runnable.tokens.pop_front() {
            let Some(entry) = self.entries.get_mut(&token) else { continue };
            // A lost connection may be replaced. Callbacks learn of the failure only if it is not.
            if !entry.has_work() {
                continue;
            }
            let Delivery::Callback(slot) = &mut entry.delivery else { continue };
            let Some(callback) = slot.take() else { continue };
            let next = entry.take_next().unwrap_or(Next::Removed);
            if matches!(next, Next::Event(_)) && entry.has_work() {
                self.runnable.tokens.push_back(token);
            }
            return Some(DueCallback { token, callback, event: next.into_result(&entry.path) });
        }
        None
    }

    /// Takes the callback of a watch, to be called for the last time.
    pub(crate) fn take_last_callback(
        &mut self,
        token: WatchToken,
        failure: &Failure,
    ) -> Option<DueCallback> {
        let entry = self.entries.get_mut(&token)?;
        let Delivery::Callback(slot) = &mut entry.delivery else { return None };
        let callback = slot.take()?;
        let event = Next::Failed(failure.clone()).into_result(&entry.path);
        Some(DueCallback { token, callback, event })
    }

    /// Registers the callback thread, to be woken when a callback is due.
    pub(crate) fn register_callback_thread(&mut self, waiter: Waiter) {
        self.runnable.callback_thread = Some(waiter);
    }

    /// Puts a callback back after its call.
    ///
    /// # Errors
    /// Returns the callback if its watch was removed meanwhile.
    pub(crate) fn return_callback(
        &mut self,
        token: WatchToken,
        callback: Callback,
    ) -> std::result::Result<(), Callback> {
        match self.entries.get_mut(&token) {
            Some(Entry { delivery: Delivery::Callback(slot), .. }) => *slot = Some(callback),
            _ => return Err(callback),
        }
        Ok(())
    }

    /// The connection is lost. Events that were received can still be taken.
    pub(super) fn fail(&mut self, failure: &Failure, deferred: &mut Deferred) {
        for entry in self.entries.values_mut() {
            entry.end.get_or_insert_with(|| End::Failed(failure.clone()));
        }
        self.wake_all(deferred);
    }

    pub(super) fn wake_all(&mut self, deferred: &mut Deferred) {
        deferred.wake_all(self.entries.values_mut().filter_map(|entry| entry.waiter.take()));
        deferred.wake_all(self.runnable.callback_thread.take());
    }

    /// The connection was replaced. Returns the watches to set on the new one.
    pub(super) fn reconnected(&mut self, deferred: &mut Deferred) -> Vec<WatchToken> {
        let mut again = Vec::new();
        for (token, entry) in &mut self.entries {
            if let Some(End::Refused(_)) = entry.end {
                continue;
            }
            entry.end = None;
            if entry.submission != Submission::New {
                entry.submission = Submission::QueuedAgain;
                again.push(*token);
            }
        }
        self.wake_all(deferred);
        again
    }

    /// WATCH is about to be submitted again. Returns the path and the depth, unless the watch was
    /// removed.
    pub(super) fn submit_again(&mut self, token: WatchToken) -> Option<(Box<str>, Option<u32>)> {
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
        let is_news = match refused {
            Some(code) => {
                entry.end = Some(End::Refused(code));
                true
            }
            None => entry.confirm_again(),
        };
        if is_news {
            self.runnable.notify(token, entry, was_idle, deferred);
        }
    }
}

impl Runnable {
    /// A watch has something new.
    fn notify(
        &mut self,
        token: WatchToken,
        entry: &mut Entry,
        was_idle: bool,
        deferred: &mut Deferred,
    ) {
        deferred.wake_all(entry.waiter.take());
        // A watch that had work before is in the list already.
        if was_idle && matches!(entry.delivery, Delivery::Callback(_)) {
            self.push(token, deferred);
        }
    }

    fn push(&mut self, token: WatchToken, deferred: &mut Deferred) {
        self.tokens.push_back(token);
        deferred.wake_all(self.callback_thread.take());
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

        fn install(&mut self, token: WatchToken) {
            let installed =
                self.watches.install_callback(token, Box::new(drop), &mut self.deferred);
            assert!(installed.is_ok());
        }

        /// Adds a watch on `a` that is being set again on a new connection.
        fn add_again(&mut self, delivery: Delivery) -> WatchToken {
            let token = self.watches.add("a", None, delivery);
            self.watches.submitted(token.to_string().as_bytes());
            assert_eq!(self.watches.reconnected(&mut self.deferred), [token]);
            assert!(self.watches.known_tokens().is_empty());
            assert!(self.watches.submit_again(token).is_some());
            token
        }

        /// Runs a callback that is due, and returns its event.
        fn run_callback(&mut self) -> Option<Result<WatchEvent>> {
            let due = self.watches.take_callback()?;
            assert!(self.watches.return_callback(due.token, due.callback).is_ok());
            Some(due.event)
        }
    }

    #[test]
    fn removed_watch_delivers_nothing() {
        let mut fixture = Fixture::new(8);
        let token = fixture.watches.add("a", None, Delivery::Owner);
        fixture.deliver(token, "a");
        fixture.watches.remove(token, &mut fixture.deferred);
        fixture.deliver(token, "a");
        assert!(matches!(fixture.watches.take_next(token), Some(Next::Removed)));
    }

    #[test]
    fn callbacks_take_turns() {
        let mut fixture = Fixture::new(8);
        let tokens =
            ["a", "b"].map(|path| fixture.watches.add(path, None, Delivery::AwaitingCallback));
        for path in ["a", "a/1", "a/2"] {
            fixture.deliver(tokens[0], path);
        }
        assert!(fixture.run_callback().is_none(), "no callback is installed");
        tokens.into_iter().for_each(|token| fixture.install(token));
        fixture.deliver(tokens[1], "b");
        let events = std::iter::from_fn(|| fixture.run_callback());
        let paths: Vec<_> = events.map(|event| event.unwrap().path.to_string()).collect();
        assert_eq!(paths, ["a", "b", "a/1", "a/2"]);
    }

    #[test]
    fn callback_thread_is_woken_by_events_only() {
        let mut fixture = Fixture::new(8);
        let token = fixture.watches.add("a", None, Delivery::AwaitingCallback);
        fixture.watches.runnable.callback_thread = Some(fixture.wakes.waiter());
        fixture.install(token);
        assert_eq!(fixture.woken(), 0);
        fixture.deliver(token, "a");
        assert_eq!(fixture.woken(), 1);
    }

    #[test]
    fn owner_is_told_of_reconnection_by_event_or_reply() {
        for event_first in [true, false] {
            let mut fixture = Fixture::new(2);
            let token = fixture.add_again(Delivery::Owner);
            assert!(fixture.watches.take_next(token).is_none());
            let waiter = fixture.wakes.waiter();
            fixture.watches.register(token, &waiter, &mut fixture.deferred);
            if event_first {
                fixture.deliver(token, "a");
            } else {
                fixture.watches.answered_again(token, None, &mut fixture.deferred);
            }
            assert_eq!(fixture.woken(), 1, "{event_first}");
            let Some(Next::Event(event)) = fixture.watches.take_next(token) else {
                panic!("there is no event, {event_first}");
            };
            assert_eq!(event.kind, EventKind::Reconnected, "{event_first}");
        }
    }

    #[test]
    fn callback_is_told_of_refusal_once() {
        let mut fixture = Fixture::new(2);
        let token = fixture.add_again(Delivery::Callback(Some(Box::new(drop))));
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
        let token = fixture.watches.add("a", None, Delivery::Owner);
        fixture.deliver(token, "a");
        assert!(!fixture.watches.are_crowded(true));
        fixture.deliver(token, "a/1");
        assert!(fixture.watches.are_crowded(true) && fixture.watches.are_crowded(true));
        assert!(!fixture.watches.are_crowded(false) && !fixture.watches.are_crowded(true));
        fixture.deliver(token, "a/2");
        assert!(fixture.watches.are_crowded(true));
        while fixture.watches.take_next(token).is_some() {}
        assert!(!fixture.watches.are_crowded(true));
    }
}
