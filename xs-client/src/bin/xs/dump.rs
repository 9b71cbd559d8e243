//! `dump` and `restore`: a subtree as text, and back.
//!
//! The text is that of [`xs_transport::mock::text`], which `serve --load` reads, too.

use std::fmt;
use std::fs;
use std::io::{self, Write};

use clap::Args;
use xs_client::{Client, Error, Node, Tree, op};
use xs_transport::mock::text::{self, Line};

use crate::fail::{Fail, InWords, Outcome};
use crate::progress::Progress;
use crate::terminal;

/// Print nodes with their values and permissions, for `restore`
///
/// One line a node: its path, its permissions in brackets, and its value in quotes. Up to 1000
/// nodes are read in one transaction, and are of one moment. Nodes that may not be read are left
/// out, with a message and exit status 1.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Where to start
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

/// Create nodes as `dump` printed them
///
/// Values and permissions are set, nothing is removed. The whole text is looked at before anything
/// is done. Up to 1000 nodes are set in one transaction: all or none.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What to read; standard input if there is none
    file: Option<String>,
}

/// How many nodes are handled in one transaction: daemons allow a guest 1024, parents included.
const IN_TRANSACTION: usize = 1000;

/// How many nodes of a larger number are set together.
const AT_ONCE: usize = 256;

/// There are more nodes than fit into a transaction.
#[derive(Debug)]
struct TooMany;

impl Dump {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        let mut stdout = terminal::stdout();
        let few = match self.are_few(client) {
            true => client.transaction(|tx| self.read_few(tx)),
            false => Err(Error::other(TooMany)),
        };
        let complete = match few {
            Ok((lines, complete)) => {
                stdout.write_all(lines.as_bytes())?;
                complete
            }
            Err(error) if is_too_many(&error) => {
                writeln!(stdout, "# More than {IN_TRANSACTION} nodes, not all of one moment.")?;
                self.stream(client, &mut stdout)?
            }
            Err(error) => return Err(error.into()),
        };
        stdout.flush()?;
        Ok(complete)
    }

    /// Whether the nodes fit into a transaction, by a look at their names: reading them there only
    /// to find out would cost more than all the rest.
    fn are_few(&self, client: &Client) -> bool {
        let nodes = self.keys.iter().flat_map(|key| client.walk(key));
        let mut count = self.keys.len();
        nodes.map(|node| node.children.map_or(0, |names| names.len())).all(|names| {
            count += names;
            count <= IN_TRANSACTION
        })
    }

    /// The lines, if the nodes are few.
    fn read_few(&self, tree: &Tree) -> xs_client::Result<(String, bool)> {
        let mut lines = String::new();
        let mut complete = true;
        for (at, node) in self.nodes(tree).enumerate() {
            if at == IN_TRANSACTION {
                return Err(Error::other(TooMany));
            }
            complete &= print(node, &mut lines)?;
        }
        Ok((lines, complete))
    }

    fn stream(&self, client: &Client, output: &mut impl Write) -> Outcome {
        let mut progress = Progress::new("dump", None);
        let mut complete = true;
        let mut line = String::new();
        for node in self.nodes(client) {
            line.clear();
            complete &= print(node, &mut line)?;
            output.write_all(line.as_bytes())?;
            progress.add(1);
        }
        Ok(complete)
    }

    fn nodes<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = Node> + 'a {
        self.keys.iter().flat_map(|key| tree.walk(key).with_values().with_perms())
    }
}

/// Appends the line of a node. `false` if it cannot be read, or nothing below it.
fn print(node: Node, lines: &mut String) -> xs_client::Result<bool> {
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
            eprintln!("xs: left out: {}", InWords(&error));
            Ok(false)
        }
    }
}

fn is_too_many(error: &Error) -> bool {
    use std::error::Error as _;
    error.source().is_some_and(|source| source.is::<TooMany>())
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {IN_TRANSACTION} nodes")
    }
}

impl std::error::Error for TooMany {}

impl Restore {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        let (name, text) = read_file(self.file.as_deref())?;
        let lines = text::lines(&text).collect::<Result<Vec<_>, _>>();
        let lines: Vec<Line> = match lines {
            Ok(lines) => lines.into_iter().map(|(_, line)| line).collect(),
            Err(error) => {
                let next = "a line is a path, [permissions] and = \"value\"; nothing was changed";
                return Err(Fail::other(format!("{name}: {error}"), next));
            }
        };
        if lines.len() <= IN_TRANSACTION {
            client.transaction(|tx| set(tx, &lines))?;
            return Ok(true);
        }
        let mut progress = Progress::new("restore", Some(lines.len()));
        for (at, some) in lines.chunks(AT_ONCE).enumerate() {
            if let Err(error) = set(client, some) {
                drop(progress);
                let done = at * AT_ONCE;
                eprintln!(
                    "xs: the first {done} of {} nodes are set, perhaps some more",
                    lines.len()
                );
                return Err(error.into());
            }
            progress.add(some.len());
        }
        Ok(true)
    }
}

/// Sets nodes in one round trip; parents come before their children.
fn set(tree: &Tree, lines: &[Line]) -> xs_client::Result<()> {
    let ops = lines.iter().flat_map(|Line { path, perms, value }| {
        let node = match value {
            Some(value) => op::write(path, value),
            None => op::mkdir(path),
        };
        [Some(node), perms.as_ref().map(|perms| op::set_perms(path, perms))]
    });
    tree.run_all(ops.flatten()).into_iter().collect()
}

/// The name and the text of a file, or of standard input.
pub(crate) fn read_file(path: Option<&str>) -> Outcome<(String, String)> {
    let (name, text) = match path {
        Some(path) if path != "-" => (path.to_owned(), fs::read_to_string(path)),
        _ => ("standard input".to_owned(), io::read_to_string(io::stdin())),
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Fail::Io(format!("cannot read {name}"), error)),
    }
}
