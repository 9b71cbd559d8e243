//! Creating a node with permissions, so that no other client sees it without them.

use xs_proto::Permissions;

use crate::client::Client;
use crate::error::Result;
use crate::op;
use crate::tree::Tree;

impl Tree {
    /// Creates a node with an empty value and the permissions `perms`, and its missing ancestors.
    ///
    /// No other client sees the new node with other permissions: outside of a transaction, this
    /// runs one. If the node exists, only its permissions change. Missing ancestors get the
    /// permissions of their parents.
    ///
    /// ```
    /// # use xs_client::{Client, Permissions};
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// // Domain 5 owns the node, and domain 0 may read it.
    /// client.create("/local/domain/5/device", &Permissions::owned_by(5).read(0))?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir), [`set_perms`](Self::set_perms) and
    /// [`transaction`](Client::transaction).
    pub fn create(&self, path: impl AsRef<str>, perms: &Permissions) -> Result<()> {
        create(self, path.as_ref(), perms)
    }
}

fn create(tree: &Tree, path: &str, perms: &Permissions) -> Result<()> {
    if !tree.scope.is_transaction() {
        let client = Client::from_tree(tree.clone());
        return client.transaction(|tx| create(tx, path, perms));
    }
    tree.run_many([op::mkdir(path), op::set_perms(path, perms)]).into_iter().collect()
}
