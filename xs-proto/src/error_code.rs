//! The errors that a server answers with.

use alloc::boxed::Box;
use core::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal;)*) => {
        /// An error that the server answered with, by its name on the wire (`xsd_errors`).
        ///
        /// A name that `xs_wire.h` does not know is kept as it came.
        ///
        /// ```
        /// use xs_proto::ErrorCode;
        ///
        /// assert_eq!(ErrorCode::from_name("ENOENT"), ErrorCode::NoEntry);
        /// assert_eq!(ErrorCode::from_name("EODD").name(), "EODD");
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A name that this crate does not know.
            Other(Box<str>),
        }

        impl ErrorCode {
            /// The codes that have a name of their own.
            pub const KNOWN: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The error of this name.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($wire => ErrorCode::$name,)*
                    other => ErrorCode::Other(other.into()),
                }
            }

            /// The name on the wire, such as `ENOENT`.
            pub fn name(&self) -> &str {
                match self {
                    $(ErrorCode::$name => $wire,)*
                    ErrorCode::Other(name) => name,
                }
            }
        }
    };
}

error_codes! {
    /// `EINVAL`: the request makes no sense to the server.
    Invalid = "EINVAL";
    /// `EACCES`: the permissions do not allow it.
    Access = "EACCES";
    /// `EEXIST`: such a thing exists already.
    Exists = "EEXIST";
    /// `EISDIR`: not used by today's servers.
    IsDirectory = "EISDIR";
    /// `ENOENT`: there is no such node, transaction, watch or domain.
    NoEntry = "ENOENT";
    /// `ENOMEM`: the server is out of memory.
    NoMemory = "ENOMEM";
    /// `ENOSPC`: a quota of the domain is used up.
    NoSpace = "ENOSPC";
    /// `EIO`: the server failed; oxenstored: there is no such transaction.
    Io = "EIO";
    /// `ENOTEMPTY`: not used by today's servers.
    NotEmpty = "ENOTEMPTY";
    /// `ENOSYS`: the server does not know the operation.
    NotSupported = "ENOSYS";
    /// `EROFS`: the server does not take changes.
    ReadOnly = "EROFS";
    /// `EBUSY`: not now, or not inside a transaction.
    Busy = "EBUSY";
    /// `EAGAIN`: the transaction met a change made by others; run it again.
    Again = "EAGAIN";
    /// `EISCONN`: the domain is introduced already.
    Connected = "EISCONN";
    /// `E2BIG`: the request, its result or a quota is too big.
    TooBig = "E2BIG";
    /// `EPERM`: only a privileged domain may do this.
    NotPermitted = "EPERM";
    /// `EQUOTA`: oxenstored's word for [`NoSpace`](ErrorCode::NoSpace).
    Quota = "EQUOTA";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self {
            ErrorCode::Invalid => "the daemon calls the request invalid",
            ErrorCode::Access => "permission denied",
            ErrorCode::Exists => "it exists already",
            ErrorCode::IsDirectory => "it is a directory",
            ErrorCode::NoEntry => "there is no such thing",
            ErrorCode::NoMemory => "the daemon is out of memory",
            ErrorCode::NoSpace => "a quota is used up",
            ErrorCode::Io => "the daemon failed",
            ErrorCode::NotEmpty => "it is not empty",
            ErrorCode::NotSupported => "the daemon does not know the operation",
            ErrorCode::ReadOnly => "the store is read-only",
            ErrorCode::Busy => "not possible now",
            ErrorCode::Again => "the transaction met a change made by others",
            ErrorCode::Connected => "the domain is introduced already",
            ErrorCode::TooBig => "too big, or a quota is used up",
            ErrorCode::NotPermitted => "only a privileged domain may do this",
            ErrorCode::Quota => "a quota is used up",
            ErrorCode::Other(_) => "an error that this library has no words for",
        };
        write!(f, "{} ({meaning})", self.name())
    }
}

impl core::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for code in ErrorCode::KNOWN {
            assert_eq!(ErrorCode::from_name(code.name()), *code);
            assert_ne!(ErrorCode::from_name(code.name()), ErrorCode::Other(code.name().into()));
        }
        assert_eq!(ErrorCode::from_name("EWHAT"), ErrorCode::Other("EWHAT".into()));
    }
}
