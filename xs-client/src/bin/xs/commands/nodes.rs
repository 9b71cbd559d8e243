//! The commands that read and change nodes. Each works on the tree of a client or of a transaction.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::{Args, Subcommand};
use xs_client::{Client, Error, ErrorKind, Path, Permission, Permissions, Result, Retries, Tree};

use super::ls::Ls;
use crate::error::CommandResult;
use crate::escape::{escape, unescape};
use crate::output::{self, Output};

/// The attempts at a transaction that is not necessary: other clients may change many nodes all the
/// time.
pub(super) const FEW_ATTEMPTS: Retries = Retries {
    attempts: 5,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(100),
};

/// How many nodes `chmod -r` changes in one round trip.
const NODES_IN_BATCH: usize = 256;

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

/// Print the values of nodes
///
/// Bytes other than printable ASCII are escaped: \n, \t, \\, \x9c.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Print the path of each node before its value
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Print the bytes of the values, without escapes and newlines
    #[arg(short = 'R', long)]
    pub(crate) raw: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// Set the values of nodes
///
/// Creates nodes and their parents as needed. Several values are set in one transaction: all or
/// none. VALUE may contain the escapes \n, \t, \r, \\, \x9c and \234 (octal). Negative numbers are
/// values; put -- before any other VALUE that starts with a hyphen.
#[derive(Debug, Args)]
pub(crate) struct WriteValues {
    /// Do not interpret escapes in VALUE
    #[arg(short = 'R', long)]
    pub(crate) raw: bool,
    /// Paths of nodes, each followed by its value
    #[arg(
        required = true,
        num_args = 2..,
        value_names = ["PATH", "VALUE"],
        allow_negative_numbers = true
    )]
    pub(crate) pairs: Vec<OsString>,
}

/// Test whether nodes exist
///
/// Prints nothing. The exit status is 0 if all nodes exist, and 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// List the children of nodes
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print the path of each child instead of its name
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// Remove nodes and all nodes below them
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Also remove parents that become empty
    #[arg(short, long)]
    pub(crate) tidy: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// Create nodes with empty values
///
/// Creates parents as needed. Does not change nodes that already exist.
#[derive(Debug, Args)]
pub(crate) struct Mkdir {
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

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

/// Print the permissions of nodes
#[derive(Debug, Args)]
pub(crate) struct GetPerms {
    /// Print the path of each node before its permissions
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl NodeCommand {
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
                    output::message(
                        "xs: warning: other clients change these nodes: no transaction is used",
                    );
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
            NodeCommand::Mkdir(args) => all_ok(tree.mkdir_many(&args.paths)),
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
            NodeCommand::Write(args) => args.pairs.len() == 2,
            NodeCommand::Rm(args) => args.paths.len() == 1 && !args.tidy,
            NodeCommand::Chmod(args) => !args.upto && !args.recurse,
            NodeCommand::Ls(_) => false,
        }
    }
}

impl Read {
    fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (path, value) in self.paths.iter().zip(tree.read_many(&self.paths)) {
            let value = value?;
            if self.prefix {
                output.extend(path.bytes());
                output.extend(b": ");
            }
            if self.raw {
                output.extend(value);
            } else {
                escape(&value, output);
                output.push(b'\n');
            }
        }
        Ok(true)
    }
}

impl WriteValues {
    fn run(&self, tree: &Tree) -> Result<bool> {
        let pairs = self.pairs.chunks(2).map(|pair| {
            let [path, value] = pair else {
                return (pair[0].to_string_lossy(), Vec::new());
            };
            let value = value.as_bytes();
            let value = if self.raw { value.to_vec() } else { unescape(value) };
            (path.to_string_lossy(), value)
        });
        all_ok(tree.write_many(pairs))
    }
}

impl Exists {
    fn run(&self, tree: &Tree) -> Result<bool> {
        tree.exists_many(&self.paths).into_iter().try_fold(true, |all, exists| Ok(all & exists?))
    }
}

impl List {
    fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (path, names) in self.paths.iter().zip(tree.directory_many(&self.paths)) {
            let parent = if path == "/" { "" } else { path.as_str() };
            for name in names? {
                if self.prefix {
                    output.extend(parent.bytes());
                    output.push(b'/');
                }
                output.extend(name.bytes());
                output.push(b'\n');
            }
        }
        Ok(true)
    }
}

impl Rm {
    fn run(&self, tree: &Tree) -> Result<bool> {
        if !self.tidy {
            return all_ok(tree.rm_many(&self.paths));
        }
        for path in &self.paths {
            tree.rm(path)?;
            for parent in ancestors(path) {
                // A parent that cannot be read is kept.
                let value = tree.read(parent);
                if !value.is_ok_and(|value| value.is_empty())
                    || !tree.directory(parent).is_ok_and(|names| names.is_empty())
                {
                    break;
                }
                tree.rm(parent)?;
            }
        }
        Ok(true)
    }
}

impl Chmod {
    fn run(&self, tree: &Tree) -> Result<bool> {
        let Some(perms) = Permissions::from_list(self.perms.iter().copied()) else {
            return Err(Error::other("chmod: no permission given"));
        };
        tree.set_perms(&self.path, &perms)?;
        if self.upto {
            all_ok(tree.set_perms_many(ancestors(&self.path).map(|parent| (parent, &perms))))?;
        }
        if self.recurse {
            let below = tree.walk(&self.path).skip(1);
            let mut paths = below.map(|node| node.children.map(|_| node.path)).peekable();
            while paths.peek().is_some() {
                let batch = paths.by_ref().take(NODES_IN_BATCH).collect::<Result<Vec<_>>>()?;
                let results = tree.set_perms_many(batch.iter().map(|path| (path, &perms)));
                // A node may be removed between the walk and the change.
                let is_gone = |result: &Result<()>| result.as_ref().is_err_and(Error::is_not_found);
                all_ok(results.into_iter().filter(|result| !is_gone(result)).collect())?;
            }
        }
        Ok(true)
    }
}

impl GetPerms {
    fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (path, perms) in self.paths.iter().zip(tree.get_perms_many(&self.paths)) {
            if self.prefix {
                output.extend(path.bytes());
                output.extend(b": ");
            }
            output.extend(perms?.to_string().bytes());
            output.push(b'\n');
        }
        Ok(true)
    }
}

/// Returns the ancestors of a node, starting with its parent, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let first = Path::new(path).ok();
    std::iter::successors(first, |path| path.parent())
        .skip(1)
        .filter(|path| *path != Path::ROOT)
        .map(Path::as_str)
}

/// Returns the first error of several operations.
fn all_ok(results: Vec<Result<()>>) -> Result<bool> {
    results.into_iter().collect::<Result<()>>()?;
    Ok(true)
}
