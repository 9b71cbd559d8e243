//! `xs find`: the nodes of a subtree that meet conditions.

use std::io::Write;

use clap::Args;
use xs_client::{DomId, Error, Node, Permission, Permissions, Tree};
use xs_transport::mock::text::Line;

use crate::error::CommandResult;
use crate::glob::Glob;
use crate::json::Object;
use crate::output::Output;
use crate::{subtree, terminal};

/// Find nodes by name, value, owner or access
///
/// Prints the path of each node that meets all conditions. A GLOB is a pattern with *, ? and [a-z]
/// for the whole name or value. If a node cannot be read, it is omitted with a warning, and the
/// exit status is 1. The exit status is also 1 if no node is found.
#[derive(Debug, Args)]
pub(crate) struct Find {
    /// Find nodes whose name, the last part of the path, matches a pattern
    #[arg(short, long, value_name = "GLOB")]
    name: Option<String>,
    /// Find nodes whose value matches a pattern, byte by byte
    #[arg(short, long, value_name = "GLOB")]
    value: Option<String>,
    /// Find nodes that belong to a domain
    #[arg(short, long, value_name = "DOMID")]
    owner: Option<DomId>,
    /// Find nodes to which a domain has this access at least: r5 (domain 5 may read), w5 (write) or
    /// b5 (both); n5 finds nodes to which domain 5 has no access
    #[arg(long, value_name = "PERM")]
    perm: Option<Permission>,
    /// Look only this many levels below each PATH
    #[arg(short, long, value_name = "DEPTH")]
    depth: Option<usize>,
    /// Print values and permissions, too, in the form of `dump`
    #[arg(short, long)]
    long: bool,
    /// Print a JSON object per node, with the members "path", "value" ("base64" if the value is not
    /// UTF-8) and "perms"
    #[arg(long, conflicts_with = "long")]
    json: bool,
    /// Paths of the nodes to start at [default: /]
    #[arg(default_value = "/", hide_default_value = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// The conditions, in the form in which they are checked.
struct Conditions<'a> {
    find: &'a Find,
    name: Option<Glob>,
    value: Option<Glob>,
}

impl Find {
    /// Calls `change` for each path.
    #[cfg(feature = "shell")]
    pub(crate) fn for_each_path(&mut self, change: impl FnMut(&mut String)) {
        self.paths.iter_mut().for_each(change);
    }

    pub(crate) fn run(&self, tree: &Tree, output: &mut Output) -> CommandResult {
        let conditions = Conditions {
            find: self,
            name: self.name.as_deref().map(Glob::new),
            value: self.value.as_deref().map(Glob::new),
        };
        let prints_all = self.long || self.json;
        let (mut is_complete, mut is_found) = (true, false);
        for path in &self.paths {
            let mut walk = tree.walk(path).max_depth(self.depth.unwrap_or(usize::MAX));
            if prints_all || self.value.is_some() {
                walk = walk.with_values();
            }
            if prints_all || self.owner.is_some() || self.perm.is_some() {
                walk = walk.with_perms();
            }
            for node in walk {
                let is_start = node.depth == 0;
                match conditions.check(node) {
                    Ok(None) => {}
                    Ok(Some(line)) => {
                        is_found = true;
                        output.write_all(self.text(line).as_bytes())?;
                    }
                    Err(error) if is_start || subtree::is_fatal(&error) => return Err(error.into()),
                    Err(error) => {
                        output.flush()?;
                        subtree::warn_omitted(&error);
                        is_complete = false;
                    }
                }
            }
        }
        Ok(is_complete && is_found)
    }

    fn text(&self, line: Line) -> String {
        if self.json {
            let Line { path, perms, value } = line;
            return Object::new().node(&path, value.as_deref(), perms.as_ref()).line();
        }
        let shown = if self.long { line } else { Line { perms: None, value: None, ..line } };
        subtree::shown(&shown, terminal::form()) + "\n"
    }
}

impl Conditions<'_> {
    /// Returns the node if it meets the conditions.
    ///
    /// # Errors
    /// Fails if the value or the permissions cannot be read, or if the children cannot be listed.
    fn check(&self, node: Node) -> Result<Option<Line>, Error> {
        let Node { path, children, value, perms, .. } = node;
        let name = path.rsplit('/').next().unwrap_or_default();
        if self.name.as_ref().is_some_and(|glob| !glob.matches(name.as_bytes())) {
            return children.map(|_| None);
        }
        let (value, perms) = (value.transpose()?, perms.transpose()?);
        let value_matches = self
            .value
            .as_ref()
            .is_none_or(|glob| value.as_ref().is_some_and(|value| glob.matches(value)));
        if !value_matches || !perms.as_ref().is_none_or(|perms| self.perms_match(perms)) {
            return children.map(|_| None);
        }
        children.map(|_| Some(Line { path, perms, value }))
    }

    fn perms_match(&self, perms: &Permissions) -> bool {
        let has_access = |wanted: Permission| {
            let access = perms.access_of(wanted.domid);
            let wanted = wanted.access;
            match wanted.can_read() || wanted.can_write() {
                false => !access.can_read() && !access.can_write(),
                true => {
                    (access.can_read() || !wanted.can_read())
                        && (access.can_write() || !wanted.can_write())
                }
            }
        };
        self.find.owner.is_none_or(|owner| perms.owner().domid == owner)
            && self.find.perm.is_none_or(has_access)
    }
}
