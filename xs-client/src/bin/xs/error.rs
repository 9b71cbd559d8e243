//! The error type of the program, and how errors are reported to the user.

use std::fmt;
use std::io;

use xs_client::{Client, Error, ErrorKind};

use crate::hint;
use crate::output::{self, Color};

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
    /// An operation on a file failed.
    Io { action: String, error: io::Error },
    /// The output could not be written. `done` says what the command has changed before.
    Output { done: Option<&'static str>, error: io::Error },
    /// Any other failure.
    Message(String),
}

const OUTPUT_FAILED: &str = "cannot write to standard output";

impl CommandError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        CommandError { cause: Cause::Message(message.into()), hint: None }
    }

    /// Creates an error from that of an I/O operation. The message is `action`, a colon and
    /// `error`.
    pub(crate) fn io(action: impl Into<String>, error: io::Error) -> Self {
        CommandError { cause: Cause::Io { action: action.into(), error }, hint: None }
    }

    /// Creates the error for output that cannot be written after a change has taken effect. `done`
    /// describes the change.
    pub(crate) fn output_after(done: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let cause = Cause::Output { done: Some(done), error };
            CommandError { cause, hint: None }
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        CommandError { hint: Some(hint.into()), ..self }
    }

    /// Adds a hint for which the daemon is asked: a node with a similar path if the node does not
    /// exist, or the permissions if access is denied.
    pub(crate) fn explain(self, client: &Client) -> Self {
        let hint = match &self.cause {
            Cause::Xenstore(error) => hint::from_daemon(error, client),
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

    /// Prints the error and its hint to standard error.
    pub(crate) fn report(&self, program: &str) {
        output::labelled(program, Color::Error, self);
        if let Some(hint) = &self.hint {
            output::labelled("hint", Color::Hint, hint);
        }
    }

    /// Returns whether the output could not be written because its reader has closed it.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.output_error().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns the error of writing the output, if it is the cause.
    pub(crate) fn output_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Output { error, .. } => Some(error),
            Cause::Xenstore(error) => output_error(error),
            Cause::Io { .. } | Cause::Message(_) => None,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Xenstore(error) => f.write_str(&describe(error)),
            Cause::Io { action, error } => write!(f, "{action}: {error}"),
            Cause::Output { done: None, error } => write!(f, "{OUTPUT_FAILED}: {error}"),
            Cause::Output { done: Some(done), error } => {
                write!(f, "{done}, but {OUTPUT_FAILED}: {error}")
            }
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

/// Converts an error of writing the output.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        CommandError { cause: Cause::Output { done: None, error }, hint: None }
    }
}

/// Formats an error of the library, with the command of `xs` in place of the method of the library.
pub(crate) fn describe(error: &Error) -> String {
    if let Some(error) = output_error(error) {
        return format!("{OUTPUT_FAILED}: {error}");
    }
    match (error.kind(), error.path()) {
        // An error of this program, passed through `Error::other`.
        (ErrorKind::Other(source), _) => source.to_string(),
        (ErrorKind::NoDaemon(source), _) => source.to_string(),
        (ErrorKind::Unreachable(source), Some(path)) if error.operation() == "open" => {
            format!("cannot connect to {path}: {source}")
        }
        // Debug formatting makes control characters in an invalid path visible.
        (kind, Some(path)) => format!("{} {path:?}: {kind}", command(error)),
        (kind, None) => format!("{}: {kind}", command(error)),
    }
}

/// Returns the error of writing the output that a command has passed through `Error::other`.
fn output_error(error: &Error) -> Option<&io::Error> {
    match error.kind() {
        ErrorKind::Other(source) => source.downcast_ref(),
        _ => None,
    }
}

/// Returns the command of `xs` that performs the operation that failed.
fn command(error: &Error) -> &'static str {
    match error.operation() {
        "directory" => "list",
        "get_perms" => "get-perms",
        "set_perms" => "chmod",
        "wait_for" => "wait",
        "set_quota" | "set_domain_quota" => "quota set",
        "get_quota" | "get_domain_quota" => "quota get",
        "introduce" => "domain introduce",
        "release" => "domain release",
        "resume" => "domain resume",
        "set_target" => "domain set-target",
        "get_domain_path" => "domain path",
        other => other,
    }
}
