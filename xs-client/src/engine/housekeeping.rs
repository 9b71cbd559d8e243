//! Requests that the engine makes on its own account.

use std::collections::VecDeque;

use xs_proto::TxId;

use super::token::Token;

/// A request for which no caller waits.
#[derive(Debug)]
pub(crate) enum Housekeeping {
    /// Abort a transaction that its owner has dropped.
    Abort(TxId),
    /// Remove a watch that its owner has dropped.
    Unwatch { path: Box<str>, token: Token },
    /// Set a watch again on a new connection.
    WatchAgain(Token),
}

/// The queue of such requests, which are sent as soon as there is room for them in flight.
///
/// Its length is bounded by the number of transactions and watches that the caller has made.
#[derive(Debug, Default)]
pub(crate) struct HousekeepingQueue(VecDeque<Housekeeping>);

impl HousekeepingQueue {
    pub(crate) fn push(&mut self, request: Housekeeping) {
        self.0.push_back(request);
    }

    pub(crate) fn pop(&mut self) -> Option<Housekeeping> {
        self.0.pop_front()
    }

    /// The connection is lost: there is nothing left to clean up.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
