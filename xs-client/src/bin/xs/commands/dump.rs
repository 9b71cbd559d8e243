//! `xs dump`: a subtree in the text form of [`xs_transport::mock::text`].

use std::io::Write;

use clap::Args;
use xs_client::{Client, Error, Tree};
use xs_transport::mock::text::Line;

use crate::error::CommandResult;
use crate::json::Object;
use crate::output::Output;
use crate::progress::Progress;
use crate::subtree::{self, MAX_NODES_IN_TRANSACTION, NoSnapshot};

/// Print nodes with their values and permissions, as input for `restore`
///
/// Prints one line per node: its path, its permissions in brackets, and its value in quotes. Up to
/// 1000 nodes are read in one transaction, which makes the dump a consistent snapshot. A larger
/// dump starts with a comment that says that it is not a snapshot. If other clients change the
/// nodes during several attempts, they are read without a transaction, with a warning. If a node
/// cannot be read, it is omitted with a warning, and the exit status is 1.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Print a JSON object per node, with the members "path", "value" ("base64" if the value is not
    /// UTF-8) and "perms"; `restore` does not read this
    #[arg(long)]
    json: bool,
    /// Paths of the nodes to dump, with all nodes below them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

impl Dump {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let mut lines = String::new();
        let is_complete = subtree::read(client, &self.paths, |tree, no_snapshot| {
            lines.clear();
            let Some(reason) = no_snapshot else {
                return self.nodes(tree, |line| {
                    lines += line;
                    Ok(())
                });
            };
            if !self.json {
                let reason = match reason {
                    NoSnapshot::TooMany => format!("More than {MAX_NODES_IN_TRANSACTION} nodes"),
                    NoSnapshot::Conflict => "Changed while being read".to_owned(),
                };
                writeln!(output, "# {reason}: not a consistent snapshot.").map_err(Error::other)?;
            }
            let mut progress = Progress::new("dump", None);
            self.nodes(tree, |line| {
                progress.add(1);
                output.write_all(line.as_bytes()).map_err(Error::other)
            })
        })?;
        output.write_all(lines.as_bytes())?;
        Ok(is_complete)
    }

    /// Passes the text of each node to `print`. Returns whether all nodes could be read.
    fn nodes(
        &self,
        tree: &Tree,
        mut print: impl FnMut(&str) -> xs_client::Result<()>,
    ) -> xs_client::Result<bool> {
        let mut is_complete = true;
        for found in subtree::nodes(tree, &self.paths) {
            match found.or_warn()? {
                Some(line) => print(&self.text(&line))?,
                None => is_complete = false,
            }
        }
        Ok(is_complete)
    }

    fn text(&self, line: &Line) -> String {
        if self.json {
            let Line { path, perms, value } = line;
            return Object::new().node(path, value.as_deref(), perms.as_ref()).line();
        }
        format!("{line}\n")
    }
}
