//! One watch of the table.

use std::fmt;

use xs_proto::ErrorCode;
use xs_transport::Failure;

use super::deferred::Waiter;
use super::queue::{Queue, WatchEvent};
use crate::error::{Error, ErrorKind, Result};

/// A watch, and the events that wait for its owner.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Box<str>,
    pub(super) depth: Option<u32>,
    pub(super) delivery: Delivery,
    pub(super) submission: Submission,
    pub(super) queue: Queue,
    pub(super) waiter: Option<Waiter>,
    pub(super) end: Option<End>,
}

/// How the events of a watch reach the program.
pub(crate) enum Delivery {
    /// The owner of the watch takes them.
    Owner,
    /// A callback gets them, which is installed once the watch is set.
    AwaitingCallback,
    /// A callback gets them; `None` while it runs, and after it has panicked.
    Callback(Option<Callback>),
}

/// Whether WATCH was submitted on the current connection: what the daemon knows of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// WATCH has not been submitted.
    New,
    /// WATCH was submitted: the daemon may know the watch.
    Submitted,
    /// The connection was replaced, and WATCH waits to be submitted on the new one.
    QueuedAgain,
    /// The connection was replaced, and WATCH was submitted on the new one. The owner is told of it
    /// when the daemon confirms, not before: a daemon that is about to exit may still accept a
    /// connection, and lose it.
    SubmittedAgain,
}

/// Why a watch has no more events.
#[derive(Clone, Debug)]
pub(super) enum End {
    Failed(Failure),
    Refused(ErrorCode),
}

/// The next item that a watch has for its owner or its callback.
#[derive(Debug)]
pub(crate) enum Next {
    Event(WatchEvent),
    /// The watch was removed.
    Removed,
    /// The connection is lost.
    Failed(Failure),
    /// The daemon refused to set the watch again on a new connection.
    Refused(ErrorCode),
}

/// Called for each event of a watch, and a last time when the connection is lost for good.
pub(crate) type Callback = Box<dyn FnMut(Result<WatchEvent>) + Send>;

impl Entry {
    pub(super) fn new(path: &str, depth: Option<u32>, delivery: Delivery, queue: Queue) -> Self {
        let (path, submission) = (path.into(), Submission::New);
        Entry { path, depth, delivery, submission, queue, waiter: None, end: None }
    }

    /// Returns whether the owner or the callback has something to take on this connection.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || matches!(self.end, Some(End::Refused(_)))
    }

    pub(super) fn take_next(&mut self) -> Option<Next> {
        if let Some(event) = self.queue.pop() {
            return Some(Next::Event(event));
        }
        match &self.end {
            Some(End::Failed(failure)) => Some(Next::Failed(failure.clone())),
            Some(End::Refused(code)) => Some(Next::Refused(code.clone())),
            None => None,
        }
    }

    /// The daemon has shown that it knows the watch. Returns true if the owner has to be told.
    pub(super) fn confirm_again(&mut self) -> bool {
        let again = self.submission == Submission::SubmittedAgain;
        if again {
            self.submission = Submission::Submitted;
            self.queue.reconnected(&self.path);
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
    pub(crate) fn into_result(self, path: &str) -> Result<WatchEvent> {
        let kind = match self {
            Next::Event(event) => return Ok(event),
            Next::Removed => ErrorKind::WatchRemoved,
            Next::Failed(failure) => ErrorKind::Lost(failure),
            Next::Refused(code) => ErrorKind::Refused(code),
        };
        Err(Error::new("watch", Some(path), kind))
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
