//! The nodes of subtrees, for all commands that work on whole subtrees.

use xs_client::{Client, Error, ErrorKind, Node, Result, Tree};
use xs_transport::mock::text::Line;

use crate::commands::nodes::FEW_ATTEMPTS;
use crate::error::describe;
use crate::escape::Form;
use crate::output;

/// The largest number of nodes that a transaction handles. Daemons allow a guest 1024, which
/// include the parents of new nodes.
pub(crate) const MAX_NODES_IN_TRANSACTION: usize = 1000;

/// The reason why nodes were not read in one transaction.
#[derive(Debug)]
pub(crate) enum NoSnapshot {
    TooMany,
    Conflict,
}

/// A node of a subtree with its value and permissions.
#[derive(Debug)]
pub(crate) struct Found {
    /// Whether a walk started here.
    is_start: bool,
    line: Result<Line>,
}

/// Returns the nodes of subtrees with values and permissions, at three requests per node.
pub(crate) fn nodes<'a>(tree: &'a Tree, paths: &'a [String]) -> impl Iterator<Item = Found> + 'a {
    paths.iter().flat_map(|path| tree.walk(path).with_values().with_perms()).map(Found::new)
}

/// Returns all nodes of a subtree.
///
/// # Errors
/// Fails if a node cannot be read.
pub(crate) fn complete(tree: &Tree, path: &str) -> Result<Vec<Line>> {
    nodes(tree, &[path.to_owned()]).map(|found| found.line).collect()
}

/// Reads subtrees in one transaction. Uses none if they are too large, or if other clients change
/// the nodes during several attempts; the second argument of `read` is then the reason.
pub(crate) fn read<T>(
    client: &Client,
    paths: &[String],
    mut read: impl FnMut(&Tree, Option<NoSnapshot>) -> Result<T>,
) -> Result<T> {
    if !fits_in_transaction(client, paths) {
        return read(client, Some(NoSnapshot::TooMany));
    }
    match client.transaction_with(FEW_ATTEMPTS, |tx| read(tx, None)) {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
            output::warning("other clients change these nodes: not a consistent snapshot");
            read(client, Some(NoSnapshot::Conflict))
        }
        result => result,
    }
}

/// Returns whether a transaction can handle all nodes of these subtrees.
///
/// Counts them outside a transaction, because a transaction that has to be given up after so many
/// nodes costs more than the rest of the command.
fn fits_in_transaction(client: &Client, paths: &[String]) -> bool {
    let nodes = paths.iter().flat_map(|path| client.walk(path));
    let mut count = paths.len();
    nodes.map(|node| node.children.map_or(0, |names| names.len())).all(|children| {
        count += children;
        count <= MAX_NODES_IN_TRANSACTION
    })
}

impl Found {
    fn new(node: Node) -> Self {
        let is_start = node.depth == 0;
        let Node { path, value, perms, children, .. } = node;
        let line = || {
            let (value, perms) = (value.transpose()?, perms.transpose()?);
            children?;
            Ok(Line { path, perms, value })
        };
        Found { is_start, line: line() }
    }

    /// Returns the node, or `None` after a warning if it cannot be read.
    ///
    /// # Errors
    /// Fails if the start of a walk cannot be read, or if the connection or the transaction has
    /// failed.
    pub(crate) fn or_warn(self) -> Result<Option<Line>> {
        match self.line {
            Ok(line) => Ok(Some(line)),
            Err(error) if self.is_start || is_fatal(&error) => Err(error),
            Err(error) => {
                warn_omitted(&error);
                Ok(None)
            }
        }
    }
}

/// Returns whether an error means that other nodes cannot be read either.
pub(crate) fn is_fatal(error: &Error) -> bool {
    error.is_lost() || error.is_conflict()
}

pub(crate) fn warn_omitted(error: &Error) {
    output::warning(format_args!("node omitted: {}", describe(error)));
}

/// Returns a node in the form of `xs dump`, for a terminal that may show UTF-8 as text.
pub(crate) fn shown(line: &Line, form: Form) -> String {
    match &line.value {
        Some(value) if form == Form::Utf8 => {
            let start = Line { value: None, ..line.clone() };
            format!("{start} = \"{}\"", form.text(value).replace('"', "\\\""))
        }
        _ => line.to_string(),
    }
}

/// Returns the part of `path` after `root`, which is empty or starts with a slash, or `None` if the
/// path is not in the subtree.
pub(crate) fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(if root == "/" { "" } else { root })?;
    let rest = if rest == "/" { "" } else { rest };
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Returns the path of a node below `root`, from the result of [`below`].
pub(crate) fn at(root: &str, below: &str) -> String {
    match root {
        "/" if below.is_empty() => "/".to_owned(),
        "/" => below.to_owned(),
        root => format!("{root}{below}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_joined_again() {
        for (path, root, rest) in [
            ("/a/b", "/a", Some("/b")),
            ("/a", "/a", Some("")),
            ("/ab", "/a", None),
            ("/a", "/", Some("/a")),
            ("/", "/", Some("")),
            ("data/x", "data", Some("/x")),
        ] {
            assert_eq!(below(path, root), rest, "{path} {root}");
            assert!(rest.is_none_or(|rest| at(root, rest) == path), "{path} {root}");
        }
    }
}
