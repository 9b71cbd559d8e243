//! `xs dump`: a subtree in the text form of [`xs_transport::mock::text`].

use std::fmt;
use std::io::Write;

use clap::Args;
use xs_client::{Client, Error, ErrorKind, Node, Tree};
use xs_transport::mock::text::Line;

use super::nodes::FEW_ATTEMPTS;
use crate::error::{CommandResult, describe};
use crate::output::{self, Output};
use crate::progress::Progress;

/// Print nodes with their values and permissions, as input for `restore`
///
/// Prints one line per node: its path, its permissions in brackets, and its value in quotes. Up to
/// 1000 nodes are read in one transaction, which makes the dump a consistent snapshot. A larger dump
/// starts with a comment that says that it is not a snapshot. If other clients
/// change the nodes during several attempts, they are read without a transaction, with a warning. If a
/// node cannot be read, it is omitted with a warning, and the exit status is 1.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Paths of the nodes to dump, with all nodes below them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// The largest number of nodes that a transaction handles. Daemons allow a guest 1024, which include
/// the parents of new nodes.
pub(super) const MAX_NODES_IN_TRANSACTION: usize = 1000;

/// The error of a transaction that has found too many nodes.
#[derive(Debug)]
struct TooManyNodes;

impl Dump {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let snapshot = match self.fits_in_transaction(client) {
            true => client.transaction_with(FEW_ATTEMPTS, |tx| self.snapshot(tx)),
            false => Err(Error::other(TooManyNodes)),
        };
        match snapshot {
            Ok((lines, is_complete)) => {
                output.write_all(lines.as_bytes())?;
                Ok(is_complete)
            }
            Err(error) if is_too_many_nodes(&error) => {
                writeln!(
                    output,
                    "# More than {MAX_NODES_IN_TRANSACTION} nodes: not a consistent snapshot."
                )?;
                self.stream(client, output)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                output::message(
                    "xs: warning: other clients change these nodes: not a consistent snapshot",
                );
                writeln!(output, "# Changed while being read: not a consistent snapshot.")?;
                self.stream(client, output)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Counts the nodes outside a transaction. A transaction that has to be given up after it has
    /// read so many nodes costs more than the rest of the command.
    fn fits_in_transaction(&self, client: &Client) -> bool {
        let nodes = self.paths.iter().flat_map(|path| client.walk(path));
        let mut count = self.paths.len();
        nodes.map(|node| node.children.map_or(0, |names| names.len())).all(|children| {
            count += children;
            count <= MAX_NODES_IN_TRANSACTION
        })
    }

    /// Returns the lines of all nodes, and whether they are complete. Fails if there are more than
    /// [`MAX_NODES_IN_TRANSACTION`].
    fn snapshot(&self, tree: &Tree) -> xs_client::Result<(String, bool)> {
        let mut lines = String::new();
        let mut is_complete = true;
        for (index, node) in self.nodes(tree).enumerate() {
            if index == MAX_NODES_IN_TRANSACTION {
                return Err(Error::other(TooManyNodes));
            }
            is_complete &= append_line(node, &mut lines)?;
        }
        Ok((lines, is_complete))
    }

    fn stream(&self, client: &Client, output: &mut Output) -> CommandResult {
        let mut progress = Progress::new("dump", None);
        let mut is_complete = true;
        let mut line = String::new();
        for node in self.nodes(client) {
            line.clear();
            is_complete &= append_line(node, &mut line)?;
            output.write_all(line.as_bytes())?;
            progress.add(1);
        }
        Ok(is_complete)
    }

    fn nodes<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = Node> + 'a {
        self.paths.iter().flat_map(|path| tree.walk(path).with_values().with_perms())
    }
}

/// Appends the line of a node. Returns `false` if the node or its list of children cannot be read.
fn append_line(node: Node, lines: &mut String) -> xs_client::Result<bool> {
    let is_start = node.depth == 0;
    let path = node.path;
    let read = |node_value: Option<xs_client::Result<Vec<u8>>>, node_perms: Option<_>| {
        let (value, perms) = (node_value.transpose()?, node_perms.transpose()?);
        Ok(Line { path, perms, value }.to_string())
    };
    match read(node.value, node.perms).and_then(|line| node.children.map(|_| line)) {
        Ok(line) => {
            *lines += &line;
            lines.push('\n');
            Ok(true)
        }
        Err(error) if is_start || error.is_lost() || error.is_conflict() => Err(error),
        Err(error) => {
            output::message(format_args!("xs: warning: node omitted: {}", describe(&error)));
            Ok(false)
        }
    }
}

fn is_too_many_nodes(error: &Error) -> bool {
    use std::error::Error as _;
    error.source().is_some_and(|source| source.is::<TooManyNodes>())
}

impl fmt::Display for TooManyNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MAX_NODES_IN_TRANSACTION} nodes")
    }
}

impl std::error::Error for TooManyNodes {}
