//! `xs chmod`: sets permissions.

use clap::Args;
use xs_client::{Error, Permission, Permissions, Result, Tree};

use crate::ancestors::ancestors;

/// Set the permissions of a node
///
/// Several nodes are changed in one transaction. If other clients change them in several attempts,
/// -r goes on without a transaction, with a warning.
///
/// PERM is a letter and a domain ID: n5 (no access), r5 (read), w5 (write) or b5 (read and write).
/// The first PERM names the owner, which always has full access; its letter applies to all
/// domains that are not listed.
#[derive(Debug, Args)]
pub(crate) struct Chmod {
    /// Also change the parents of the node
    #[arg(short, long)]
    pub(crate) upto: bool,
    /// Also change all nodes below the node
    #[arg(short, long)]
    pub(crate) recurse: bool,
    /// Path of the node
    pub(crate) path: String,
    /// Permissions, starting with the owner
    #[arg(required = true, value_name = "PERM")]
    pub(crate) perms: Vec<Permission>,
}

/// How many nodes `chmod -r` changes in one round trip.
const NODES_IN_BATCH: usize = 256;

impl Chmod {
    pub(super) fn run(&self, tree: &Tree) -> Result<bool> {
        let Some(perms) = Permissions::from_list(self.perms.iter().copied()) else {
            return Err(Error::other("chmod: no permission given"));
        };
        tree.set_perms(&self.path, &perms)?;
        if self.upto {
            let parents = ancestors(&self.path).map(|parent| (parent, &perms));
            tree.set_perms_many(parents).into_iter().collect::<Result<()>>()?;
        }
        if self.recurse {
            let below = tree.walk(&self.path).skip(1);
            let mut paths = below.map(|node| node.children.map(|_| node.path)).peekable();
            while paths.peek().is_some() {
                let batch = paths.by_ref().take(NODES_IN_BATCH).collect::<Result<Vec<_>>>()?;
                let results = tree.set_perms_many(batch.iter().map(|path| (path, &perms)));
                // A node may be removed between the walk and the change.
                let is_gone = |result: &Result<()>| result.as_ref().is_err_and(Error::is_not_found);
                let results = results.into_iter().filter(|result| !is_gone(result));
                results.collect::<Result<()>>()?;
            }
        }
        Ok(true)
    }
}
