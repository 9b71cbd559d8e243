//! Groups of watches, whose events the program takes together.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::deferred::{Deferred, Waiter};
use super::queue::WatchEvent;
use super::token::WatchToken;
use crate::error::Result;

/// The groups of one client, and the order in which their callbacks run.
#[derive(Debug, Default)]
pub(super) struct Groups {
    entries: BTreeMap<GroupId, Group>,
    last: u64,
    /// The groups with a callback and an item for it. They take turns.
    pub(super) runnable: VecDeque<GroupId>,
    /// The waiter of the callback thread, while the thread waits.
    pub(super) callback_waiter: Option<Waiter>,
}

/// The watches of a set, or a single watch.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) delivery: Delivery,
    /// The only watch of the group, which ends with it. `None` for a set, which may be empty.
    pub(super) single: Option<WatchToken>,
    /// The watches that have something to take. They take turns, one event each, so that a busy
    /// watch does not starve the others.
    pub(super) ready: VecDeque<WatchToken>,
    waiter: Option<Waiter>,
}

/// The key of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(u64);

/// How the events of a group reach the program.
pub(crate) enum Delivery {
    /// The owner of the watch or the set takes them.
    Owner,
    /// A callback gets them, which is installed once the watch is set.
    AwaitingCallback,
    /// A callback gets them; `None` while it runs, and after it has panicked.
    Callback(Option<Callback>),
}

/// Called for each event of a group, and a last time when the connection is lost for good.
pub(crate) type Callback = Box<dyn FnMut(Result<WatchEvent>) + Send>;

impl Groups {
    pub(super) fn add(&mut self, delivery: Delivery, single: Option<WatchToken>) -> GroupId {
        self.last += 1;
        let id = GroupId(self.last);
        let group = Group { delivery, single, ready: VecDeque::new(), waiter: None };
        self.entries.insert(id, group);
        id
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.entries.get_mut(&id)
    }

    pub(super) fn contains(&self, id: GroupId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns whether a group is a set, which exists without watches.
    pub(super) fn is_set(&self, id: GroupId) -> bool {
        self.entries.get(&id).is_some_and(|group| group.single.is_none())
    }

    pub(super) fn ids(&self) -> Vec<GroupId> {
        self.entries.keys().copied().collect()
    }

    /// Removes a watch from its group. The group ends with it, unless it is a set.
    pub(super) fn remove_watch(&mut self, id: GroupId, token: WatchToken, deferred: &mut Deferred) {
        let Some(group) = self.entries.get_mut(&id) else { return };
        if group.single.is_some() {
            return self.remove(id, deferred);
        }
        group.ready.retain(|ready| *ready != token);
        if group.ready.is_empty() {
            self.runnable.retain(|runnable| *runnable != id);
        }
    }

    /// Removes a group, and wakes the party that waits for its events.
    pub(super) fn remove(&mut self, id: GroupId, deferred: &mut Deferred) {
        let Some(group) = self.entries.remove(&id) else { return };
        deferred.wake_all(group.waiter);
        if let Delivery::Callback(Some(callback)) = group.delivery {
            deferred.drop_later(callback);
        }
    }

    /// Notes that a watch which had nothing to take now has something.
    pub(super) fn push_ready(&mut self, id: GroupId, token: WatchToken, deferred: &mut Deferred) {
        let Some(group) = self.entries.get_mut(&id) else { return };
        group.ready.push_back(token);
        deferred.wake_all(group.waiter.take());
        // A group that had something before is already in the list.
        if group.ready.len() == 1 && matches!(group.delivery, Delivery::Callback(_)) {
            self.push_runnable(id, deferred);
        }
    }

    pub(super) fn push_runnable(&mut self, id: GroupId, deferred: &mut Deferred) {
        self.runnable.push_back(id);
        deferred.wake_all(self.callback_waiter.take());
    }

    /// Registers the party to wake when a watch of the group has something to take.
    pub(super) fn register(&mut self, id: GroupId, waiter: &Waiter, deferred: &mut Deferred) {
        if let Some(group) = self.entries.get_mut(&id) {
            deferred.register(&mut group.waiter, waiter);
        }
    }

    pub(super) fn wake_all(&mut self, deferred: &mut Deferred) {
        deferred.wake_all(self.entries.values_mut().filter_map(|group| group.waiter.take()));
        deferred.wake_all(self.callback_waiter.take());
    }

    /// Returns the watches whose owners have something to take.
    #[cfg(feature = "mio")]
    pub(super) fn ready_for_owners(&self) -> impl Iterator<Item = WatchToken> {
        let owned = self.entries.values().filter(|group| matches!(group.delivery, Delivery::Owner));
        owned.flat_map(|group| group.ready.iter().copied())
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivery::Owner => "Owner",
            Delivery::AwaitingCallback => "AwaitingCallback",
            Delivery::Callback(_) => "Callback",
        })
    }
}
