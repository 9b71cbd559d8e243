//! The transactions that are open on the current connection, and the effects of RESET_WATCHES.

use std::collections::BTreeSet;

use xs_proto::TxId;

use super::calls::{CallId, CallKey};
use super::token::WatchToken;

/// The transaction of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) tx_id: TxId,
    /// The generation of the connection on which the transaction was opened.
    pub(super) generation: u64,
}

impl Scope {
    /// Outside any transaction.
    pub(crate) const NONE: Scope = Scope { tx_id: TxId::NONE, generation: 0 };

    /// Returns whether this is the scope of a transaction.
    pub(crate) fn is_transaction(self) -> bool {
        self.tx_id != TxId::NONE
    }

    /// Returns the scope of the transaction that a call has opened.
    pub(crate) fn opened(tx_id: TxId, call: CallId) -> Self {
        Scope { tx_id, generation: call.generation }
    }
}

/// The table of transactions.
///
/// With it, the client refuses requests in a transaction that has ended. The C daemon answers them
/// with ENOENT, which a caller would take for a missing node.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: BTreeSet<TxId>,
    /// The calls of TRANSACTION_START in flight.
    starting: BTreeSet<CallKey>,
    /// The RESET_WATCHES in flight.
    resets: Vec<Reset>,
    /// The number of RESET_WATCHES that were submitted.
    submitted_resets: u64,
}

/// A RESET_WATCHES in flight. If the daemon grants it, these watches and transactions end, which
/// existed when it was submitted.
#[derive(Debug)]
struct Reset {
    call: CallKey,
    watches: Vec<WatchToken>,
    open: BTreeSet<TxId>,
    starting: BTreeSet<CallKey>,
}

impl Transactions {
    pub(crate) fn is_open(&self, tx_id: TxId) -> bool {
        self.open.contains(&tx_id)
    }

    /// Removes a transaction whose end is submitted. Returns false if it was not open.
    pub(crate) fn end(&mut self, tx_id: TxId) -> bool {
        self.open.remove(&tx_id)
    }

    /// Notes that TRANSACTION_START was submitted.
    pub(crate) fn starting(&mut self, call: CallKey) {
        self.starting.insert(call);
    }

    /// Notes the answer to TRANSACTION_START. Without a `tx_id`, it failed.
    pub(crate) fn started(&mut self, call: CallKey, tx_id: Option<TxId>) {
        self.starting.remove(&call);
        for reset in &mut self.resets {
            if reset.starting.remove(&call) {
                reset.open.extend(tx_id);
            }
        }
        self.open.extend(tx_id);
    }

    /// Notes that RESET_WATCHES was submitted while the daemon knew these watches.
    pub(crate) fn begin_reset(&mut self, call: CallKey, watches: Vec<WatchToken>) {
        let (open, starting) = (self.open.clone(), self.starting.clone());
        self.resets.push(Reset { call, watches, open, starting });
        self.submitted_resets += 1;
    }

    /// Returns how many RESET_WATCHES were submitted, and how many of them were answered.
    pub(crate) fn count_resets(&self) -> (u64, u64) {
        (self.submitted_resets, self.submitted_resets - self.resets.len() as u64)
    }

    /// Notes the answer to RESET_WATCHES. Returns the watches that have ended.
    pub(crate) fn end_reset(&mut self, call: CallKey, granted: bool) -> Vec<WatchToken> {
        let Some(at) = self.resets.iter().position(|reset| reset.call == call) else {
            return Vec::new();
        };
        let reset = self.resets.remove(at);
        if !granted {
            return Vec::new();
        }
        self.open.retain(|tx_id| !reset.open.contains(tx_id));
        reset.watches
    }

    /// Forgets all transactions, which end with their connection.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
