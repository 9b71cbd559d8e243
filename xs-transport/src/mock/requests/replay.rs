//! The log of a transaction on a snapshot, and its replay on commit.

use xs_proto::{ErrorCode, Header, MessageType};

use super::answer::{Answer, DONE, Result};
use super::call::Call;
use crate::mock::daemon::domains::is_privileged;
use crate::mock::store::Store;
use crate::mock::store::snapshot::{Logged, Snapshot};
use crate::mock::store::transaction::Transaction;

impl Call<'_> {
    /// Returns whether the transaction has as many requests as it may.
    pub(super) fn transaction_is_full(&self) -> bool {
        let snapshot = self.snapshot();
        let max = self.behaviour().transaction_requests_max;
        !is_privileged(self.domid) && snapshot.is_some_and(|snapshot| snapshot.log.len() >= max)
    }

    /// Logs a request and its answer, if the transaction works on a snapshot. Returns the answer.
    pub(super) fn log(&mut self, header: Header, payload: &[u8], answer: Result) -> Result {
        if let Some(snapshot) = self.snapshot_mut() {
            let answer = answer.as_ref().map(Answer::to_reply).map_err(ErrorCode::clone);
            snapshot.push(Logged { header, payload: payload.into(), answer });
        }
        answer
    }

    /// Commits a transaction on a snapshot. If the store has changed since, the changes are merged,
    /// or the requests have to get the same answers again.
    pub(super) fn commit_snapshot(&mut self, snapshot: Snapshot) -> Result {
        if snapshot.changes.is_empty() {
            return DONE;
        }
        let merged = snapshot.merged(&self.daemon.store);
        let Snapshot { start, store, log, changes, .. } = snapshot;
        let committed = if start.generation() == self.daemon.store.generation() {
            store.clone()
        } else if let Some(merged) = merged {
            merged
        } else {
            self.replay(&log)?
        };
        self.daemon.store.replace_with(committed);
        for change in changes {
            self.daemon.fire_change(&change, &start, &store, &[]);
        }
        DONE
    }

    /// Repeats requests on the current store and returns the result.
    ///
    /// # Errors
    /// EAGAIN: a request has another answer than before, or cannot be repeated.
    fn replay(&mut self, log: &[Logged]) -> Result<Store> {
        self.transaction = Some(Transaction::snapshot(&self.daemon.store));
        let is_same = log.iter().all(|logged| self.repeats(logged));
        let transaction = self.transaction.take().filter(|_| is_same);
        match transaction {
            Some(Transaction::Snapshot(snapshot)) => Ok(snapshot.store),
            _ => Err(ErrorCode::Again),
        }
    }

    /// Repeats a request. Returns whether it can be repeated and gets the same answer.
    fn repeats(&mut self, logged: &Logged) -> bool {
        let Logged { header, payload, answer } = logged;
        match MessageType::from_u32(header.msg_type).filter(|msg_type| can_be_repeated(*msg_type)) {
            Some(msg_type) => {
                let again = self.dispatch(*header, msg_type, payload);
                again.map(|answer| answer.to_reply()) == *answer
            }
            None => false,
        }
    }
}

/// Returns whether oxenstored repeats requests of this type. A transaction with any other request
/// can be committed only if the store has not changed.
fn can_be_repeated(msg_type: MessageType) -> bool {
    use MessageType::{
        Directory, Error, GetDomainPath, GetPerms, Mkdir, Read, Rm, SetPerms, WatchEvent, Write,
    };
    matches!(
        msg_type,
        Directory
            | Error
            | GetDomainPath
            | GetPerms
            | Mkdir
            | Read
            | Rm
            | SetPerms
            | WatchEvent
            | Write
    )
}
