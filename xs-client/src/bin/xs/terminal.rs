//! What standard output is: a terminal of some width, or something else.

use std::env;
use std::io::{self, IsTerminal, Write};

/// The width of the terminal in columns; `None` if standard output is none.
pub(crate) fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col)
}

/// Whether to use colours: on a terminal that has them, unless `NO_COLOR` is set.
pub(crate) fn has_colours() -> bool {
    let is_unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    io::stdout().is_terminal()
        && is_unset("NO_COLOR")
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Standard output with a buffer of some size, whatever stands behind it.
pub(crate) fn stdout() -> io::BufWriter<impl Write> {
    // The lock is not used: its writer looks for line ends, but takes large pieces whole.
    io::BufWriter::with_capacity(1 << 16, io::stdout())
}
