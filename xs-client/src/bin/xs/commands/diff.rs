//! `xs diff`: the differences between two subtrees, or a subtree and a dump.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use xs_client::{Client, Result, Tree};
use xs_transport::mock::text::Line;

use crate::error::{CommandError, CommandResult};
use crate::input;
use crate::json::Object;
use crate::output::Output;
use crate::{subtree, terminal};

/// Compare two subtrees, a dump with a subtree, or two dumps
///
/// Prints a line with `-` for each node that only the first side has, and one with `+` for each
/// that only the second has; a node that differs has both. The lines are those of `dump`. The exit
/// status is 0 if the sides are equal, and 1 otherwise.
///
/// With `xs diff --file DUMP`, the second side is the present state of the nodes in the dump. If
/// the sides have different roots, nodes correspond by their paths below them.
#[derive(Debug, Args)]
#[command(override_usage = "xs diff [OPTIONS] <PATH> <PATH>\n       \
                            xs diff [OPTIONS] --file <DUMP> [<PATH>]\n       \
                            xs diff [OPTIONS] --file <DUMP> --file <DUMP>")]
pub(crate) struct Diff {
    /// Compare the nodes of a file that `dump` has printed; - is standard input
    #[arg(short, long = "file", value_name = "DUMP")]
    files: Vec<String>,
    /// Ignore permissions
    #[arg(short, long)]
    values: bool,
    /// Print a JSON object per difference, with the members "path", "old" and "new"
    #[arg(long)]
    json: bool,
    /// Paths of the nodes to compare, with all nodes below them
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
}

/// One side of the comparison.
struct Side {
    root: String,
    /// The nodes by their paths below the root, in order.
    nodes: BTreeMap<String, Line>,
}

/// A path below the root, with the node of each side that has it.
pub(super) struct Difference<'a> {
    pub(super) below: &'a str,
    pub(super) old: Option<&'a Line>,
    pub(super) new: Option<&'a Line>,
}

impl Diff {
    pub(crate) fn usage_error(&self) -> Option<&'static str> {
        match (self.files.len(), self.paths.len()) {
            (0, 2) | (1, 0 | 1) | (2, 0) => None,
            _ => Some("two sides are needed: each is a <PATH> or --file <DUMP>"),
        }
    }

    /// Returns whether both sides are files, for which no daemon is needed.
    pub(crate) fn is_offline(&self) -> bool {
        self.files.len() == 2
    }

    /// Prints the differences. Needs a client unless the command is [offline](Self::is_offline).
    pub(crate) fn run(&self, client: Option<&Client>, output: &mut Output) -> CommandResult {
        let mut sides = Vec::new();
        for file in &self.files {
            sides.push(Side::new(None, input::read_dump(Some(file))?));
        }
        let mut paths = self.paths.clone();
        if sides.len() + paths.len() == 1 {
            let root = sides[0].root.clone();
            if root.is_empty() {
                return Err(CommandError::new(format!(
                    "diff: the nodes in {} have no common root",
                    self.files[0]
                ))
                .with_hint("name the node to compare them with"));
            }
            paths.push(root);
        }
        let mut is_complete = true;
        if let Some(client) = client {
            let live = subtree::read(client, &paths, |tree, _| {
                is_complete = true;
                paths
                    .iter()
                    .map(|path| side(tree, path, &mut is_complete))
                    .collect::<Result<Vec<_>>>()
            });
            sides.extend(live?);
        }
        let [old, new] = &sides[..] else {
            return Err(CommandError::new("diff: two sides are needed"));
        };
        let mut is_equal = true;
        for difference in differences(&old.nodes, &new.nodes, !self.values) {
            is_equal = false;
            output.write_all(self.text(&difference, old, new).as_bytes())?;
        }
        Ok(is_equal && is_complete)
    }

    fn text(&self, difference: &Difference<'_>, old: &Side, new: &Side) -> String {
        let shown = |line: &Line| match self.values {
            true => Line { perms: None, ..line.clone() },
            false => line.clone(),
        };
        if self.json {
            let side = |line: Option<&Line>| match line.map(shown) {
                None => "null".to_owned(),
                Some(Line { path, perms, value }) => {
                    Object::new().node(&path, value.as_deref(), perms.as_ref()).text()
                }
            };
            let root = if old.root == new.root { &old.root } else { "" };
            return Object::new()
                .string("path", &subtree::at(root, difference.below))
                .raw("old", side(difference.old))
                .raw("new", side(difference.new))
                .line();
        }
        let has_color = terminal::use_color(&io::stdout());
        let mut text = String::new();
        for (sign, color, line) in [('-', 31, difference.old), ('+', 32, difference.new)] {
            let Some(line) = line.map(shown) else { continue };
            let line = subtree::shown(&line, terminal::form());
            text += &match has_color {
                true => format!("\x1b[{color}m{sign} {line}\x1b[0m\n"),
                false => format!("{sign} {line}\n"),
            };
        }
        text
    }
}

/// Reads one side from the daemon.
fn side(tree: &Tree, path: &String, is_complete: &mut bool) -> Result<Side> {
    let mut lines = Vec::new();
    for found in subtree::nodes(tree, std::slice::from_ref(path)) {
        match found.or_warn() {
            // A start that does not exist is an empty side.
            Err(error) if error.is_not_found() => {}
            result => match result? {
                Some(line) => lines.push(line),
                None => *is_complete = false,
            },
        }
    }
    Ok(Side::new(Some(path.clone()), lines))
}

/// Returns the differences between two sets of nodes, in the order of their paths.
pub(super) fn differences<'a>(
    old: &'a BTreeMap<String, Line>,
    new: &'a BTreeMap<String, Line>,
    with_perms: bool,
) -> Vec<Difference<'a>> {
    let mut all: BTreeMap<&str, (Option<&Line>, Option<&Line>)> = BTreeMap::new();
    for (below, line) in old {
        all.entry(below).or_default().0 = Some(line);
    }
    for (below, line) in new {
        all.entry(below).or_default().1 = Some(line);
    }
    let differ = |old: &Line, new: &Line| {
        let value = |line: &Line| line.value.clone().unwrap_or_default();
        let perms = |line: &Line| line.perms.clone().filter(|_| with_perms);
        let perms_differ = match (perms(old), perms(new)) {
            (Some(old), Some(new)) => old != new,
            // A dump that was written by hand may omit the permissions.
            _ => false,
        };
        value(old) != value(new) || perms_differ
    };
    let mut differences: Vec<_> = all
        .into_iter()
        .filter(|(_, (old, new))| match (old, new) {
            (Some(old), Some(new)) => differ(old, new),
            _ => true,
        })
        .map(|(below, (old, new))| Difference { below, old, new })
        .collect();
    // Each node precedes its descendants, which precede its next sibling.
    differences.sort_by(|a, b| a.below.split('/').cmp(b.below.split('/')));
    differences
}

impl Side {
    /// Creates a side with the given root, or with the common root of all nodes. Without a common
    /// root, the root is empty.
    fn new(root: Option<String>, lines: Vec<Line>) -> Self {
        let root = root.unwrap_or_else(|| {
            let first = lines.first().map(|line| line.path.clone()).unwrap_or_default();
            let is_root = lines.iter().all(|line| subtree::below(&line.path, &first).is_some());
            if is_root { first } else { String::new() }
        });
        let key = |line: Line| {
            let below = match root.as_str() {
                "" => line.path.clone(),
                root => subtree::below(&line.path, root).unwrap_or(&line.path).to_owned(),
            };
            (below, line)
        };
        let nodes = lines.into_iter().map(key).collect();
        Side { root, nodes }
    }
}
