//! Transactions: all or nothing, and nobody else in between.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::core::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::link::Handle;
use crate::op;
use crate::tree::Tree;

/// An open transaction: what is done through it becomes visible to others all at once, when it is
/// committed, or not at all (xenstore.txt, "Transactions").
///
/// It dereferences to [`Tree`], which has the operations on nodes. Dropping it aborts it.
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let tx = client.start_transaction()?;
/// tx.write("/a", "1")?;
/// assert!(client.read("/a").is_err());
/// tx.commit()?;
/// assert_eq!(client.read("/a")?, b"1");
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Transaction {
    tree: Tree,
    _open: Open,
}

impl Client {
    /// Opens a transaction. It counts against a quota until it has ended. This waits for the daemon,
    /// as committing does: an event loop is held up for a round trip.
    pub fn start_transaction(&self) -> Result<Transaction> {
        let link = &self.handle;
        let op = op::transaction_start();
        let mut deadline = self.deadline();
        let asked = link.ask(Scope::NONE, &mut deadline, &op.label, &op.request)?;
        let call = asked.call;
        let scope = Scope::opened(asked.take(op.label, Scope::NONE)?, call);
        let tree = self.in_transaction(scope);
        Ok(Transaction { _open: Open::new(&tree), tree })
    }

    /// Runs `body` in a transaction and commits it. If others have changed meanwhile what the
    /// transaction has touched (EAGAIN), all of it is run again, after a short random pause, up to
    /// 100 times.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
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
    /// That of `body`, which aborts the transaction, as does a panic; errors of the caller's own
    /// travel in [`Error::other`]. [`ErrorKind::Conflict`]: each attempt met changes made by
    /// others. If the connection is lost, `body` is not run again, even if the client reconnects:
    /// after a commit that was lost it is not known whether it happened.
    pub fn transaction<T>(&self, body: impl FnMut(&Transaction) -> Result<T>) -> Result<T> {
        self.transaction_with(Retries::default(), body)
    }

    /// Like [`transaction`](Self::transaction), with another bound on the attempts.
    pub fn transaction_with<T>(
        &self,
        retries: Retries,
        mut body: impl FnMut(&Transaction) -> Result<T>,
    ) -> Result<T> {
        let mut retry = Retry::new(retries);
        loop {
            let tx = self.start_transaction()?;
            // A conflict may show inside, too: in a transaction nested by hand, say.
            let result = body(&tx).and_then(|value| tx.commit().map(|()| value));
            match result {
                Err(error) if error.is_conflict() => thread::sleep(retry.pause(error)?),
                result => return result,
            }
        }
    }
}

impl Transaction {
    /// Makes all changes visible at once.
    ///
    /// # Errors
    /// EAGAIN, for which [`Error::is_conflict`] holds: others have changed meanwhile what the
    /// transaction has touched, and nothing has happened. Run it again from its start.
    pub fn commit(self) -> Result<()> {
        self.tree.run(&op::transaction_end(true))
    }

    /// Forgets all changes.
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

/// Aborts a transaction, unless its end is under way.
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
        let mut guard = self.handle.drive.lock();
        if guard.abort(self.scope) {
            self.handle.flush(guard);
        }
    }
}

/// How often a transaction is tried, and how long the pauses are.
///
/// The pause before another attempt is random, so that two who collide do not go on doing so, and
/// grows with each attempt: the n-th is at most `first_pause` × 2ⁿ, and at most `longest_pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How many attempts are made in all; at least 1. 100 unless set.
    pub attempts: u32,
    /// The upper end of the first pause. 1 ms unless set.
    pub first_pause: Duration,
    /// The upper end of all pauses. 100 ms unless set.
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

    /// An attempt failed with this conflict: how long to wait before the next one.
    pub(crate) fn pause(&mut self, conflict: Error) -> Result<Duration> {
        self.made += 1;
        if self.made >= self.retries.attempts {
            let kind = ErrorKind::Conflict { attempts: self.made };
            return Err(Error::new("transaction", conflict.path(), kind));
        }
        let doubled = 1u32.checked_shl(self.made - 1).unwrap_or(u32::MAX);
        let most = self.retries.first_pause.saturating_mul(doubled).min(self.retries.longest_pause);
        // Keys of the standard library's hasher are random, and new each time.
        let random = RandomState::new().build_hasher().finish() >> 11;
        Ok(most.mul_f64(random as f64 / (1u64 << 53) as f64))
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::ErrorCode;

    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_attempts_end() {
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
