//! The commands that read and change nodes. Each works on the tree of a client or of a transaction.

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use xs_client::{Client, ErrorKind, Result, Retries, Tree};

use super::chmod::Chmod;
use super::exists::Exists;
use super::get_perms::GetPerms;
use super::list::List;
use super::ls::Ls;
use super::mkdir::Mkdir;
use super::read::Read;
use super::rm::Rm;
use super::write::WriteValues;
use crate::error::CommandResult;
use crate::output::{self, Output};

/// The attempts at a transaction that a command can do without. If other clients keep changing many
/// nodes, it might never succeed.
pub(crate) const FEW_ATTEMPTS: Retries = Retries {
    attempts: 5,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(100),
};

/// A command on nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    Read(Read),
    Write(WriteValues),
    Exists(Exists),
    List(List),
    Ls(Ls),
    Rm(Rm),
    Mkdir(Mkdir),
    Chmod(Chmod),
    GetPerms(GetPerms),
}

impl NodeCommand {
    /// Returns an error in the arguments that clap does not detect, if there is one.
    pub(crate) fn usage_error(&self) -> Option<&'static str> {
        match self {
            NodeCommand::Write(args) => args.usage_error(),
            _ => None,
        }
    }

    /// Calls `change` for each path.
    #[cfg(feature = "shell")]
    pub(crate) fn for_each_path(&mut self, mut change: impl FnMut(&mut String)) {
        match self {
            NodeCommand::Read(Read { paths, .. })
            | NodeCommand::Exists(Exists { paths })
            | NodeCommand::List(List { paths, .. })
            | NodeCommand::Ls(Ls { paths, .. })
            | NodeCommand::Rm(Rm { paths, .. })
            | NodeCommand::Mkdir(Mkdir { paths })
            | NodeCommand::GetPerms(GetPerms { paths, .. }) => paths.iter_mut().for_each(change),
            NodeCommand::Chmod(args) => change(&mut args.path),
            NodeCommand::Write(args) => {
                for path in args.pairs.iter_mut().step_by(2) {
                    let mut text = path.to_string_lossy().into_owned();
                    change(&mut text);
                    *path = text.into();
                }
            }
        }
    }

    /// Reads the files that the command needs.
    pub(crate) fn load(&mut self) -> CommandResult<()> {
        match self {
            NodeCommand::Write(args) => args.load(),
            _ => Ok(()),
        }
    }

    /// Runs the command, in a transaction if it needs several requests.
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        if let NodeCommand::Ls(ls) = self {
            // A tree may be too large for a transaction. Its nodes are printed as they are read.
            return Ok(ls.run(client, output)?);
        }
        let mut text = Vec::new();
        let mut in_transaction = |retries| {
            client.transaction_with(retries, |tx| {
                text.clear();
                self.perform(tx, &mut text)
            })
        };
        let result = if self.is_single_request() {
            self.perform(client, &mut text)
        } else if self.needs_transaction() {
            in_transaction(Retries::default())
        } else {
            match in_transaction(FEW_ATTEMPTS) {
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                    output::warning("other clients change these nodes: no transaction is used");
                    text.clear();
                    self.perform(client, &mut text)
                }
                result => result,
            }
        };
        // Output that precedes an error is printed, too.
        let written = output.write_all(&text);
        let answer = result?;
        written?;
        Ok(answer)
    }

    /// Runs the command on `tree`. Returns `false` if the answer is negative or incomplete.
    pub(crate) fn perform(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        match self {
            NodeCommand::Read(args) => args.run(tree, output),
            NodeCommand::Write(args) => args.run(tree),
            NodeCommand::Exists(args) => args.run(tree),
            NodeCommand::List(args) => args.run(tree, output),
            NodeCommand::Ls(args) => args.run(tree, output),
            NodeCommand::Rm(args) => args.run(tree),
            NodeCommand::Mkdir(args) => args.run(tree),
            NodeCommand::Chmod(args) => args.run(tree),
            NodeCommand::GetPerms(args) => args.run(tree, output),
        }
    }

    /// Returns whether the command must take effect as a whole or not at all.
    fn needs_transaction(&self) -> bool {
        match self {
            NodeCommand::Write(_) | NodeCommand::Rm(_) | NodeCommand::Mkdir(_) => true,
            NodeCommand::Chmod(args) => !args.recurse,
            NodeCommand::Read(_)
            | NodeCommand::Exists(_)
            | NodeCommand::List(_)
            | NodeCommand::Ls(_)
            | NodeCommand::GetPerms(_) => false,
        }
    }

    /// Returns whether the command sends a single request.
    fn is_single_request(&self) -> bool {
        match self {
            NodeCommand::Read(Read { paths, .. })
            | NodeCommand::Exists(Exists { paths })
            | NodeCommand::List(List { paths, .. })
            | NodeCommand::Mkdir(Mkdir { paths })
            | NodeCommand::GetPerms(GetPerms { paths, .. }) => paths.len() == 1,
            NodeCommand::Write(args) => args.pairs.len() <= 2,
            NodeCommand::Rm(args) => args.paths.len() == 1 && !args.tidy,
            NodeCommand::Chmod(args) => !args.upto && !args.recurse,
            NodeCommand::Ls(_) => false,
        }
    }
}
