//! `xs restore`: creates nodes from the output of `xs dump`.

use clap::Args;
use xs_client::{Client, Tree, op};
use xs_transport::mock::text::Line;

use crate::error::CommandResult;
use crate::input;
use crate::output;
use crate::progress::Progress;
use crate::subtree::MAX_NODES_IN_TRANSACTION;

/// Create nodes from the output of `dump`
///
/// Sets the values and permissions of the nodes in the input, and removes no nodes. The input is
/// checked before anything is changed. Up to 1000 nodes are set in one transaction: all or none. If
/// a larger restore fails, part of the nodes may have been set.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// File to read [default: standard input]
    file: Option<String>,
}

/// How many nodes are set in one round trip, outside a transaction.
const NODES_IN_BATCH: usize = 256;

impl Restore {
    pub(crate) fn run(&self, client: &Client) -> CommandResult {
        let lines = input::read_dump(self.file.as_deref())?;
        if lines.len() <= MAX_NODES_IN_TRANSACTION {
            client.transaction(|tx| set_nodes(tx, &lines))?;
            return Ok(true);
        }
        let mut progress = Progress::new("restore", Some(lines.len()));
        for (index, batch) in lines.chunks(NODES_IN_BATCH).enumerate() {
            if let Err(error) = set_nodes(client, batch) {
                drop(progress);
                let done = index * NODES_IN_BATCH;
                let total = lines.len();
                output::message(format_args!(
                    "xs: failed after {done} of {total} nodes; the restore is incomplete"
                ));
                return Err(error.into());
            }
            progress.add(batch.len());
        }
        Ok(true)
    }
}

/// Sets nodes in one round trip. Parents precede their children.
pub(super) fn set_nodes(tree: &Tree, lines: &[Line]) -> xs_client::Result<()> {
    let ops = lines.iter().flat_map(|Line { path, perms, value }| {
        let node = match value {
            Some(value) => op::write(path, value),
            None => op::mkdir(path),
        };
        [Some(node), perms.as_ref().map(|perms| op::set_perms(path, perms))]
    });
    tree.run_many(ops.flatten()).into_iter().collect()
}
