//! `xs completions`: shell completion scripts.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::error::CommandResult;
use crate::output::Output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell that the script is for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, output: &mut Output) -> CommandResult {
        // `generate` panics if a write fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli::command(), "xs", &mut script);
        output.write_all(&script)?;
        Ok(true)
    }
}
