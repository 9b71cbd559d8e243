//! The error type of the program, and how errors are reported to the user.

use std::error::Error as _;
use std::fmt;
use std::io;

use xs_client::{Client, Error, ErrorKind};

use crate::hint;

/// The result of a command.
///
/// `Ok(false)` makes the exit status 1 without an error message: the answer is negative, or the
/// output is incomplete.
pub(crate) type CommandResult<T = bool> = Result<T, CommandError>;

/// An error that ends a command, with a hint on how to resolve it.
#[derive(Debug)]
pub(crate) struct CommandError {
    cause: Cause,
    hint: Option<String>,
}

#[derive(Debug)]
enum Cause {
    /// An operation on Xenstore failed.
    Xenstore(Error),
    /// An operation on a file or on standard output failed.
    Io { action: String, error: io::Error },
    /// Any other failure.
    Message(String),
}

/// The exit status that a shell reports for a process killed by SIGPIPE.
const BROKEN_PIPE_STATUS: u8 = 141;

const STDOUT_FAILED: &str = "cannot write to standard output";

impl CommandError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        CommandError { cause: Cause::Message(message.into()), hint: None }
    }

    /// An I/O error. The message is `action`, a colon and the error.
    pub(crate) fn io(action: impl Into<String>, error: io::Error) -> Self {
        CommandError { cause: Cause::Io { action: action.into(), error }, hint: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        CommandError { hint: Some(hint.into()), ..self }
    }

    /// If the error says that a node does not exist, hints at its nearest existing ancestor.
    pub(crate) fn suggest_existing_node(self, client: &Client) -> Self {
        let hint = match &self.cause {
            Cause::Xenstore(error) => hint::existing_node(error, client),
            _ => None,
        };
        match hint {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }

    /// Removes a hint to run `xs info`, for errors of that command itself.
    pub(crate) fn without_info_hint(self) -> Self {
        match &self.cause {
            Cause::Xenstore(error) => CommandError { hint: hint::for_error(error), ..self },
            _ => self,
        }
    }

    /// Prints the error and its hint to standard error. Returns the exit status.
    pub(crate) fn report(&self, program: &str) -> u8 {
        if self.is_broken_pipe() {
            return BROKEN_PIPE_STATUS;
        }
        eprintln!("{program}: {self}");
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        1
    }

    /// Returns whether the reader of standard output has closed it.
    fn is_broken_pipe(&self) -> bool {
        let io = match &self.cause {
            Cause::Io { error, .. } => Some(error),
            // Commands pass errors of standard output through `Error::other`. A lost connection has
            // another source.
            Cause::Xenstore(error) => error.source().and_then(|error| error.downcast_ref()),
            Cause::Message(_) => None,
        };
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Xenstore(error) => f.write_str(&describe(error)),
            Cause::Io { action, error } => write!(f, "{action}: {error}"),
            Cause::Message(message) => f.write_str(message),
        }
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let hint = hint::for_error_or_info(&error);
        CommandError { cause: Cause::Xenstore(error), hint }
    }
}

/// An error of writing to standard output.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        CommandError::io(STDOUT_FAILED, error)
    }
}

/// Formats an error of the library. Names the command of `xs` instead of the method of the library.
pub(crate) fn describe(error: &Error) -> String {
    match (error.kind(), error.path()) {
        // An error of this program, passed through `Error::other`.
        (ErrorKind::Other(source), _) => match source.downcast_ref::<io::Error>() {
            Some(error) => format!("{STDOUT_FAILED}: {error}"),
            None => source.to_string(),
        },
        (ErrorKind::NotFound(source), _) => source.to_string(),
        (ErrorKind::Unreachable(source), Some(path)) if error.operation() == "open" => {
            format!("cannot connect to {path}: {source}")
        }
        // Debug formatting makes control characters in an invalid path visible.
        (kind, Some(path)) => format!("{} {path:?}: {kind}", command(error)),
        (kind, None) => format!("{}: {kind}", command(error)),
    }
}

/// Returns the command that performs the operation that failed.
fn command(error: &Error) -> &'static str {
    match error.operation() {
        "directory" => "list",
        "get_perms" => "get-perms",
        "set_perms" => "chmod",
        "wait_for" => "wait",
        other => other,
    }
}
