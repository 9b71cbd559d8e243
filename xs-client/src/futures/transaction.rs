//! Transactions, as futures.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::time::Instant;

use super::alarm::sleep_until;
use super::client::Client;
use super::tree::Tree;
use crate::error::Result;
use crate::op;
use crate::transaction::{Open, Retries, Retry, interrupted, is_lost, may_be_lost, probe};

/// An open transaction; see [`xs_client::Transaction`](crate::Transaction). Dropping it aborts it.
#[must_use = "dropping it aborts the transaction"]
pub struct Transaction {
    tree: Tree,
    _open: Open,
}

impl Client {
    /// Starts a transaction.
    pub async fn start_transaction(&self) -> Result<Transaction> {
        let pending = self.start(&op::transaction_start(), self.blocking.deadline()).await?;
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
    /// client
    ///     .transaction(|tree| async move {
    ///         let next = tree.read_parsed::<u32>("/counter").await? + 1;
    ///         tree.write_display("/counter", next).await?;
    ///         Ok(next)
    ///     })
    ///     .await
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
        mut body: impl FnMut(Tree) -> F,
    ) -> Result<T> {
        let mut retry = Retry::new(retries);
        loop {
            let tx = self.start_transaction().await?;
            let result = match body(tx.tree.clone()).await {
                Ok(value) => tx.commit().await.map(|()| value),
                Err(error) if may_be_lost(&error) && is_lost(&tx.run(&probe()).await) => {
                    Err(interrupted(&error))
                }
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_conflict() => {
                    let at = Instant::now() + retry.pause(error)?;
                    sleep_until(&self.blocking.handle, at).await;
                }
                result => return result,
            }
        }
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
