//! `xs list`: the names of children.

use clap::Args;
use xs_client::{Result, Tree};

use crate::json::Object;

/// List the children of nodes
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print the path of each child instead of its name
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Print a JSON object per node, with the members "path" and "children"
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) json: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl List {
    pub(super) fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        for (path, names) in self.paths.iter().zip(tree.directory_many(&self.paths)) {
            let parent = if path == "/" { "" } else { path.as_str() };
            let names = names?;
            if self.json {
                output.extend(
                    Object::new().string("path", path).strings("children", names).line().bytes(),
                );
                continue;
            }
            for name in names {
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
