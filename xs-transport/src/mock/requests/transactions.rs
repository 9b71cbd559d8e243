//! TRANSACTION_START and TRANSACTION_END.

use std::sync::Arc;

use xs_proto::{ErrorCode, Header, Reply, TxId};

use super::answer::{Answer, DONE, INVALID, Result};
use super::args;
use super::call::Call;
use crate::mock::daemon::domains::{Domain, is_privileged};
use crate::mock::flavour::behaviour::{Bound, FinalNul, Isolation};
use crate::mock::store::quota::Quota;
use crate::mock::store::tracked::Tracked;
use crate::mock::store::transaction::Transaction;

impl Call<'_> {
    pub(super) fn transaction_start(&mut self) -> Result {
        if self.transaction.is_some() {
            return Err(ErrorCode::Busy);
        }
        let held = self.daemon.domains.get(self.domid).map_or(0, |domain| domain.transactions);
        if self.is_used_up(Quota::Transactions, held, self.behaviour().bounds.transactions) {
            return Err(self.behaviour().quota_error.clone());
        }
        let transaction = match self.behaviour().isolation {
            Isolation::TrackedNodes => Transaction::tracked(&mut self.daemon.store),
            Isolation::Snapshot => Transaction::snapshot(&self.daemon.store),
        };
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            domain.transactions += 1;
            domain.held += transaction.footprint();
            let count = domain.transactions.into();
            self.daemon.domains.note(self.domid, Quota::Transactions, count);
        }
        let conn = self.daemon.conn_mut(self.conn).ok_or(ErrorCode::Io)?;
        let id = conn.add_transaction(transaction);
        Ok(Answer::Reply(Reply::Transaction(TxId(id))))
    }

    pub(super) fn transaction_end(&mut self, header: Header, payload: &[u8]) -> Result {
        let outcome = match self.behaviour().final_nul {
            FinalNul::Required => args::only(payload),
            FinalNul::Separates => args::parts(payload).next(),
        };
        let commit = match outcome {
            Some(b"T") => true,
            Some(b"F") => false,
            _ => return self.log(header, payload, Err(INVALID)),
        };
        match self.take_transaction().ok_or(ErrorCode::NoEntry)? {
            _ if !commit => DONE,
            Transaction::Tracked(tracked) => self.commit_tracked(tracked),
            Transaction::Snapshot(snapshot) => self.commit_snapshot(*snapshot),
        }
    }

    /// Commits a transaction that tracks the nodes it accesses, unless one of them has changed.
    fn commit_tracked(&mut self, transaction: Tracked) -> Result {
        if transaction.failed {
            return Err(ErrorCode::NoMemory);
        }
        if transaction.created && !is_privileged(self.domid) {
            for (domid, change) in &transaction.nodes {
                let domain = self.daemon.domains.get(*domid).filter(|_| !is_privileged(*domid));
                let nodes = self.daemon.store.usage_of(*domid).nodes + change;
                let allowed = |domain: &Domain| Bound::Below.allowed(domain.quotas[Quota::Nodes]);
                if domain.is_some_and(|domain| nodes > i64::from(allowed(domain))) {
                    return Err(self.behaviour().quota_error.clone());
                }
            }
        }
        for change in transaction.into_changes(&self.daemon.store)? {
            match change.node {
                Some(node) => {
                    let mut node = Arc::unwrap_or_clone(node);
                    node.generation = self.daemon.store.next_generation();
                    self.daemon.store.put(node);
                }
                None => self.daemon.store.remove(&change.path),
            }
            if let Some(scope) = change.fire {
                self.daemon.fire(&change.path, None, scope, change.old_perms.as_ref());
            }
        }
        DONE
    }
}
