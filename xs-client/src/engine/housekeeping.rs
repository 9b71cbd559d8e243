//! Requests of the engine itself, for which no caller waits.

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

/// The housekeeping that waits for room in flight.
///
/// Its length is bounded by the number of transactions and watches of the program.
#[derive(Debug, Default)]
pub(crate) struct HousekeepingQueue {
    requests: VecDeque<Housekeeping>,
    /// The number of requests that were submitted and are not answered.
    pub(super) in_flight: usize,
}

/// The number of these requests that may be in flight together: a quarter of
/// [`ClientConnection::MAX_PENDING`](xs_proto::ClientConnection::MAX_PENDING), so that a client
/// that sets thousands of watches again leaves room for its callers.
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

    /// Notes that a request was answered.
    pub(crate) fn answered(&mut self) {
        self.in_flight -= 1;
    }

    /// Forgets all requests, since a lost connection leaves nothing to clean up.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
