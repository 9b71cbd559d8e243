//! `xs completions`: shell completion scripts.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::error::CommandResult;
use crate::output::Output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell that the script is for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run<C: CommandFactory>(&self, output: &mut Output) -> CommandResult {
        // `generate` panics if a write fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "xs", &mut script);
        output.write_all(&script)?;
        Ok(true)
    }
}
