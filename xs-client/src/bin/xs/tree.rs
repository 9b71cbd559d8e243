//! Commands on nodes: they work on the tree at large and inside of a transaction alike.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use clap::{Args, Subcommand};
use xs_client::{Client, Error, Path, Permission, Permissions, Result, Tree};

use crate::escape::{escape, unescape};
use crate::fail::Outcome;
use crate::ls::Ls;
use crate::terminal;

/// A command on nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum TreeCommand {
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
/// Bytes that are no printable ASCII are escaped: \n, \t, \\, \x9c.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Print each node's path before its value
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Print the values as they are: nothing is escaped, no newline added
    #[arg(short = 'R', long)]
    pub(crate) raw: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Set the values of nodes
///
/// Nodes and their parents are created as needed. Several are set in one transaction: all or none.
/// Escapes are understood: \n, \t, \r, \\, \x9c and octal \234. Before a value that starts with a
/// minus and is no number stands --.
#[derive(Debug, Args)]
pub(crate) struct WriteValues {
    /// Take the values as they are: a backslash is a backslash
    #[arg(short = 'R', long)]
    pub(crate) raw: bool,
    /// What to set, and to what
    #[arg(
        required = true,
        num_args = 2..,
        value_names = ["KEY", "VALUE"],
        allow_negative_numbers = true
    )]
    pub(crate) pairs: Vec<OsString>,
}

/// Say by the exit status whether nodes exist
///
/// The status is 0 if all of them do, else 1.
#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Paths of nodes
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Print the names of the children of nodes
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print whole paths
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Remove nodes and all below them
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Remove their parents too, as far as these are empty then
    #[arg(short, long)]
    pub(crate) tidy: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Create nodes with empty values
///
/// A node that exists is left as it is.
#[derive(Debug, Args)]
pub(crate) struct Mkdir {
    /// Paths of nodes
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Set the permissions of a node
///
/// Each is a letter and a domain id: n5, r5, w5, b5 for no access, read, write, both. The first
/// names the owner, and what everybody may do who is not listed.
#[derive(Debug, Args)]
pub(crate) struct Chmod {
    /// Set those of its parents, too
    #[arg(short, long)]
    pub(crate) upto: bool,
    /// Set those of all nodes below, too
    #[arg(short, long)]
    pub(crate) recurse: bool,
    /// The path of the node
    pub(crate) key: String,
    /// Its permissions, the owner's first
    #[arg(required = true, value_name = "PERM")]
    pub(crate) perms: Vec<Permission>,
}

/// Print the permissions of nodes
#[derive(Debug, Args)]
pub(crate) struct GetPerms {
    /// Print each node's path before its permissions
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

impl TreeCommand {
    /// Runs it by itself: in a transaction if it is made of several requests that belong
    /// together.
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        let mut stdout = terminal::stdout();
        if let TreeCommand::Ls(ls) = self {
            // A large tree is not of one moment, and comes out as it comes in.
            let done = ls.run(client, &mut stdout);
            stdout.flush()?;
            return Ok(done?);
        }
        let mut output = Vec::new();
        let done = if self.is_single() {
            self.perform(client, &mut output)
        } else {
            client.transaction(|tx| {
                output.clear();
                self.perform(tx, &mut output)
            })
        };
        // What was found before something failed is of use.
        stdout.write_all(&output)?;
        stdout.flush()?;
        Ok(done?)
    }

    /// Runs it on the tree, or inside of a transaction. `false` means no.
    pub(crate) fn perform(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        match self {
            TreeCommand::Read(args) => args.run(tree, output),
            TreeCommand::Write(args) => args.run(tree),
            TreeCommand::Exists(args) => args.run(tree),
            TreeCommand::List(args) => args.run(tree, output),
            TreeCommand::Ls(args) => args.run(tree, output),
            TreeCommand::Rm(args) => args.run(tree),
            TreeCommand::Mkdir(args) => all(tree.mkdir_many(&args.keys)),
            TreeCommand::Chmod(args) => args.run(tree),
            TreeCommand::GetPerms(args) => args.run(tree, output),
        }
    }

    /// Whether one request does it.
    fn is_single(&self) -> bool {
        match self {
            TreeCommand::Read(Read { keys, .. })
            | TreeCommand::Exists(Exists { keys })
            | TreeCommand::List(List { keys, .. })
            | TreeCommand::Mkdir(Mkdir { keys })
            | TreeCommand::GetPerms(GetPerms { keys, .. }) => keys.len() == 1,
            TreeCommand::Write(args) => args.pairs.len() == 2,
            TreeCommand::Rm(args) => args.keys.len() == 1 && !args.tidy,
            TreeCommand::Chmod(args) => !args.upto && !args.recurse,
            TreeCommand::Ls(_) => false,
        }
    }
}

impl Read {
    fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (key, value) in self.keys.iter().zip(tree.read_many(&self.keys)) {
            let value = value?;
            if self.prefix {
                output.extend(key.bytes());
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
            let [key, value] = pair else {
                return (pair[0].to_string_lossy(), Vec::new());
            };
            let value = value.as_bytes();
            let value = if self.raw { value.to_vec() } else { unescape(value) };
            (key.to_string_lossy(), value)
        });
        all(tree.write_many(pairs))
    }
}

impl Exists {
    fn run(&self, tree: &Tree) -> Result<bool> {
        tree.exists_many(&self.keys).into_iter().try_fold(true, |all, exists| Ok(all & exists?))
    }
}

impl List {
    fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (key, names) in self.keys.iter().zip(tree.directory_many(&self.keys)) {
            for name in names? {
                if self.prefix {
                    output.extend(key.bytes());
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
            return all(tree.rm_many(&self.keys));
        }
        for key in &self.keys {
            tree.rm(key)?;
            for parent in parents(key) {
                // A parent that may not be read stays.
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
            return Err(Error::other("chmod needs at least one permission"));
        };
        tree.set_perms(&self.key, &perms)?;
        if self.upto {
            all(tree.set_perms_many(parents(&self.key).map(|parent| (parent, &perms))))?;
        }
        if self.recurse {
            let below = tree.walk(&self.key).skip(1);
            let paths = below.map(|node| node.children.map(|_| node.path));
            let paths = paths.collect::<Result<Vec<_>>>()?;
            all(tree.set_perms_many(paths.iter().map(|path| (path, &perms))))?;
        }
        Ok(true)
    }
}

impl GetPerms {
    fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (key, perms) in self.keys.iter().zip(tree.get_perms_many(&self.keys)) {
            if self.prefix {
                output.extend(key.bytes());
                output.extend(b": ");
            }
            output.extend(perms?.to_string().bytes());
            output.push(b'\n');
        }
        Ok(true)
    }
}

/// The nodes above `key`, the nearest first; without the root, which stays as it is.
fn parents(key: &str) -> impl Iterator<Item = &str> {
    let first = Path::new(key).ok();
    std::iter::successors(first, |path| path.parent())
        .skip(1)
        .filter(|path| *path != Path::ROOT)
        .map(Path::as_str)
}

fn all(results: Vec<Result<()>>) -> Result<bool> {
    results.into_iter().collect::<Result<()>>()?;
    Ok(true)
}
