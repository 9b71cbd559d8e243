//! `xs control`: commands for the daemon.

use std::io::Write;

use clap::Args;
use xs_client::{Client, Error, ErrorCode};

use crate::error::{CommandError, CommandResult};
use crate::escape::printable;
use crate::output::Output;

/// Send a control command to the daemon, such as `check`, `log on` or `quota`
///
/// `xs control help` lists the commands that this daemon knows. Only dom0 may send them.
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// Command and its parameters
    #[arg(required = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

impl Control {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let reply = client.control(&self.words).map_err(|error| self.explain(error, client))?;
        writeln!(output, "{}", printable(&reply))
            .and_then(|()| output.flush())
            .map_err(CommandError::output_after("command executed"))?;
        Ok(true)
    }

    /// Adds the list of commands to EINVAL, which daemons reply to an unknown command.
    fn explain(&self, error: Error, client: &Client) -> CommandError {
        if error.code() != Some(&ErrorCode::Invalid) {
            return error.into();
        }
        let Ok(commands) = client.control(["help"]) else {
            return error.into();
        };
        CommandError::new(format!("control {:?}: {}", self.words.join(" "), error.kind()))
            .with_hint(format!(
                "the daemon has these commands:\n{}",
                printable(commands.trim_end())
            ))
    }
}
