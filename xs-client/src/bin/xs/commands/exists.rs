//! `xs exists`: tests whether nodes exist.

use clap::Args;
use xs_client::{Result, Tree};

/// Test whether nodes exist
///
/// Prints nothing. The exit status is 0 if all nodes exist, and 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl Exists {
    pub(super) fn run(&self, tree: &Tree) -> Result<bool> {
        tree.exists_many(&self.paths).into_iter().try_fold(true, |all, exists| Ok(all & exists?))
    }
}
