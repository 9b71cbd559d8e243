//! `xs get-perms`: the permissions of nodes.

use clap::Args;
use xs_client::{Result, Tree};

use crate::in_words::in_words;
use crate::json::Object;

/// Print the owner and the permissions of nodes
///
/// The first permission names the owner, and its letter is the access of all domains that are not
/// listed: n for none, r for read, w for write, b for both. The other permissions name one domain
/// each. `n5 r0` is a node of domain 5 that domain 0 may read. Dom0 has access to all nodes.
#[derive(Debug, Args)]
pub(crate) struct GetPerms {
    /// Print the path of each node before its permissions
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Print the owner and the rights of each node in words
    #[arg(short, long, conflicts_with_all = ["prefix", "json"])]
    pub(crate) long: bool,
    /// Print a JSON object per node, with the members "path" and "perms"
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) json: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl GetPerms {
    pub(super) fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (path, perms) in self.paths.iter().zip(tree.get_perms_many(&self.paths)) {
            if self.long {
                output.extend(format!("{path}: {}\n", in_words(&perms?)).bytes());
                continue;
            }
            if self.json {
                output.extend(Object::new().node(path, None, Some(&perms?)).line().bytes());
                continue;
            }
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
