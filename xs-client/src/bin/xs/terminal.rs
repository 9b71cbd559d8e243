//! Properties of the terminal.

use std::env;
use std::io::{self, IsTerminal};

/// Returns the width of the terminal in columns, or `None` if standard output is not a terminal.
pub(crate) fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col)
}

/// Returns whether to print colors: the stream is a terminal with colors, and `NO_COLOR` is not set.
pub(crate) fn use_color(stream: &impl IsTerminal) -> bool {
    let is_unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    stream.is_terminal()
        && is_unset("NO_COLOR")
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
}
