//! The daemon's side of a connection.

use std::collections::BTreeMap;
use std::fmt;

use xs_proto::DomId;

use super::outbox::Outbox;
use crate::mock::store::transaction::Transaction;

/// The number of a connection. It is not reused during the lifetime of the xenstored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) domid: DomId,
    pub(super) outbox: Outbox,
    pub(crate) transactions: BTreeMap<u32, Transaction>,
    /// The id of the transaction that was started last.
    last_transaction: u32,
    /// Whether the connection is in the daemon's list of those with new output.
    pub(super) is_dirty: bool,
}

impl Conn {
    pub(super) fn new(domid: DomId, outbox: Outbox) -> Self {
        let transactions = BTreeMap::new();
        Conn { domid, outbox, transactions, last_transaction: 0, is_dirty: false }
    }

    /// Stores a new transaction under an unused id, which is returned.
    pub(crate) fn add_transaction(&mut self, transaction: Transaction) -> u32 {
        loop {
            self.last_transaction = self.last_transaction.wrapping_add(1);
            let id = self.last_transaction;
            if id != 0 && !self.transactions.contains_key(&id) {
                self.transactions.insert(id, transaction);
                return id;
            }
        }
    }
}
