//! Requests that the engine makes for itself, without a caller.

use std::collections::VecDeque;
use std::sync::Arc;

use xs_proto::TxId;

use super::token::WatchToken;

/// A request for which no caller waits.
#[derive(Debug)]
pub(crate) enum Housekeeping {
    /// Abort a transaction that its owner has dropped.
    Abort(TxId),
    /// Remove a watch that its owner has dropped.
    Unwatch { path: Arc<str>, token: WatchToken },
    /// Set a watch again on a new connection.
    WatchAgain(WatchToken),
}

/// The queue of such requests, which are sent as soon as there is room for them in flight.
///
/// Its length is bounded by the number of transactions and watches that the caller has made.
#[derive(Debug, Default)]
pub(crate) struct HousekeepingQueue {
    requests: VecDeque<Housekeeping>,
    /// The number of requests that were sent and are not answered.
    pub(super) in_flight: usize,
}

/// The number of such requests that are in flight together, a quarter of
/// [`ClientConnection::MAX_PENDING`](xs_proto::ClientConnection::MAX_PENDING): a client that sets
/// thousands of watches again leaves room for its callers.
const MOST_IN_FLIGHT: usize = 1024;

impl HousekeepingQueue {
    pub(crate) fn push(&mut self, request: Housekeeping) {
        self.requests.push_back(request);
    }

    /// Takes the next request, unless too many are in flight.
    pub(crate) fn pop(&mut self) -> Option<Housekeeping> {
        if self.in_flight >= MOST_IN_FLIGHT {
            return None;
        }
        self.requests.pop_front()
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self) {
        self.in_flight -= 1;
    }

    /// The connection is lost: there is nothing left to clean up.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
