//! What went wrong, told to people: what was tried, what became of it, and what to do next.

use std::error::Error as _;
use std::fmt;
use std::io;

use xs_client::{Client, Error, ErrorCode, ErrorKind, Path};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Of Xenstore.
    Xenstore(Error),
    /// Of the output, or of a file.
    Io(String, io::Error),
    /// Something else, and what to do about it.
    Other(String, String),
}

/// Done, or not: `false` is the answer "no", an exit status without an error.
pub(crate) type Outcome<T = bool> = Result<T, Fail>;

/// Whoever reads our output has left; the status that a shell gives for SIGPIPE.
const BROKEN_PIPE: u8 = 141;

impl Fail {
    pub(crate) fn other(what: impl Into<String>, next: impl Into<String>) -> Self {
        Fail::Other(what.into(), next.into())
    }

    /// Tells of it on standard error. Returns the exit status.
    pub(crate) fn report(&self, program: &str) -> u8 {
        if self.broken_pipe() {
            return BROKEN_PIPE;
        }
        eprintln!("{program}: {self}");
        if let Some(next) = self.next() {
            eprintln!("{:width$}  {next}", "", width = program.len());
        }
        1
    }

    fn broken_pipe(&self) -> bool {
        let io = match self {
            Fail::Io(_, error) => Some(error),
            Fail::Xenstore(error) => error.source().and_then(|error| error.downcast_ref()),
            _ => None,
        };
        // Losing the daemon is another matter: that error has a kind of its own.
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The same, with a look at what there is in place of a node that is missing.
    pub(crate) fn look_around(self, client: &Client) -> Self {
        let Fail::Xenstore(error) = &self else {
            return self;
        };
        match error.path().filter(|_| error.is_not_found()).and_then(|path| nearest(client, path)) {
            Some(nearest) => Fail::other(self.to_string(), shows_what_there_is(&nearest)),
            None => self,
        }
    }

    /// The same, for somebody who has run `xs info` already.
    pub(crate) fn informed(self) -> Self {
        match &self {
            Fail::Xenstore(_) => {
                Fail::other(self.to_string(), self.advice(false).unwrap_or_default())
            }
            _ => self,
        }
    }

    /// What to do next.
    fn next(&self) -> Option<String> {
        self.advice(true)
    }

    /// Likewise; `info`: to run `xs info` may be among it.
    fn advice(&self, info: bool) -> Option<String> {
        let error = match self {
            Fail::Xenstore(error) => error,
            Fail::Other(_, next) if !next.is_empty() => return Some(next.clone()),
            _ => return None,
        };
        // What to do, and whether `xs info` tells more.
        let (next, tells_more) = match error.kind() {
            ErrorKind::Refused(ErrorCode::NotSupported) if info => {
                ("`xs info` shows what this daemon can do", false)
            }
            ErrorKind::Refused(code) => return refused(code, error.path()?),
            ErrorKind::NotFound(_) | ErrorKind::Unreachable(_) => {
                if error.io_kind() == io::ErrorKind::PermissionDenied {
                    ("run this as root, or name another xenstored with --socket or --device", false)
                } else {
                    let next = "is this a Xen host or guest, and is xenstored running? `xs serve` \
                        runs one without Xen";
                    (next, true)
                }
            }
            ErrorKind::TimedOut if error.operation() == "wait_for" => return None,
            ErrorKind::TimedOut => {
                ("`xs ping` shows whether it answers at all; --timeout gives more time", false)
            }
            ErrorKind::Lost(_) => ("has the daemon stopped? run this again when it is back", true),
            ErrorKind::Conflict { .. } => {
                let next = "nothing has been changed; somebody keeps writing to the same nodes: try \
                    again later";
                (next, false)
            }
            _ => return None,
        };
        Some(match tells_more && info {
            true => format!("{next}; `xs info` tells more"),
            false => next.into(),
        })
    }
}

fn refused(code: &ErrorCode, path: &str) -> Option<String> {
    Some(match code {
        ErrorCode::NoEntry if !path.starts_with(['/', '@']) => {
            "a path without a slash in front is below the home of the domain that this runs in".into()
        }
        ErrorCode::NoEntry => shows_what_there_is(Path::new(path).ok()?.parent()?.as_str()),
        ErrorCode::Access | ErrorCode::NotPermitted => {
            format!("`xs get-perms {path}` shows who may, if you may see that; dom0 may do everything")
        }
        ErrorCode::NoSpace | ErrorCode::Quota | ErrorCode::TooBig => {
            "this domain has reached a quota of the daemon: remove nodes or watches, or raise it in \
             dom0"
                .into()
        }
        _ => return None,
    })
}

fn shows_what_there_is(parent: &str) -> String {
    format!("`xs list {parent}` shows what there is")
}

/// The nearest node above `path` that exists.
fn nearest(client: &Client, path: &str) -> Option<String> {
    let above: Vec<_> =
        std::iter::successors(Path::new(path).ok()?.parent(), |path| path.parent()).collect();
    // All in one round trip.
    let exist = client.exists_many(above.iter().map(|path| path.as_str()));
    let nearest = above.iter().zip(exist).find(|(_, exists)| matches!(exists, Ok(true)));
    nearest.map(|(path, _)| path.to_string())
}

/// An error of the library, in the words of the command line: operations are called as commands.
pub(crate) struct InWords<'a>(pub(crate) &'a Error);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InWords(error) = self;
        let operation = match error.operation() {
            "directory" => "list",
            "get_perms" => "get-perms",
            "set_perms" => "chmod",
            "wait_for" => "wait",
            other => other,
        };
        f.write_str(operation)?;
        if let Some(path) = error.path() {
            // A bad path is quoted with its oddities visible.
            write!(f, " {path:?}")?;
        }
        write!(f, ": {}", error.kind())
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fail::Xenstore(error) => InWords(error).fmt(f),
            Fail::Io(what, error) => write!(f, "{what}: {error}"),
            Fail::Other(what, _) => f.write_str(what),
        }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Fail::Xenstore(error)
    }
}

/// An error of writing to standard output.
impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Fail::Io("cannot write the output".into(), error)
    }
}
