//! The cause of a failed connection.

use std::fmt;
use std::io;
use std::sync::Arc;

use xs_proto::ConnectionError;

/// The cause of a failed connection. The connection can no longer be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The peer closed the connection or violated the protocol.
    Protocol(ConnectionError),
    /// The transport failed or panicked.
    Io(Arc<io::Error>),
    /// This side closed the connection.
    Closed,
    /// The connection belongs to a process from which this one was forked.
    Forked,
}

impl Failure {
    /// Returns the closest kind of I/O error.
    pub fn io_kind(&self) -> io::ErrorKind {
        match self {
            Failure::Protocol(ConnectionError::Closed) => io::ErrorKind::ConnectionReset,
            Failure::Protocol(ConnectionError::Truncated) => io::ErrorKind::UnexpectedEof,
            Failure::Protocol(_) => io::ErrorKind::InvalidData,
            Failure::Io(error) => error.kind(),
            Failure::Closed | Failure::Forked => io::ErrorKind::NotConnected,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Protocol(error) => error.fmt(f),
            Failure::Io(error) => error.fmt(f),
            Failure::Closed => f.write_str("the connection was closed on this side"),
            Failure::Forked => {
                f.write_str("this process was forked from the one that opened the connection")
            }
        }
    }
}

impl std::error::Error for Failure {
    /// Returns the cause of the error that the failure holds. That error itself is part of the
    /// [`Display`](fmt::Display) text.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Protocol(error) => error.source(),
            Failure::Io(error) => error.source(),
            Failure::Closed | Failure::Forked => None,
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Failure::Protocol(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(Arc::new(error))
    }
}
