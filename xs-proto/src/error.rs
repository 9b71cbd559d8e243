//! The errors of messages and connections.

use crate::path::PathError;
use crate::wire::{MessageType, ReqId, TxId};

/// A request or reply that cannot be encoded. Nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A string contains a NUL byte, which terminates strings in a payload.
    #[error("the {field} contains a NUL byte")]
    Nul {
        /// The name of the string, such as `token`.
        field: &'static str,
    },
    /// The payload exceeds the limit of the protocol or of the transport.
    #[error("the payload has {len} bytes, the limit is {max}")]
    TooLong {
        /// The length of the payload in bytes.
        len: usize,
        /// The limit in bytes: [`PAYLOAD_MAX`](crate::PAYLOAD_MAX) or
        /// [`Limits::payload`](crate::Limits::payload).
        max: usize,
    },
    /// TRANSACTION_END was submitted with [`TxId::NONE`].
    #[error("there is no transaction to end")]
    NoTransaction,
    /// GET_QUOTA names a domain but no quota. The protocol has no such request.
    #[error("the quota of a domain needs a name")]
    DomainWithoutQuota,
}

/// A request that [`ClientConnection::submit`](crate::ClientConnection::submit) did not accept.
/// Nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The request cannot be encoded.
    #[error(transparent)]
    Invalid(RequestError),
    /// [`MAX_PENDING`](crate::ClientConnection::MAX_PENDING) requests are in flight. Submit the
    /// request again when one of them has been answered.
    #[error("too many requests are in flight")]
    Full,
    /// The connection has already failed.
    #[error(transparent)]
    Failed(ConnectionError),
}

/// A message whose header announces a payload above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of type {msg_type} announces {len} bytes of payload, the limit is {max}")]
pub struct FrameError {
    /// The number of the message type, known or not.
    pub msg_type: u32,
    /// The announced length of the payload in bytes.
    pub len: u32,
    /// The limit in bytes: [`PAYLOAD_MAX`](crate::PAYLOAD_MAX) or
    /// [`DIRECTORY_REPLY_MAX`](crate::DIRECTORY_REPLY_MAX).
    pub max: usize,
}

/// A payload that does not match its message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A string is not terminated by a NUL byte.
    #[error("a string has no terminating NUL")]
    MissingNul,
    /// The payload has fewer fields than the message type requires.
    #[error("a field is missing")]
    TooFew,
    /// Data follows the last field.
    #[error("data follows the last field")]
    TooMany,
    /// A field is not a decimal number, or the number is out of range.
    #[error("a field is not a number, or out of range")]
    Number,
    /// A field is not one of its fixed words, such as `OK`, `T` or `F`.
    #[error("a field is not one of the expected words")]
    Word,
    /// A field is not a valid path.
    #[error("a field is not a path: {0}")]
    Path(PathError),
    /// A field is not a permission, such as `r5`.
    #[error("a field is not a permission")]
    Permission,
    /// A field is not UTF-8.
    #[error("a field is not UTF-8")]
    Text,
    /// Messages of this type are not sent in this direction.
    #[error("a message of this type is not sent in this direction")]
    Direction,
}

/// The reason why a connection ended. It is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer closed the connection between two messages.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed the connection in the middle of a message.
    #[error("the peer closed the connection in the middle of a message")]
    Truncated,
    /// The payload of a message is too long.
    #[error(transparent)]
    Frame(FrameError),
    /// A message has a type that xs_wire.h does not define.
    #[error("the peer sent a message of unknown type {msg_type}")]
    UnknownType {
        /// The number of the type.
        msg_type: u32,
    },
    /// A reply carries the id of a request that is not in flight.
    #[error("the peer sent a {msg_type} reply to request {req_id}, which is not in flight")]
    UnknownRequest {
        /// The type of the reply.
        msg_type: MessageType,
        /// The request id in the reply.
        req_id: ReqId,
    },
    /// The type of a reply differs from that of its request.
    #[error("the peer sent a {got} reply to a {expected} request")]
    WrongType {
        /// The type of the request.
        expected: MessageType,
        /// The type of the reply.
        got: MessageType,
    },
    /// The transaction id of a reply differs from that of its request.
    #[error("the peer sent a {msg_type} reply for transaction {got} instead of {expected}")]
    WrongTransaction {
        /// The type of the reply.
        msg_type: MessageType,
        /// The transaction of the request.
        expected: TxId,
        /// The transaction of the reply.
        got: TxId,
    },
    /// A payload does not match its message type.
    #[error("the peer sent a malformed {msg_type} message: {cause}")]
    Payload {
        /// The type of the message.
        msg_type: MessageType,
        /// The defect of the payload.
        cause: PayloadError,
    },
}
