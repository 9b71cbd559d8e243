//! Input files.

use std::fs;
use std::io::{self, Read};

use xs_transport::mock::text::{self, Line};

use crate::error::{CommandError, CommandResult};

/// Reads the bytes of a file, or of standard input if `path` is `-`.
pub(crate) fn read_bytes(path: &str) -> CommandResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let (name, result) = match path {
        "-" => ("standard input", io::stdin().read_to_end(&mut bytes).map(drop)),
        path => (path, fs::read(path).map(|read| bytes = read)),
    };
    match result {
        Ok(()) => Ok(bytes),
        Err(error) => Err(CommandError::io(format!("cannot read {name}"), error)),
    }
}

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

/// Reads the nodes from a file that `xs dump` has written, or from standard input if `path` is
/// `None` or `-`.
pub(crate) fn read_dump(path: Option<&str>) -> CommandResult<Vec<Line>> {
    let (name, text) = read(path)?;
    parse_dump(&name, &text)
}

/// Parses the output of `xs dump`, which comes from the file `name`.
pub(crate) fn parse_dump(name: &str, text: &str) -> CommandResult<Vec<Line>> {
    let lines: Result<Vec<_>, _> = text::lines(text).collect();
    match lines {
        Ok(lines) => Ok(lines.into_iter().map(|(_, line)| line).collect()),
        Err(error) => Err(CommandError::new(format!("{name}: {error}"))
            .with_hint("nothing was changed; a line is: PATH [PERMS] = \"VALUE\"")),
    }
}
