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
use crate::error::{Error, ErrorKind};
use crate::handle::Handle;
use crate::op::{self, Op};
use crate::tree::Tree;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// An open transaction (xenstore.txt, "Transactions").
///
/// Other clients see its changes all at once when it is committed, and none of them otherwise.
/// Dropping the transaction aborts it. It dereferences to [`Tree`], which has the operations on
/// nodes.
///
/// When a guest is resumed after it was suspended or migrated, its transactions end. Their
/// operations then fail with ENOENT or EIO, and [`commit`](Self::commit) reports a conflict.
/// [`Client::transaction`] repeats such a transaction.
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
    ///
    /// # Errors
    /// ENOSPC or EQUOTA: the domain has too many open transactions.
    #[doc(alias("xs_transaction_start", "transaction_start", "begin"))]
    pub fn start_transaction(&self) -> Result<Transaction> {
        let start = op::transaction_start();
        let (call, tx_id) = start.run(&self.handle, Scope::NONE, self.deadline())?;
        let tree = self.in_transaction(Scope::opened(tx_id, call));
        Ok(Transaction { _open: Open::new(&tree), tree })
    }

    /// Runs `body` in a transaction and commits it.
    ///
    /// If the transaction conflicts with the changes of another client (EAGAIN), `body` runs again
    /// in a new transaction after a short random pause, so it must not have other effects. There
    /// are up to 100 attempts. The timeout applies to each operation, not to all attempts together.
    /// `body` also runs again if it has failed in a transaction that ended when the guest was
    /// resumed.
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
    /// `?` also works on the errors of the standard library's parsers, on [`std::io::Error`], on text
    /// and on `Box<dyn Error + Send + Sync>`; [`Error::other`] wraps any other error. To return an
    /// error type of the caller's choice, use [`try_transaction`](Self::try_transaction).
    ///
    /// # Errors
    /// Returns the error of `body`, which aborts the transaction, as a panic does. Returns
    /// [`ErrorKind::Conflict`] if each attempt conflicts with the changes of another client.
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
        body: impl FnMut(&Transaction) -> Result<T>,
    ) -> Result<T> {
        self.repeat(retries, body, judge)
    }

    /// Like [`transaction`](Self::transaction), with an error type of the caller's choice, such as
    /// `Box<dyn Error>`.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// #[derive(Debug)]
    /// enum Error {
    ///     NoPort,
    ///     Xenstore(xs_client::Error),
    /// }
    ///
    /// impl From<xs_client::Error> for Error {
    ///     fn from(error: xs_client::Error) -> Self {
    ///         Error::Xenstore(error)
    ///     }
    /// }
    ///
    /// let connected = client.try_transaction(|tx| {
    ///     let port = tx.read_opt("/device/port")?.ok_or(Error::NoPort)?;
    ///     tx.write("/device/state", "4")?;
    ///     Ok(port)
    /// });
    /// assert!(matches!(connected, Err(Error::NoPort)));
    /// assert!(!client.exists("/device/state").unwrap());
    /// ```
    ///
    /// # Errors
    /// As for [`transaction`](Self::transaction). An error of `body` is returned unchanged, unless
    /// the transaction has already ended because the guest was resumed; then `body` runs again.
    pub fn try_transaction<T, E: From<Error>>(
        &self,
        body: impl FnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.try_transaction_with(Retries::default(), body)
    }

    /// Like [`try_transaction`](Self::try_transaction), with another limit on the attempts.
    pub fn try_transaction_with<T, E: From<Error>>(
        &self,
        retries: Retries,
        body: impl FnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.repeat(retries, body, |_| Verdict::MaybeLost)
    }

    /// Runs `body` in a transaction until there is no conflict. `judge` tells what an error of `body`
    /// means.
    fn repeat<T, E: From<Error>>(
        &self,
        retries: Retries,
        mut body: impl FnMut(&Transaction) -> Result<T, E>,
        judge: fn(&E) -> Verdict,
    ) -> Result<T, E> {
        let mut retry = Retry::new(retries);
        loop {
            if let Some(value) = self.attempt(&mut body, judge)? {
                return Ok(value);
            }
            thread::sleep(retry.pause()?);
        }
    }

    /// Runs `body` once. Returns `None` after a conflict.
    fn attempt<T, E: From<Error>>(
        &self,
        body: &mut impl FnMut(&Transaction) -> Result<T, E>,
        judge: fn(&E) -> Verdict,
    ) -> Result<Option<T>, E> {
        let tx = self.start_transaction()?;
        let error = match body(&tx) {
            Ok(value) => return Ok(if_committed(tx.commit())?.map(|()| value)),
            Err(error) => error,
        };
        let is_conflict = match judge(&error) {
            Verdict::Final => false,
            Verdict::Conflict => true,
            Verdict::MaybeLost => is_lost(&tx.run(&probe())),
        };
        if is_conflict { Ok(None) } else { Err(error) }
    }
}

impl Transaction {
    /// Commits the transaction, which makes all its changes visible at once.
    ///
    /// # Errors
    /// Returns EAGAIN, for which [`Error::is_conflict`] is true, if the transaction conflicts with
    /// the changes of another client. It then has no effect, and can be repeated from its start.
    #[doc(alias("xs_transaction_end", "transaction_end"))]
    pub fn commit(self) -> Result<()> {
        self.tree.run(&op::transaction_end(true))
    }

    /// Aborts the transaction, which discards all its changes.
    #[doc(alias("xs_transaction_end", "rollback"))]
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

/// The meaning of an error that the body of a transaction has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The caller gets the error.
    Final,
    /// The body has reported a conflict, for example of a nested transaction.
    Conflict,
    /// The transaction may have ended before, and the error may be a consequence.
    MaybeLost,
}

/// Judges an error of a body.
///
/// When a guest is resumed, its kernel ends its transactions. xenstored then answers requests with
/// ENOENT (C) or EIO (OCaml), as if a node were missing. The caller's own error may be a consequence
/// of such an answer.
pub(crate) fn judge(error: &Error) -> Verdict {
    use ErrorCode::{Io, NoEntry};
    match error.kind() {
        _ if error.is_conflict() => Verdict::Conflict,
        ErrorKind::Refused(NoEntry | Io) | ErrorKind::Other(_) => Verdict::MaybeLost,
        _ => Verdict::Final,
    }
}

/// Returns `None` if the commit has failed with a conflict.
pub(crate) fn if_committed(commit: Result<()>) -> Result<Option<()>> {
    match commit {
        Ok(()) => Ok(Some(())),
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns an operation that tells whether its transaction has ended: the root node always exists.
pub(crate) fn probe() -> Op<'static, Vec<u8>> {
    op::read("/")
}

/// Returns whether a transaction has ended, given the result of [`probe`] in it.
pub(crate) fn is_lost(probed: &Result<Vec<u8>>) -> bool {
    use ErrorCode::{Io, NoEntry};
    matches!(probed, Err(error) if matches!(error.kind(), ErrorKind::Refused(NoEntry | Io)))
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
/// Each pause is random, so that two clients that conflict do not conflict again. The upper limit
/// of a pause doubles with each attempt, from `first_pause` up to `longest_pause`.
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

    /// Returns how long to pause after an attempt that failed with a conflict.
    pub(crate) fn pause(&mut self) -> Result<Duration> {
        self.made += 1;
        if self.made >= self.retries.attempts {
            let kind = ErrorKind::Conflict { attempts: self.made };
            return Err(Error::new("transaction", None, kind));
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
        for at in 0..39 {
            let most = retries.first_pause.saturating_mul(1 << at.min(20));
            let pause = retry.pause().unwrap();
            assert!(pause <= most.min(retries.longest_pause), "{pause:?} at {at}");
        }
        let error = retry.pause().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { attempts: 40 }));
    }
}
