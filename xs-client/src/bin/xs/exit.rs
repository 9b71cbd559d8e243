//! How the program ends.

use std::io::Write;

use crate::error::CommandResult;
use crate::output::Output;
use crate::sigpipe;

/// Writes the rest of the output, and reports the error of the command. Returns the exit status.
///
/// If the reader has closed the output, SIGPIPE ends the program, unless it is ignored. The command
/// has returned by then: connections are closed and sockets are removed.
pub(crate) fn finish(program: &str, result: CommandResult, mut output: Output) -> u8 {
    // An error of the command takes precedence over the loss of the output before it.
    let flushed = output.flush();
    let result = result.and_then(|answer| {
        flushed?;
        Ok(answer)
    });
    let is_killed = output.is_closed() && !sigpipe::is_ignored();
    if let Err(error) = &result {
        if !(is_killed && error.is_broken_pipe()) {
            error.report(program);
        }
    }
    if is_killed {
        sigpipe::die();
    }
    u8::from(!result.unwrap_or(false))
}
