//! What can go wrong, and whose fault it is.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use xs_proto::{ErrorCode, PathError, RequestError};
use xs_transport::Failure;
use xs_transport::discover::DiscoverError;

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in which operation, on which path.
///
/// [`kind`](Error::kind) tells the caller's mistake from the daemon's answer and from a lost
/// connection. It converts to [`std::io::Error`] with the fitting [`io::ErrorKind`].
///
/// ```
/// use xs_client::{Client, ErrorCode, ErrorKind};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// let error = client.read("/no/such/node").unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::Refused(ErrorCode::NoEntry)));
/// assert_eq!(error.path(), Some("/no/such/node"));
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
///
/// let error = client.read("no blanks, please").unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::Invalid(_)));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    operation: &'static str,
    path: Option<Box<str>>,
    kind: ErrorKind,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's mistake. Nothing was sent.
    Invalid(Invalid),
    /// The daemon's answer.
    Refused(ErrorCode),
    /// The daemon's answer cannot be understood as what was asked for: a value that is not text,
    /// say, where text was wanted. The connection is fine.
    Unexpected(Box<str>),
    /// The connection is lost, for this reason. Whether the daemon has carried out the operation
    /// is not known.
    Lost(Failure),
    /// The connection on which the transaction was open is gone, and the transaction with it.
    TransactionLost,
    /// The transaction was committed or aborted before. Nothing was sent.
    TransactionEnded,
    /// The deadline passed. Whether the daemon has carried out the operation, or still will, is
    /// not known; or what was [waited for](crate::Client::wait_for) did not come.
    TimedOut,
    /// Each attempt to commit the transaction met changes made by others.
    Conflict {
        /// How many attempts were made.
        attempts: u32,
    },
    /// The watch was removed from elsewhere.
    WatchRemoved,
    /// Thousands of requests wait for their answers; try again when one has come. Only where the
    /// call does not wait for that by itself. Nothing was sent.
    TooManyRequests,
    /// The way to the daemon does not offer this.
    Unsupported(&'static str),
    /// No xenstored was found.
    NotFound(DiscoverError),
    /// The xenstored cannot be reached: the one that was named, or none again since the connection
    /// was lost. Nothing was sent.
    Unreachable(io::Error),
    /// The system has no thread or descriptor for this, or no way to wait for one.
    System(io::Error),
    /// An error of the caller's own; see [`Error::other`].
    Other(Box<dyn StdError + Send + Sync>),
}

/// The caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// This is not a path.
    #[error(transparent)]
    Path(PathError),
    /// The request cannot be sent as it is.
    #[error(transparent)]
    Request(RequestError),
    /// CONTROL needs a command.
    #[error("there is no command")]
    NoCommand,
}

impl Error {
    pub(crate) fn new(
        operation: &'static str,
        path: Option<&str>,
        kind: impl Into<ErrorKind>,
    ) -> Self {
        Error(Box::new(Inner { operation, path: path.map(Into::into), kind: kind.into() }))
    }

    /// Takes an error of the caller's own through a
    /// [transaction's closure](crate::Client::transaction).
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::new("transaction", None, ErrorKind::Other(error.into()))
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// In which operation, such as `read`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// On which path, as it was given.
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// What the daemon answered, if it is the daemon that refused.
    pub fn code(&self) -> Option<&ErrorCode> {
        match self.kind() {
            ErrorKind::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the daemon said ENOENT.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(&ErrorCode::NoEntry)
    }

    /// Whether a transaction met changes made by others, and may be run again.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind(), ErrorKind::Refused(ErrorCode::Again) | ErrorKind::Conflict { .. })
    }

    /// Whether there is no connection: it is lost, or cannot be made. Further calls fail, too, unless
    /// the client [reconnects](crate::Builder::reconnect).
    pub fn is_lost(&self) -> bool {
        matches!(self.kind(), ErrorKind::Lost(_) | ErrorKind::Unreachable(_))
    }

    /// Whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), ErrorKind::TimedOut)
    }

    /// The kind of I/O error that comes closest.
    pub fn io_kind(&self) -> io::ErrorKind {
        match self.kind() {
            ErrorKind::Invalid(_) => io::ErrorKind::InvalidInput,
            ErrorKind::Refused(code) => match code {
                ErrorCode::NoEntry => io::ErrorKind::NotFound,
                ErrorCode::Access | ErrorCode::NotPermitted => io::ErrorKind::PermissionDenied,
                ErrorCode::Exists | ErrorCode::Connected => io::ErrorKind::AlreadyExists,
                ErrorCode::Invalid => io::ErrorKind::InvalidInput,
                ErrorCode::IsDirectory => io::ErrorKind::IsADirectory,
                ErrorCode::NotEmpty => io::ErrorKind::DirectoryNotEmpty,
                ErrorCode::NoMemory => io::ErrorKind::OutOfMemory,
                ErrorCode::NoSpace | ErrorCode::Quota => io::ErrorKind::StorageFull,
                ErrorCode::NotSupported => io::ErrorKind::Unsupported,
                ErrorCode::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
                ErrorCode::Busy => io::ErrorKind::ResourceBusy,
                ErrorCode::Again => io::ErrorKind::WouldBlock,
                _ => io::ErrorKind::Other,
            },
            ErrorKind::Unexpected(_) => io::ErrorKind::InvalidData,
            ErrorKind::Lost(failure) => failure.io_kind(),
            ErrorKind::TransactionLost => io::ErrorKind::NotConnected,
            ErrorKind::TransactionEnded => io::ErrorKind::InvalidInput,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::Conflict { .. } => io::ErrorKind::WouldBlock,
            ErrorKind::WatchRemoved => io::ErrorKind::NotConnected,
            ErrorKind::TooManyRequests => io::ErrorKind::WouldBlock,
            ErrorKind::Unsupported(_) => io::ErrorKind::Unsupported,
            ErrorKind::NotFound(error) => error.io_kind(),
            ErrorKind::Unreachable(error) | ErrorKind::System(error) => error.kind(),
            ErrorKind::Other(_) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation)?;
        if let Some(path) = &self.0.path {
            // A bad path is quoted with its oddities visible.
            write!(f, " {path:?}")?;
        }
        write!(f, ": {}", self.0.kind)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.0.operation)
            .field("path", &self.0.path)
            .field("kind", &self.0.kind)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.kind() {
            ErrorKind::Invalid(error) => Some(error),
            ErrorKind::Refused(code) => Some(code),
            ErrorKind::Lost(failure) => Some(failure),
            ErrorKind::NotFound(error) => Some(error),
            ErrorKind::Unreachable(error) | ErrorKind::System(error) => Some(error),
            ErrorKind::Other(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Invalid(error) => error.fmt(f),
            ErrorKind::Refused(code) => code.fmt(f),
            ErrorKind::Unexpected(what) => f.write_str(what),
            ErrorKind::Lost(failure) => write!(f, "the connection is lost: {failure}"),
            ErrorKind::TransactionEnded => f.write_str("the transaction has ended before"),
            ErrorKind::TransactionLost => {
                f.write_str("the transaction was open on a connection that is lost")
            }
            ErrorKind::TimedOut => f.write_str("the deadline passed"),
            ErrorKind::Conflict { attempts } => {
                write!(f, "all of {attempts} attempts met changes made by others")
            }
            ErrorKind::WatchRemoved => f.write_str("the watch was removed"),
            ErrorKind::TooManyRequests => f.write_str("too many requests wait for their answers"),
            ErrorKind::Unsupported(what) => f.write_str(what),
            ErrorKind::NotFound(error) => error.fmt(f),
            ErrorKind::Unreachable(error) => write!(f, "there is no connection: {error}"),
            ErrorKind::System(error) => error.fmt(f),
            ErrorKind::Other(error) => error.fmt(f),
        }
    }
}

impl From<PathError> for ErrorKind {
    fn from(error: PathError) -> Self {
        ErrorKind::Invalid(Invalid::Path(error))
    }
}

impl From<RequestError> for ErrorKind {
    fn from(error: RequestError) -> Self {
        ErrorKind::Invalid(Invalid::Request(error))
    }
}

impl From<Failure> for ErrorKind {
    fn from(failure: Failure) -> Self {
        ErrorKind::Lost(failure)
    }
}
