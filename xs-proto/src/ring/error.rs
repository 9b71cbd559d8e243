//! The failures of a ring.

use core::fmt;

use super::page::Ring;

/// A failure of an end of a ring.
///
/// Each error except [`NotOffered`](Self::NotOffered) is final: all later calls return it, until
/// the end starts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The other end has moved its index backwards, or further than the ring allows.
    #[error(
        "the other end has broken the ring of {ring}: consumer {consumer}, producer {producer}"
    )]
    Indices {
        /// The ring that is broken.
        ring: Ring,
        /// The number of bytes taken from the ring, modulo 2^32.
        consumer: u32,
        /// The number of bytes put into the ring, modulo 2^32.
        producer: u32,
    },
    /// The connection field has a value that xs_wire.h does not define.
    #[error("the other end has set the connection state to {value}, which is undefined")]
    Connection {
        /// The value of the field.
        value: u32,
    },
    /// The other end asks for the ring to be connected again.
    ///
    /// The bytes in the rings are lost, as are watches, transactions and requests in flight.
    #[error("the other end has asked to reconnect")]
    Reconnecting,
    /// xenstored has given up the ring.
    #[error("xenstored has given up the ring: {0}")]
    GivenUp(ServerError),
    /// The client cannot ask for a new connection, since xenstored does not offer it
    /// (XENSTORE_SERVER_FEATURE_RECONNECTION).
    #[error("xenstored does not offer to reconnect")]
    NotOffered,
}

/// The reason why xenstored gave up a ring (XENSTORE_ERROR_* of xs_wire.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerError {
    /// xenstored cannot communicate with the guest (XENSTORE_ERROR_COMM).
    Communication,
    /// The guest has set an invalid ring index (XENSTORE_ERROR_RINGIDX).
    RingIndex,
    /// The guest has violated the protocol (XENSTORE_ERROR_PROTO).
    Protocol,
    /// A number that this version does not know.
    Unknown(u32),
}

impl ServerError {
    /// Returns the number in the page's error field. It is not 0.
    pub const fn number(self) -> u32 {
        match self {
            ServerError::Communication => 1,
            ServerError::RingIndex => 2,
            ServerError::Protocol => 3,
            ServerError::Unknown(number) => number,
        }
    }

    /// Returns the error for a number in the page's error field, or `None` for 0, no error.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => ServerError::Communication,
            2 => ServerError::RingIndex,
            3 => ServerError::Protocol,
            number => ServerError::Unknown(number),
        })
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Communication => f.write_str("it cannot communicate with the guest"),
            ServerError::RingIndex => f.write_str("the guest has set an invalid index"),
            ServerError::Protocol => f.write_str("the guest has violated the protocol"),
            ServerError::Unknown(number) => write!(f, "unknown error {number}"),
        }
    }
}
