//! The errors that a server replies with.

use alloc::boxed::Box;
use core::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $meaning:literal;)*) => {
        /// An error that the server replied with (`xsd_errors` in `xs_wire.h`).
        ///
        /// The wire carries the name of an errno value, not its number. Names that `xs_wire.h` does
        /// not define are preserved in [`ErrorCode::Other`].
        ///
        /// ```
        /// use xs_proto::ErrorCode;
        ///
        /// assert_eq!(ErrorCode::from_name("ENOENT"), ErrorCode::NoEntry);
        /// assert_eq!(ErrorCode::NoEntry.to_string(), "ENOENT (not found)");
        /// assert_eq!(ErrorCode::from_name("ENEW").name(), "ENEW");
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A name that this crate does not know.
            Other(Box<str>),
        }

        impl ErrorCode {
            /// All codes except [`ErrorCode::Other`].
            pub const KNOWN: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// Returns the code with this name on the wire.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($wire => ErrorCode::$name,)*
                    other => ErrorCode::Other(other.into()),
                }
            }

            /// Returns the name on the wire, such as `ENOENT`.
            pub fn name(&self) -> &str {
                match self {
                    $(ErrorCode::$name => $wire,)*
                    ErrorCode::Other(name) => name,
                }
            }

            fn meaning(&self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $meaning,)*
                    ErrorCode::Other(_) => "unknown error",
                }
            }
        }
    };
}

error_codes! {
    /// `EINVAL`: the request is malformed or not valid for its target.
    Invalid = "EINVAL", "invalid request";
    /// `EACCES`: the permissions of the node do not allow the operation.
    Access = "EACCES", "permission denied";
    /// `EEXIST`: the watch or other object already exists.
    Exists = "EEXIST", "already exists";
    /// `EISDIR`: defined, but current servers do not send it.
    IsDirectory = "EISDIR", "is a directory";
    /// `ENOENT`: the node, transaction, watch or domain does not exist.
    NoEntry = "ENOENT", "not found";
    /// `ENOMEM`: the server is out of memory.
    NoMemory = "ENOMEM", "the daemon is out of memory";
    /// `ENOSPC`: a quota of the domain is exhausted.
    NoSpace = "ENOSPC", "quota exceeded";
    /// `EIO`: the server failed. From oxenstored: the transaction does not exist.
    Io = "EIO", "the daemon failed";
    /// `ENOTEMPTY`: defined, but current servers do not send it.
    NotEmpty = "ENOTEMPTY", "not empty";
    /// `ENOSYS`: the server does not support the message type.
    NotSupported = "ENOSYS", "not supported by the daemon";
    /// `EROFS`: the server does not accept changes.
    ReadOnly = "EROFS", "the store is read-only";
    /// `EBUSY`: the operation is not possible in the current state, for example inside a
    /// transaction.
    Busy = "EBUSY", "not possible in the current state";
    /// `EAGAIN`: the transaction conflicts with a concurrent change and must be repeated.
    Again = "EAGAIN", "the transaction conflicts with another change";
    /// `EISCONN`: the domain is already introduced.
    Connected = "EISCONN", "the domain is already introduced";
    /// `E2BIG`: the request or its result is too large, or a quota is exhausted.
    TooBig = "E2BIG", "too large, or quota exceeded";
    /// `EPERM`: the operation is reserved for privileged domains.
    NotPermitted = "EPERM", "reserved for privileged domains";
    /// `EQUOTA`: a quota of the domain is exhausted. Only oxenstored sends it; `xs_wire.h` does not
    /// define it.
    Quota = "EQUOTA", "quota exceeded";
}

impl fmt::Display for ErrorCode {
    /// Writes the name on the wire and its meaning. Control characters in an unknown name, which
    /// may be any text, are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().escape_debug(), self.meaning())
    }
}

impl core::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for code in ErrorCode::KNOWN {
            assert_eq!(ErrorCode::from_name(code.name()), *code);
            assert_ne!(ErrorCode::from_name(code.name()), ErrorCode::Other(code.name().into()));
        }
        assert_eq!(ErrorCode::from_name("ENEW"), ErrorCode::Other("ENEW".into()));
    }
}
