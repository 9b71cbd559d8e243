//! `xenstore-control`.

use std::ffi::OsString;

use super::live_update::LiveUpdate;
use crate::commands::control::Control;
use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};
use crate::exit;
use crate::output::{self, Output};

/// The exit status for invalid arguments.
const USAGE_STATUS: u8 = 2;

/// The exit status if the command fails.
const FAILURE_STATUS: u8 = 3;

/// Runs the tool, invoked as `name`. Returns the exit status.
pub(super) fn main(name: &str, args: &[OsString]) -> u8 {
    if args.is_empty() {
        output::message(format_args!("Usage:\n{name} <command> [<arg>...]"));
        return USAGE_STATUS;
    }
    let mut output = Output::of_xenstore_tool();
    let result = if args[0] == "live-update" {
        match LiveUpdate::from_args(&args[1..]) {
            Ok(update) => update.run(),
            Err(message) => {
                output::message(format_args!("{name}: {message}"));
                return USAGE_STATUS;
            }
        }
    } else {
        send(args, &mut output)
    };
    // If only the output is lost, the command has been executed.
    let has_failed = result.as_ref().is_err_and(|error| error.output_error().is_none());
    let status = exit::finish(name, result, output);
    if has_failed { FAILURE_STATUS } else { status }
}

fn send(args: &[OsString], output: &mut Output) -> CommandResult {
    let words = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let client = ConnectionArgs::default().open().map_err(CommandError::from)?;
    Control { words }.run(&client, output)
}
