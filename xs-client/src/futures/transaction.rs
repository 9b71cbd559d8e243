//! Transactions, as futures.

use std::fmt;
use std::future::Future;
use std::ops::Deref;

use super::client::Client;
use super::tree::Tree;
use super::waiting::sleep_until;
use crate::error::Error;
use crate::op;
use crate::transaction::{
    Open, Result, Retries, Retry, Verdict, if_committed, is_lost, judge, probe,
};

/// An open transaction; see [`xs_client::Transaction`](crate::Transaction). Dropping it aborts it.
#[must_use = "dropping it aborts the transaction"]
pub struct Transaction {
    tree: Tree,
    _open: Open,
}

impl Client {
    /// Starts a transaction.
    pub async fn start_transaction(&self) -> Result<Transaction> {
        let pending = self.start(&op::transaction_start(), self.blocking.task_deadline()).await?;
        let scope = pending.scope().await?;
        let tree = self.blocking.in_transaction(scope);
        Ok(Transaction { _open: Open::new(&tree), tree: Tree(tree) })
    }

    /// Runs `body` in a transaction and commits it, and repeats that after a conflict; see
    /// [`xs_client::Client::transaction`](crate::Client::transaction). `body` gets the tree as the
    /// transaction sees it.
    ///
    /// ```
    /// # use xs_client::futures::Client;
    /// # async fn count(client: Client) -> xs_client::Result<u32> {
    /// let path = String::from("/counter");
    /// let next = client
    ///     .transaction(async |tree| {
    ///         // `path` is captured by reference.
    ///         let next = tree.read_parsed::<u32>(&path).await? + 1;
    ///         tree.write_display(&path, next).await?;
    ///         Ok(next)
    ///     })
    ///     .await?;
    /// # Ok(next)
    /// # }
    /// ```
    ///
    /// If the closure moves the values that it captures, each attempt needs clones of them.
    /// Attempts share other state that they change, for example in an atomic:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # use xs_client::futures::Client;
    /// # async fn publish(client: Client, name: Arc<str>) -> xs_client::Result<u32> {
    /// let attempts = AtomicU32::new(0);
    /// let count = &attempts;
    /// client
    ///     .transaction(move |tree| {
    ///         let name = name.clone();
    ///         async move {
    ///             count.fetch_add(1, Ordering::Relaxed);
    ///             tree.write("/vm/name", &*name).await
    ///         }
    ///     })
    ///     .await?;
    /// # Ok(attempts.into_inner())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as the blocking method.
    pub async fn transaction<T, F: Future<Output = Result<T>>>(
        &self,
        body: impl FnMut(Tree) -> F,
    ) -> Result<T> {
        self.transaction_with(Retries::default(), body).await
    }

    /// Like [`transaction`](Self::transaction), with another limit on the attempts.
    pub async fn transaction_with<T, F: Future<Output = Result<T>>>(
        &self,
        retries: Retries,
        body: impl FnMut(Tree) -> F,
    ) -> Result<T> {
        self.repeat(retries, body, judge).await
    }

    /// Like [`transaction`](Self::transaction), with an error type of the caller's choice; see
    /// [`xs_client::Client::try_transaction`](crate::Client::try_transaction).
    ///
    /// # Errors
    /// Returns the same errors as the blocking method.
    pub async fn try_transaction<T, E: From<Error>, F: Future<Output = Result<T, E>>>(
        &self,
        body: impl FnMut(Tree) -> F,
    ) -> Result<T, E> {
        self.try_transaction_with(Retries::default(), body).await
    }

    /// Like [`try_transaction`](Self::try_transaction), with another limit on the attempts.
    pub async fn try_transaction_with<T, E: From<Error>, F: Future<Output = Result<T, E>>>(
        &self,
        retries: Retries,
        body: impl FnMut(Tree) -> F,
    ) -> Result<T, E> {
        self.repeat(retries, body, |_| Verdict::MaybeLost).await
    }

    async fn repeat<T, E: From<Error>, F: Future<Output = Result<T, E>>>(
        &self,
        retries: Retries,
        mut body: impl FnMut(Tree) -> F,
        judge: fn(&E) -> Verdict,
    ) -> Result<T, E> {
        let mut retry = Retry::new(retries);
        loop {
            if let Some(value) = self.attempt(&mut body, judge).await? {
                return Ok(value);
            }
            let handle = &self.blocking.handle;
            sleep_until(handle, handle.task_now() + retry.pause()?).await;
        }
    }

    /// Runs `body` once. Returns `None` after a conflict.
    async fn attempt<T, E: From<Error>, F: Future<Output = Result<T, E>>>(
        &self,
        body: &mut impl FnMut(Tree) -> F,
        judge: fn(&E) -> Verdict,
    ) -> Result<Option<T>, E> {
        let tx = self.start_transaction().await?;
        let error = match body(tx.tree.clone()).await {
            Ok(value) => return Ok(if_committed(tx.commit().await)?.map(|()| value)),
            Err(error) => error,
        };
        let is_conflict = match judge(&error) {
            Verdict::Final => false,
            Verdict::Conflict => true,
            Verdict::MaybeLost => is_lost(&tx.run(&probe()).await),
        };
        if is_conflict { Ok(None) } else { Err(error) }
    }
}

impl Transaction {
    /// Commits the transaction; see [`commit`](crate::Transaction::commit).
    pub async fn commit(self) -> Result<()> {
        let op = op::transaction_end(true);
        self.tree.run(&op).await
    }

    /// Aborts the transaction, which discards all its changes.
    pub async fn abort(self) -> Result<()> {
        let op = op::transaction_end(false);
        self.tree.run(&op).await
    }
}

impl Deref for Transaction {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.tree.0.scope.tx_id)
            .field("connection", &self.tree.0.handle)
            .finish()
    }
}
