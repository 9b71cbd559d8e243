//! `xs rm`: removes nodes.

use clap::Args;
use xs_client::{Result, Tree};

use crate::ancestors::ancestors;

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

impl Rm {
    pub(super) fn run(&self, tree: &Tree) -> Result<bool> {
        if !self.tidy {
            tree.rm_all(&self.paths)?;
            return Ok(true);
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
