//! What went wrong, told to people: what was tried, what became of it, and what to do next.

use std::error::Error as _;
use std::fmt;
use std::io;

use xs_client::{Error, ErrorCode, ErrorKind};

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

    /// What to do next.
    fn next(&self) -> Option<String> {
        let error = match self {
            Fail::Xenstore(error) => error,
            Fail::Other(_, next) if !next.is_empty() => return Some(next.clone()),
            _ => return None,
        };
        let path = error.path();
        let next = match error.kind() {
            ErrorKind::Refused(code) => return refused(code, path),
            ErrorKind::NotFound(_) | ErrorKind::Unreachable(_) => {
                if error.io_kind() == io::ErrorKind::PermissionDenied {
                    "run this as root, or name another xenstored with --socket or --device"
                } else {
                    "is this a Xen host or guest, and is xenstored running? `xs info` tells more; \
                     `xs serve` runs one without Xen"
                }
            }
            ErrorKind::TimedOut if error.operation() == "wait_for" => return None,
            ErrorKind::TimedOut => {
                "`xs ping` shows whether it answers at all; --timeout gives more time"
            }
            ErrorKind::Lost(_) => "has the daemon stopped? `xs info` tells; then run this again",
            ErrorKind::Conflict { .. } => {
                "nothing has been changed; somebody keeps writing to the same nodes: try again later"
            }
            _ => return None,
        };
        Some(next.into())
    }
}

fn refused(code: &ErrorCode, path: Option<&str>) -> Option<String> {
    let path = path?;
    Some(match code {
        ErrorCode::NoEntry => {
            let parent = xs_client::Path::new(path).ok()?.parent()?;
            format!("`xs list {parent}` shows what there is")
        }
        ErrorCode::Access | ErrorCode::NotPermitted => {
            format!("`xs get-perms {path}` shows who may, if you may see that; dom0 may do everything")
        }
        ErrorCode::NoSpace | ErrorCode::Quota | ErrorCode::TooBig => {
            "this domain has reached a quota of the daemon: remove nodes or watches, or raise it in \
             dom0"
                .into()
        }
        ErrorCode::NotSupported => "`xs info` shows what this daemon can do".into(),
        _ => return None,
    })
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fail::Xenstore(error) => error.fmt(f),
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
