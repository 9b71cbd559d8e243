//! Properties of the terminal on standard output.

use std::env;
use std::io::{self, IsTerminal, Write};

/// Returns the width of the terminal in columns, or `None` if standard output is not a terminal.
pub(crate) fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col)
}

/// Returns whether to print colors: standard output is a terminal with colors, and `NO_COLOR` is
/// not set.
pub(crate) fn use_color() -> bool {
    let is_unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    io::stdout().is_terminal()
        && is_unset("NO_COLOR")
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Returns standard output with a large buffer, also on a terminal.
pub(crate) fn buffered_stdout() -> io::BufWriter<impl Write> {
    io::BufWriter::with_capacity(1 << 16, io::stdout())
}
