//! `xs cp` and `xs mv`: copies and moves subtrees.

use clap::Args;
use xs_client::{Client, Error, Result, Tree};
use xs_transport::mock::text::Line;

use super::restore::set_nodes;
use crate::error::{CommandError, CommandResult};
use crate::{home, subtree};

/// Copy a node and all nodes below it, with their permissions
///
/// All nodes are copied in one transaction: all or none. Fails if DESTINATION exists, unless
/// --force is given. Only dom0 can create nodes that belong to another domain.
#[derive(Debug, Args)]
pub(crate) struct Cp {
    #[command(flatten)]
    paths: Paths,
}

/// Move a node and all nodes below it, with their permissions
///
/// All nodes are moved in one transaction: all or none. Fails if DESTINATION exists, unless --force
/// is given. Only dom0 can create nodes that belong to another domain.
#[derive(Debug, Args)]
pub(crate) struct Mv {
    #[command(flatten)]
    paths: Paths,
}

#[derive(Debug, Args)]
struct Paths {
    /// Remove DESTINATION and all nodes below it first
    #[arg(short, long)]
    force: bool,
    /// Path of the node
    source: String,
    /// Path of the new node
    destination: String,
}

impl Cp {
    pub(crate) fn run(&self, client: &Client) -> CommandResult {
        self.paths.check(client, "cp")?;
        client.transaction(|tx| self.paths.copy(tx, "cp"))?;
        Ok(true)
    }
}

impl Mv {
    pub(crate) fn run(&self, client: &Client) -> CommandResult {
        self.paths.check(client, "mv")?;
        client.transaction(|tx| self.move_nodes(tx))?;
        Ok(true)
    }

    fn move_nodes(&self, tx: &Tree) -> Result<()> {
        self.paths.copy(tx, "mv")?;
        tx.rm(&self.paths.source)
    }
}

/// The commands in the shell, which has transactions and relative paths of its own.
#[cfg(feature = "shell")]
mod in_shell {
    use super::*;

    impl Cp {
        /// Copies in a transaction of the caller.
        pub(crate) fn perform(&self, client: &Client, tx: &Tree) -> CommandResult {
            self.paths.check(client, "cp")?;
            self.paths.copy(tx, "cp")?;
            Ok(true)
        }

        pub(crate) fn for_each_path(&mut self, change: impl FnMut(&mut String)) {
            self.paths.both().into_iter().for_each(change);
        }
    }

    impl Mv {
        /// Moves in a transaction of the caller.
        pub(crate) fn perform(&self, client: &Client, tx: &Tree) -> CommandResult {
            self.paths.check(client, "mv")?;
            self.move_nodes(tx)?;
            Ok(true)
        }

        pub(crate) fn for_each_path(&mut self, change: impl FnMut(&mut String)) {
            self.paths.both().into_iter().for_each(change);
        }
    }

    impl Paths {
        fn both(&mut self) -> [&mut String; 2] {
            [&mut self.source, &mut self.destination]
        }
    }
}

impl Paths {
    /// Refuses a destination below the source, and a source below the destination, which --force
    /// would remove.
    fn check(&self, client: &Client, command: &str) -> CommandResult<()> {
        let Paths { source, destination, .. } = self;
        // One of the paths may be relative.
        let (from, to) = (home::absolute(client, source)?, home::absolute(client, destination)?);
        if subtree::below(&to, &from).is_some() || subtree::below(&from, &to).is_some() {
            return Err(CommandError::new(format!(
                "{command}: {source} and {destination} are the same node, or one is below the other"
            )));
        }
        Ok(())
    }

    fn copy(&self, tx: &Tree, command: &str) -> Result<()> {
        let Paths { source, destination, force } = self;
        let nodes = subtree::complete(tx, source)?;
        if *force {
            tx.rm_if_exists(destination)?;
        } else if tx.exists(destination)? {
            return Err(Error::other(format!(
                "{command}: {destination} exists already; --force replaces it"
            )));
        }
        let copies: Vec<_> = nodes
            .into_iter()
            .filter_map(|line| {
                let path = subtree::at(destination, subtree::below(&line.path, source)?);
                Some(Line { path, ..line })
            })
            .collect();
        set_nodes(tx, &copies)
    }
}
