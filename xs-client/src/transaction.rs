//! Transactions, which are atomic and isolated.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use xs_proto::ErrorCode;

use crate::client::Client;
use crate::engine::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;
use crate::op::{self, Op};
use crate::tree::Tree;

/// An open transaction (xenstore.txt, "Transactions").
///
/// Other clients see its changes all at once when it is committed, and none of them otherwise.
/// Dropping the transaction aborts it. It dereferences to [`Tree`], which has the operations on
/// nodes.
///
/// When a guest is resumed, its transactions end. Their operations then fail with ENOENT or EIO, and
/// [`commit`](Self::commit) reports a conflict. [`Client::transaction`] repeats such a transaction.
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let tx = client.start_transaction()?;
/// tx.write("/a", "1")?;
/// assert!(client.read("/a").is_err());
/// tx.commit()?;
/// assert_eq!(client.read("/a")?, b"1");
/// # Ok::<(), xs_client::Error>(())
/// ```
#[must_use = "dropping it aborts the transaction"]
pub struct Transaction {
    tree: Tree,
    _open: Open,
}

impl Client {
    /// Starts a transaction, which counts against a quota of the daemon until it has ended.
    ///
    /// This call and [`commit`](Transaction::commit) wait for the daemon, and so block an event
    /// loop for a round trip each.
    pub fn start_transaction(&self) -> Result<Transaction> {
        let start = op::transaction_start();
        let (call, tx_id) = start.run(&self.handle, Scope::NONE, self.deadline())?;
        let tree = self.in_transaction(Scope::opened(tx_id, call));
        Ok(Transaction { _open: Open::new(&tree), tree })
    }

    /// Runs `body` in a transaction and commits it.
    ///
    /// If the transaction conflicts with the changes of another client (EAGAIN), `body` runs again
    /// in a new transaction after a short random pause. There are up to 100 attempts. `body` also
    /// runs again if it has failed in a transaction that ended when the guest was resumed.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// client.write("/counter", "1")?;
    /// let now = client.transaction(|tx| {
    ///     let next = tx.read_parsed::<u32>("/counter")? + 1;
    ///     tx.write_display("/counter", next)?;
    ///     Ok(next)
    /// })?;
    /// assert_eq!(now, 2);
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the error of `body`, which aborts the transaction, as a panic does. `body` can return
    /// the caller's own errors with [`Error::other`]. Returns [`ErrorKind::Conflict`] if each
    /// attempt conflicts with the changes of another client.
    ///
    /// If the connection is lost, `body` does not run again, even if the client reconnects: the
    /// daemon may have committed the transaction already.
    pub fn transaction<T>(&self, body: impl FnMut(&Transaction) -> Result<T>) -> Result<T> {
        self.transaction_with(Retries::default(), body)
    }

    /// Like [`transaction`](Self::transaction), with another limit on the attempts.
    pub fn transaction_with<T>(
        &self,
        retries: Retries,
        mut body: impl FnMut(&Transaction) -> Result<T>,
    ) -> Result<T> {
        let mut retry = Retry::new(retries);
        loop {
            let tx = self.start_transaction()?;
            // `body` may report a conflict too, for example of a nested transaction.
            let result = match body(&tx) {
                Ok(value) => tx.commit().map(|()| value),
                Err(error) if may_be_lost(&error) && is_lost(&tx.run(&probe())) => {
                    Err(interrupted(&error))
                }
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_conflict() => thread::sleep(retry.pause(error)?),
                result => return result,
            }
        }
    }
}

impl Transaction {
    /// Commits the transaction, which makes all its changes visible at once.
    ///
    /// # Errors
    /// Returns EAGAIN, for which [`Error::is_conflict`] is true, if the transaction conflicts with
    /// the changes of another client. It then has no effect, and can be repeated from its start.
    pub fn commit(self) -> Result<()> {
        self.tree.run(&op::transaction_end(true))
    }

    /// Aborts the transaction, which discards all its changes.
    pub fn abort(self) -> Result<()> {
        self.tree.run(&op::transaction_end(false))
    }
}

impl Deref for Transaction {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

/// Returns whether the transaction in which this error has occurred may have ended before.
///
/// When a guest is resumed, its kernel ends its transactions. xenstored then answers requests with
/// ENOENT (C) or EIO (OCaml), as if a node were missing.
pub(crate) fn may_be_lost(error: &Error) -> bool {
    use ErrorCode::{Io, NoEntry};
    // The caller's own error may be a consequence of such an answer.
    matches!(error.kind(), ErrorKind::Refused(NoEntry | Io) | ErrorKind::Other(_))
}

/// Returns an operation that tells whether its transaction has ended: the root node always exists.
pub(crate) fn probe() -> Op<'static, Vec<u8>> {
    op::read("/")
}

/// Returns whether a transaction has ended, given the result of [`probe`] in it.
pub(crate) fn is_lost(probed: &Result<Vec<u8>>) -> bool {
    probed
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), ErrorKind::Refused(_)) && may_be_lost(error))
}

/// Returns the conflict that is reported for a transaction that has ended before its commit, as the
/// kernel reports it for the commit.
pub(crate) fn interrupted(error: &Error) -> Error {
    Error::new("transaction", error.path(), ErrorKind::Refused(ErrorCode::Again))
}

/// A guard that aborts its transaction when dropped, unless the request that ends it is in flight.
#[derive(Debug)]
pub(crate) struct Open {
    handle: Arc<Handle>,
    scope: Scope,
}

impl Open {
    pub(crate) fn new(tree: &Tree) -> Self {
        Open { handle: tree.handle.clone(), scope: tree.scope }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.handle.lock().abort(self.scope);
    }
}

/// Limits on the attempts of a transaction and on the pauses between them.
///
/// Each pause is random, so that two clients that conflict do not conflict again. Its upper limit
/// doubles with each attempt, from `first_pause` up to `longest_pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The maximum number of attempts, at least 1. The default is 100.
    pub attempts: u32,
    /// The upper limit of the first pause. The default is 1 ms.
    pub first_pause: Duration,
    /// The upper limit of all pauses. The default is 100 ms.
    pub longest_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts: 100,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(100),
        }
    }
}

/// Counts the attempts of one transaction.
#[derive(Debug)]
pub(crate) struct Retry {
    retries: Retries,
    made: u32,
}

impl Retry {
    pub(crate) fn new(retries: Retries) -> Self {
        Retry { retries, made: 0 }
    }

    /// Returns how long to pause after an attempt that failed with this conflict.
    pub(crate) fn pause(&mut self, conflict: Error) -> Result<Duration> {
        self.made += 1;
        if self.made >= self.retries.attempts {
            let kind = ErrorKind::Conflict { attempts: self.made };
            return Err(Error::new("transaction", conflict.path(), kind));
        }
        let doubled = 1u32.checked_shl(self.made - 1).unwrap_or(u32::MAX);
        let most = self.retries.first_pause.saturating_mul(doubled).min(self.retries.longest_pause);
        // The keys of the standard library's hasher are random, and new for each hasher.
        let random = RandomState::new().build_hasher().finish() >> 11;
        Ok(most.mul_f64(random as f64 / (1u64 << 53) as f64))
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.tree.scope.tx_id)
            .field("connection", &self.tree.handle)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_and_attempts_are_limited() {
        let retries = Retries { attempts: 40, ..Retries::default() };
        let mut retry = Retry::new(retries);
        let conflict = || Error::new("commit", None, ErrorKind::Refused(ErrorCode::Again));
        for at in 0..39 {
            let most = retries.first_pause.saturating_mul(1 << at.min(20));
            let pause = retry.pause(conflict()).unwrap();
            assert!(pause <= most.min(retries.longest_pause), "{pause:?} at {at}");
        }
        let error = retry.pause(conflict()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { attempts: 40 }));
    }
}
