//! `xs completions`: shell completion scripts.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::error::CommandResult;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to complete commands in
    shell: Shell,
}

impl Completions {
    pub(crate) fn run<C: CommandFactory>(&self) -> CommandResult {
        clap_complete::generate(self.shell, &mut C::command(), "xs", &mut io::stdout());
        Ok(true)
    }
}
