//! Standard output and standard error.
//!
//! Commands write to them only through this module, because `println!` and `eprintln!` panic if a
//! write fails.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use crate::{sigpipe, terminal};

/// Standard output, with a large buffer, also on a terminal.
///
/// [`exit::finish`](crate::exit::finish) writes what is in the buffer when the command has ended.
#[derive(Debug)]
pub(crate) struct Output {
    buffer: BufWriter<Stdout>,
    last_flush: Instant,
}

/// Standard output, which remembers whether its reader has closed it.
#[derive(Debug)]
struct Stdout {
    /// Whether to discard output after the reader has closed it, instead of failing.
    may_discard: bool,
    is_closed: bool,
}

/// A write this long after the last flush causes another flush, so that results of a slow daemon
/// appear as they come.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

const BUFFER_SIZE: usize = 1 << 16;

impl Output {
    /// Creates the output of `xs`.
    pub(crate) fn new() -> Self {
        Output::with(false)
    }

    /// Creates the output of a xenstore tool. If SIGPIPE is ignored, the original tools continue
    /// without a reader, and report no error.
    pub(crate) fn of_xenstore_tool() -> Self {
        Output::with(sigpipe::is_ignored())
    }

    fn with(may_discard: bool) -> Self {
        let stdout = Stdout { may_discard, is_closed: false };
        let buffer = BufWriter::with_capacity(BUFFER_SIZE, stdout);
        Output { buffer, last_flush: Instant::now() }
    }

    /// Notes that the reader has closed the output, and returns the error that a write would have.
    pub(crate) fn closed_by_reader(&mut self) -> io::Error {
        self.buffer.get_mut().is_closed = true;
        rustix::io::Errno::PIPE.into()
    }

    /// Returns whether the reader has closed the output, as far as writes have shown it.
    pub(crate) fn is_closed(&self) -> bool {
        self.buffer.get_ref().is_closed
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.buffer.write(bytes)?;
        if self.last_flush.elapsed() >= FLUSH_INTERVAL {
            self.flush()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.last_flush = Instant::now();
        self.buffer.flush()
    }
}

impl Stdout {
    /// Returns the result of a write, or `discarded` if the reader is gone and output is discarded.
    fn check<T>(&mut self, result: io::Result<T>, discarded: T) -> io::Result<T> {
        let is_broken_pipe =
            result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        self.is_closed |= is_broken_pipe;
        if is_broken_pipe && self.may_discard { Ok(discarded) } else { result }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = io::stdout().write(bytes);
        self.check(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = io::stdout().flush();
        self.check(result, ())
    }
}

/// The color of a label in front of a message, as clap colors its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Color {
    Error,
    Warning,
    Hint,
}

/// Prints `LABEL: TEXT` to standard error, with a color if it is a terminal.
pub(crate) fn labelled(label: &str, color: Color, text: impl fmt::Display) {
    let code = match color {
        Color::Error => "1;31",
        Color::Warning => "1;33",
        Color::Hint => "32",
    };
    match terminal::use_color(&io::stderr()) {
        true => message(format_args!("\x1b[{code}m{label}:\x1b[0m {text}")),
        false => message(format_args!("{label}: {text}")),
    }
}

/// Prints a warning to standard error.
pub(crate) fn warning(text: impl fmt::Display) {
    labelled("xs: warning", Color::Warning, text);
}

/// Prints a line to standard error.
///
/// A failure is ignored, because it cannot be reported: the exit status tells the result. Without a
/// reader, SIGPIPE ends the program, unless it is ignored.
pub(crate) fn message(text: impl fmt::Display) {
    let line = format!("{text}\n");
    let result = io::stderr().write_all(line.as_bytes());
    if result.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        && !sigpipe::is_ignored()
    {
        sigpipe::die();
    }
}
