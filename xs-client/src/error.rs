//! The errors of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use xs_proto::{ErrorCode, ParseDomIdError, ParsePermissionError, PathError, RequestError};
use xs_transport::Failure;
use xs_transport::discover::DiscoverError;

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error, with the operation and the path that it concerns.
///
/// [`kind`](Error::kind) distinguishes an invalid argument, a refusal by the daemon, a timeout and
/// a lost connection. An error converts to [`std::io::Error`] with the closest [`io::ErrorKind`].
///
/// ```
/// use xs_client::{Client, ErrorCode, ErrorKind};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
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

/// The kind of an [`Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid. Nothing was sent.
    Invalid(Invalid),
    /// The daemon refused the request.
    Refused(ErrorCode),
    /// The daemon's answer has an unexpected form, for example a value that is not text for
    /// [`read_str`](crate::Tree::read_str). The connection remains usable. A
    /// [`Pending`](crate::Pending) whose result was already taken returns this, too.
    Unexpected(Box<str>),
    /// The connection is lost. The daemon may or may not have executed the operation.
    Lost(Failure),
    /// The connection to which the transaction belongs is lost, and the transaction with it.
    TransactionLost,
    /// The transaction has already been committed or aborted. Nothing was sent.
    TransactionEnded,
    /// The deadline passed. The daemon may have executed the operation, or may still do so. In
    /// [`wait_for`](crate::Client::wait_for), the value did not meet the condition in time.
    TimedOut,
    /// The deadline passed while the program did not poll the [driver](crate::futures#the-driver) of
    /// its futures.
    NotDriven,
    /// Each attempt of the transaction conflicted with the changes of another client.
    Conflict {
        /// How many attempts were made.
        attempts: u32,
    },
    /// Another part of the program has removed the watch, or closed the set of watches.
    WatchRemoved,
    /// The maximum number of requests, 4096, is in flight. Try again when one of them is answered.
    /// Only calls that do not block return this. Nothing was sent.
    TooManyRequests,
    /// The transport does not support the operation.
    Unsupported(&'static str),
    /// No daemon was found. A missing node is [`Refused`](Self::Refused) with ENOENT.
    NoDaemon(DiscoverError),
    /// The client cannot connect to the given daemon, or cannot connect again after the connection
    /// was lost. Nothing was sent.
    Unreachable(io::Error),
    /// The operating system could not provide a thread or a descriptor, or could not wait for one.
    System(io::Error),
    /// The caller's own error; see [`Error::other`].
    Other(Box<dyn StdError + Send + Sync>),
}

/// The reason why an argument is [invalid](ErrorKind::Invalid).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The path is not valid.
    #[error(transparent)]
    Path(PathError),
    /// The request is not valid.
    #[error(transparent)]
    Request(RequestError),
    /// A CONTROL request has no command.
    #[error("the control request has no command")]
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

    /// Wraps the caller's own error, so that the closure of a
    /// [transaction](crate::Client::transaction) can return it. Its message stays the same.
    ///
    /// The operator `?` does the same with [`io::Error`], with the errors of the standard library's
    /// parsers, with text, and with `Box<dyn Error + Send + Sync>`. If one of these wraps an error
    /// of this type, the result is that error.
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        match error.into().downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::new("transaction", None, ErrorKind::Other(error)),
        }
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns the operation that failed, such as `read`. For an error from [`Error::other`], this
    /// is `transaction`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns the path of the operation, as the caller gave it.
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// Returns the daemon's error code, if the daemon refused the request.
    pub fn code(&self) -> Option<&ErrorCode> {
        match self.kind() {
            ErrorKind::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// Returns whether the daemon answered ENOENT. This is false for [`ErrorKind::NoDaemon`].
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(&ErrorCode::NoEntry)
    }

    /// Returns whether a transaction conflicted with another client's changes and may be repeated.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind(), ErrorKind::Refused(ErrorCode::Again) | ErrorKind::Conflict { .. })
    }

    /// Returns whether the connection is lost, or cannot be made to a
    /// [given daemon](ErrorKind::Unreachable). Further calls fail, too, unless the client
    /// [reconnects](crate::Builder::reconnect).
    pub fn is_lost(&self) -> bool {
        matches!(self.kind(), ErrorKind::Lost(_) | ErrorKind::Unreachable(_))
    }

    /// Returns whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), ErrorKind::TimedOut | ErrorKind::NotDriven)
    }

    /// Returns the closest [`io::ErrorKind`].
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
            ErrorKind::TimedOut | ErrorKind::NotDriven => io::ErrorKind::TimedOut,
            ErrorKind::Conflict { .. } => io::ErrorKind::WouldBlock,
            ErrorKind::WatchRemoved => io::ErrorKind::NotConnected,
            ErrorKind::TooManyRequests => io::ErrorKind::WouldBlock,
            ErrorKind::Unsupported(_) => io::ErrorKind::Unsupported,
            ErrorKind::NoDaemon(error) => error.io_kind(),
            ErrorKind::Unreachable(error) | ErrorKind::System(error) => error.kind(),
            ErrorKind::Other(_) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ErrorKind::Other(error) = self.kind() {
            return error.fmt(f);
        }
        f.write_str(self.0.operation)?;
        if let Some(path) = &self.0.path {
            // Quoting makes control characters of an invalid path visible.
            write!(f, " {path:?}")?;
        }
        write!(f, ": {}", self.0.kind)
    }
}

/// `{:?}` is the [`Display`](fmt::Display) text, followed by the causes that are not part of it.
/// `unwrap` and a `main` that returns the error print this. `{:#?}` shows the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("operation", &self.0.operation)
                .field("path", &self.0.path)
                .field("kind", &self.0.kind)
                .finish();
        }
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !text.contains(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

impl StdError for Error {
    /// Returns the cause of the error that the [kind](Error::kind) holds. That error itself is part
    /// of the [`Display`](fmt::Display) text.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.kind() {
            ErrorKind::Lost(failure) => failure.source(),
            ErrorKind::Unreachable(error) | ErrorKind::System(error) => error.source(),
            ErrorKind::Other(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::other(error),
        }
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Error::new("transaction", None, error)
    }
}

macro_rules! from_other {
    ($($error:ty)*) => {
        $(impl From<$error> for Error {
            /// Wraps the error; see [`Error::other`].
            fn from(error: $error) -> Self {
                Error::other(error)
            }
        })*
    };
}

from_other! {
    Box<dyn StdError + Send + Sync>
    &str
    String
    fmt::Error
    std::net::AddrParseError
    std::num::ParseFloatError
    std::num::ParseIntError
    std::num::TryFromIntError
    std::str::ParseBoolError
    std::str::Utf8Error
    std::string::FromUtf8Error
    ParseDomIdError
    ParsePermissionError
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Invalid(error) => error.fmt(f),
            ErrorKind::Refused(code) => code.fmt(f),
            ErrorKind::Unexpected(what) => f.write_str(what),
            ErrorKind::Lost(failure) => write!(f, "the connection is lost: {failure}"),
            ErrorKind::TransactionEnded => f.write_str("the transaction has already ended"),
            ErrorKind::TransactionLost => f.write_str("the connection of the transaction is lost"),
            ErrorKind::TimedOut => f.write_str("timed out"),
            ErrorKind::NotDriven => {
                f.write_str("timed out: the driver of the futures is not polled")
            }
            ErrorKind::Conflict { attempts } => {
                write!(f, "all {attempts} attempts conflicted with changes by other clients")
            }
            ErrorKind::WatchRemoved => f.write_str("the watch was removed"),
            ErrorKind::TooManyRequests => f.write_str("too many requests are in flight"),
            ErrorKind::Unsupported(what) => f.write_str(what),
            ErrorKind::NoDaemon(error) => error.fmt(f),
            ErrorKind::Unreachable(error) => write!(f, "cannot connect: {error}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_caller_errors_are_unchanged() {
        let own = || io::Error::other("the backend has no ring");
        assert_eq!(Error::other(own()).to_string(), own().to_string());
        assert_eq!(io::Error::from(Error::other(own())).to_string(), own().to_string());
    }

    #[test]
    fn wrapped_errors_are_unwrapped() {
        let refused = || Error::new("read", Some("/a"), ErrorKind::Refused(ErrorCode::NoEntry));
        assert!(Error::other(refused()).is_not_found());
        assert!(Error::from(io::Error::from(refused())).is_not_found());
        let boxed: Box<dyn StdError + Send + Sync> = refused().into();
        assert!(Error::from(boxed).is_not_found());
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the tunnel is closed")]
    struct TunnelError(#[source] fmt::Error);

    fn tunnel_error() -> io::Error {
        io::Error::other(TunnelError(fmt::Error))
    }

    #[test]
    fn causes_of_wrapped_errors_are_kept() {
        let kinds = [
            Failure::from(tunnel_error()).into(),
            ErrorKind::Unreachable(tunnel_error()),
            ErrorKind::System(tunnel_error()),
            ErrorKind::Other(tunnel_error().into()),
        ];
        for kind in kinds {
            let error = Error::new("read", None, kind);
            assert!(error.to_string().ends_with("the tunnel is closed"));
            assert!(error.source().unwrap().is::<fmt::Error>());
            let expected = format!("the tunnel is closed: {}", fmt::Error);
            assert!(format!("{error:?}").ends_with(&expected), "{error:?}");
        }
    }

    #[test]
    fn causes_are_not_repeated() {
        use xs_proto::ring::{RingError, ServerError};
        use xs_proto::{ConnectionError, FrameError, MessageType, PayloadError, SubmitError};

        let discover = || DiscoverError { tried: vec![("a tunnel".into(), tunnel_error())] };
        let kinds: [ErrorKind; 9] = [
            PathError::Empty.into(),
            RequestError::NoTransaction.into(),
            ErrorKind::Refused(ErrorCode::NoEntry),
            Failure::from(ConnectionError::Closed).into(),
            Failure::from(tunnel_error()).into(),
            ErrorKind::NoDaemon(discover()),
            ErrorKind::Unreachable(tunnel_error()),
            ErrorKind::System(tunnel_error()),
            ErrorKind::Other(tunnel_error().into()),
        ];
        let of_client = kinds.map(|kind| Error::new("read", Some("/a"), kind).into());
        let (msg_type, cause) = (MessageType::Read, PayloadError::Path(PathError::Empty));
        let seed = xs_transport::mock::Xenstored::new().seed("//a").unwrap_err();
        let others: [Box<dyn StdError>; 9] = [
            io::Error::from(Error::other(tunnel_error())).into(),
            Failure::from(tunnel_error()).into(),
            discover().into(),
            seed.cause.clone().into(),
            seed.into(),
            Invalid::Path(PathError::Empty).into(),
            SubmitError::Failed(ConnectionError::Payload { msg_type, cause }).into(),
            ConnectionError::Frame(FrameError { msg_type: 2, len: 5000, max: 4096 }).into(),
            RingError::GivenUp(ServerError::Protocol).into(),
        ];
        for error in of_client.into_iter().chain(others) {
            let mut error: &dyn StdError = &*error;
            while let Some(cause) = error.source() {
                assert!(!error.to_string().contains(&cause.to_string()), "{error}: {cause}");
                error = cause;
            }
        }
    }
}
