//! `xs mkdir`: creates nodes.

use clap::Args;
use xs_client::{Result, Tree};

/// Create nodes with empty values
///
/// Creates parents as needed. Does not change nodes that already exist.
#[derive(Debug, Args)]
pub(crate) struct Mkdir {
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl Mkdir {
    pub(super) fn run(&self, tree: &Tree) -> Result<bool> {
        tree.mkdir_all(&self.paths)?;
        Ok(true)
    }
}
