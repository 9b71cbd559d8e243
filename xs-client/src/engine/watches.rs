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
    /// The watches that were removed from the table before WATCH was submitted. The daemon may know
    /// them now.
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
    /// Returns the value of `CallbackThread::running` while this callback runs on a thread.
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

    /// Adds a single watch. The caller does this before it sends WATCH, since the first event may
    /// precede the reply.
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

    /// Adds a watch to a set, like [`add`](Self::add). If the set was removed, adds nothing.
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

    /// Notes that WATCH was submitted.
    pub(super) fn submitted(&mut self, token: &[u8]) {
        let Some(token) = WatchToken::parse(token) else { return };
        match self.entries.get_mut(&token) {
            Some(entry) => entry.submission = Submission::Submitted,
            None => _ = self.orphans.insert(token),
        }
    }

    /// Returns whether the caller that has set a watch has to remove it at the daemon: it was
    /// removed from the table before WATCH was submitted. If it was removed later, the caller that
    /// removed it does so.
    pub(crate) fn take_orphan(&mut self, token: WatchToken) -> bool {
        self.orphans.remove(&token)
    }

    /// Removes a watch from the table, together with its events.
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

    pub(super) fn is_set(&self, group: GroupId) -> bool {
        self.groups.is_set(group)
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

    /// Queues an event that arrived. Drops a late event of a removed watch.
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

    /// Returns whether a queue is more than half full. Without `patience`, returns false, and so do
    /// later calls until another event arrives.
    #[cfg(feature = "futures")]
    pub(crate) fn are_crowded(&mut self, patience: bool) -> bool {
        let is_crowded = |entry: &Entry| entry.queue.is_crowded();
        self.crowded = self.crowded && patience && self.entries.values().any(is_crowded);
        self.crowded
    }

    /// Registers the party to wake when a watch of the group has something to take.
    pub(crate) fn register(&mut self, group: GroupId, waiter: &Waiter, deferred: &mut Deferred) {
        self.groups.register(group, waiter, deferred);
    }

    /// Takes the next item of a group, except a lost connection, which the caller reports.
    pub(super) fn take_next(&mut self, group: GroupId, deferred: &mut Deferred) -> Option<Next> {
        if !self.groups.contains(group) {
            return Some(Next::Removed);
        }
        self.take_ready(group, deferred).map(|(_, next)| next)
    }

    /// Takes one item of the watch whose turn it is, and returns the watch with it.
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

    /// Returns the watches whose owners have something to take. A lost connection does not count,
    /// since it may be replaced.
    #[cfg(feature = "mio")]
    pub(crate) fn tokens_with_events(&self) -> Vec<WatchToken> {
        self.groups.ready_for_owners().collect()
    }

    /// Takes a callback that is due out of the table, until
    /// [`return_callback`](Self::return_callback).
    ///
    /// The groups take turns, one event each, so that a busy one does not starve the others.
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
        self.groups.callback_waiter = Some(waiter);
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

    /// Returns the watches to set again on a new connection, and wakes all parties that wait for
    /// events.
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

    /// Notes that WATCH is about to be submitted again. Returns the path and the depth, unless the
    /// watch was removed.
    pub(super) fn submit_again(&mut self, token: WatchToken) -> Option<(Arc<str>, Option<u32>)> {
        let entry = self.entries.get_mut(&token)?;
        entry.submission = Submission::SubmittedAgain;
        Some((entry.path.clone(), entry.depth))
    }

    /// Handles the answer to a WATCH that was submitted again.
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
mod tests;
