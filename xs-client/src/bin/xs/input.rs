//! Input files.

use std::fs;
use std::io;

use crate::error::{CommandError, CommandResult};

/// Reads a file, or standard input if `path` is `None` or `-`.
///
/// Returns the name of the input, for error messages, and its content.
pub(crate) fn read(path: Option<&str>) -> CommandResult<(String, String)> {
    let (name, text) = match path {
        Some(path) if path != "-" => (path.to_owned(), fs::read_to_string(path)),
        _ => ("standard input".to_owned(), io::read_to_string(io::stdin())),
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(CommandError::io(format!("cannot read {name}"), error)),
    }
}
