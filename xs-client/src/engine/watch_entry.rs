//! One watch of the table.

use std::sync::Arc;

use xs_proto::ErrorCode;
use xs_transport::Failure;

use super::group::GroupId;
use super::queue::{Queue, WatchEvent};
use crate::error::{Error, ErrorKind, Result};

/// A watch, and its events that wait to be taken.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Arc<str>,
    pub(super) depth: Option<u32>,
    /// The watches whose events are taken together with those of this one.
    pub(super) group: GroupId,
    pub(super) submission: Submission,
    pub(super) queue: Queue,
    /// The daemon refused to set the watch again on a new connection.
    pub(super) refused: Option<ErrorCode>,
}

/// The options of a caller that sets a watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchOptions<'a> {
    pub(crate) path: &'a str,
    pub(crate) depth: Option<u32>,
    /// The capacity of the queue, in events. `None` takes that of the client.
    pub(crate) capacity: Option<usize>,
}

/// Whether the daemon may know the watch on the current connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// WATCH has not been submitted.
    New,
    /// WATCH was submitted: the daemon may know the watch.
    Submitted,
    /// The connection was replaced, and WATCH waits to be submitted on the new one.
    QueuedAgain,
    /// The connection was replaced, and WATCH was submitted on the new one. The owner learns of the
    /// new connection when the daemon confirms the watch, not before: a daemon that is about to
    /// exit may still accept a connection, and lose it.
    SubmittedAgain,
}

/// The next item that the owner or the callback of a group gets.
#[derive(Debug)]
pub(crate) enum Next {
    Event(WatchEvent),
    /// The group was removed: the set, or the single watch.
    Removed,
    /// The connection is lost.
    Failed(Failure),
    /// The daemon refused to set a watch again on a new connection. The watch is removed.
    Refused(Arc<str>, ErrorCode),
}

impl<'a> WatchOptions<'a> {
    /// Returns the default options for a path.
    pub(crate) fn new(path: &'a str) -> Self {
        WatchOptions { path, depth: None, capacity: None }
    }
}

impl Entry {
    /// Returns whether the owner or the callback has something to take.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.refused.is_some()
    }

    /// Notes that the daemon knows the watch. If the watch was set again, queues the event that
    /// reports this, and returns true.
    pub(super) fn confirm_again(&mut self) -> bool {
        let again = self.submission == Submission::SubmittedAgain;
        if again {
            self.submission = Submission::Submitted;
            self.queue.reconnected();
        }
        again
    }
}

impl Submission {
    /// Returns whether the daemon may know the watch.
    pub(super) fn may_be_known(self) -> bool {
        matches!(self, Submission::Submitted | Submission::SubmittedAgain)
    }
}

impl Next {
    /// Converts the item to an event or an error. `path` is that of a single watch.
    pub(crate) fn into_result(self, path: Option<&str>) -> Result<WatchEvent> {
        match self {
            Next::Event(event) => Ok(event),
            Next::Removed => Err(Error::new("watch", path, ErrorKind::WatchRemoved)),
            Next::Failed(failure) => Err(Error::new("watch", path, ErrorKind::Lost(failure))),
            Next::Refused(path, code) => {
                Err(Error::new("watch", Some(&path), ErrorKind::Refused(code)))
            }
        }
    }
}
