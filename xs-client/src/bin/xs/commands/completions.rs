//! `xs completions`: shell completion scripts.

use clap::Args;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::completion;
use crate::error::{CommandError, CommandResult};
use crate::output::Output;

/// Print a completion script for a shell
///
/// The script asks xs for candidates, which are commands and options, and also paths, domain IDs
/// and files. xs must be in a directory of $PATH. The paths are those of the daemon that the options
/// on the line or the environment select. If it does not answer within 200 ms, there are no paths.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell that the script is for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, output: &mut Output) -> CommandResult {
        let shells = Shells::builtins();
        let shell = shells.completer(&self.shell.to_string()).ok_or_else(|| {
            CommandError::new(format!("completions: no script for {}", self.shell))
        })?;
        shell.write_registration(completion::VARIABLE, "xs", "xs", "xs", output)?;
        Ok(true)
    }
}
