//! `xenstore-control`.

use std::ffi::OsString;

use super::live_update::LiveUpdate;
use crate::commands::control::Control;
use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};

/// The exit status for invalid arguments.
const USAGE_STATUS: u8 = 2;

/// The exit status if the command fails.
const FAILURE_STATUS: u8 = 3;

/// Runs the tool, invoked as `name`. Returns the exit status.
pub(super) fn main(name: &str, args: &[OsString]) -> u8 {
    if args.is_empty() {
        eprintln!("Usage:\n{name} <command> [<arg>...]");
        return USAGE_STATUS;
    }
    let result = if args[0] == "live-update" {
        match LiveUpdate::from_args(&args[1..]) {
            Ok(update) => update.run(),
            Err(message) => {
                eprintln!("{name}: {message}");
                return USAGE_STATUS;
            }
        }
    } else {
        send(args)
    };
    match result {
        Ok(_) => 0,
        Err(error) => {
            error.report(name);
            FAILURE_STATUS
        }
    }
}

fn send(args: &[OsString]) -> CommandResult {
    let words = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let client = ConnectionArgs::default().open().map_err(CommandError::from)?;
    Control { words }.run(&client)
}
