//! Creating a node with permissions, as a future.

use xs_proto::Permissions;

use super::client::Client;
use super::tree::Tree;
use crate::error::Result;
use crate::op;

impl Tree {
    /// See [`create`](crate::Tree::create).
    pub async fn create(&self, path: impl AsRef<str>, perms: &Permissions) -> Result<()> {
        let path = path.as_ref();
        if self.0.scope.is_transaction() {
            return create(self, path, perms).await;
        }
        let client = Client::new(crate::Client::from_tree(self.0.clone()));
        client.transaction(|tx| async move { create(&tx, path, perms).await }).await
    }
}

/// Creates the node in a transaction.
async fn create(tx: &Tree, path: &str, perms: &Permissions) -> Result<()> {
    let results = tx.run_many([op::mkdir(path), op::set_perms(path, perms)]).await;
    results.into_iter().collect()
}
