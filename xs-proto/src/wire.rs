//! The definitions of `xs_wire.h`: limits, header, ids and message types.

use core::fmt;

/// The largest payload of a message in bytes, in both directions (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;

/// The longest absolute path in bytes, without its terminating NUL (`XENSTORE_ABS_PATH_MAX`).
pub const ABS_PATH_MAX: usize = 3072;

/// The longest relative path in bytes, without its terminating NUL (`XENSTORE_REL_PATH_MAX`).
pub const REL_PATH_MAX: usize = 2048;

/// The largest DIRECTORY reply that a client accepts, in bytes: 1 MiB.
///
/// The protocol limits it to [`PAYLOAD_MAX`], like every other message. But oxenstored answers
/// DIRECTORY of a node with many children in one oversized message, and does not support
/// DIRECTORY_PART. This limit is this crate's own; no header defines it.
pub const DIRECTORY_REPLY_MAX: usize = 1 << 20;

/// The header of a message (`struct xsd_sockmsg`).
///
/// It consists of four 32-bit numbers. They are in host byte order, which is little-endian on
/// every architecture that Xen supports.
///
/// ```
/// use xs_proto::{Header, MessageType, ReqId, TxId};
///
/// let msg_type = MessageType::Read as u32;
/// let header = Header { msg_type, req_id: ReqId(7), tx_id: TxId::NONE, len: 6 };
/// let bytes = header.encode();
/// assert_eq!(bytes, [2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0]);
/// assert_eq!(Header::decode(&bytes), header);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The number of the message type, known or not; see [`MessageType::from_u32`].
    pub msg_type: u32,
    /// The id of the request. The client chooses it and the server echoes it.
    pub req_id: ReqId,
    /// The transaction of the message, or [`TxId::NONE`].
    pub tx_id: TxId,
    /// The length of the payload in bytes, not counting the header.
    pub len: u32,
}

impl Header {
    /// The encoded size of a header in bytes.
    pub const LEN: usize = 16;

    /// Returns the header in wire format.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let words = [self.msg_type, self.req_id.0, self.tx_id.0, self.len];
        for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Decodes a header. All bytes decode; the caller must check type and length.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Header { msg_type: word(0), req_id: ReqId(word(4)), tx_id: TxId(word(8)), len: word(12) }
    }
}

/// The id of a request (`req_id` in `struct xsd_sockmsg`).
///
/// It matches a reply to its request on one connection. A server must not assume that ids are
/// unique: libxenstore sends 0 in every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReqId(pub u32);

impl fmt::Display for ReqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a transaction (`tx_id` in `struct xsd_sockmsg`; xenstore.txt, "Transactions").
///
/// The server chooses it. It is valid on one connection, until the transaction ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u32);

impl TxId {
    /// The id of requests outside of a transaction (`XBT_NULL`).
    pub const NONE: TxId = TxId(0);

    /// Returns whether this is [`TxId::NONE`].
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! message_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $wire:literal;)*) => {
        /// The type of a message (`enum xsd_sockmsg_type`).
        ///
        /// A reply has the type of its request, or [`MessageType::Error`]. The payloads are those
        /// of [`Request`](crate::Request) and [`Reply`](crate::Reply).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum MessageType {
            $($(#[$doc])* $name = $value,)*
        }

        impl MessageType {
            /// All types that `xs_wire.h` defines, in numeric order.
            pub const ALL: &'static [MessageType] = &[$(MessageType::$name),*];

            /// Returns the type with this number, or `None` if `xs_wire.h` does not define it.
            pub const fn from_u32(number: u32) -> Option<Self> {
                match number {
                    $($value => Some(MessageType::$name),)*
                    _ => None,
                }
            }

            /// Returns the name in `xs_wire.h` without its prefix `XS_`, such as `GET_PERMS`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(MessageType::$name => $wire,)*
                }
            }
        }
    };
}

message_types! {
    /// Sends a command to the daemon itself. Formerly named DEBUG.
    Control = 0, "CONTROL";
    /// Lists the children of a node.
    Directory = 1, "DIRECTORY";
    /// Reads the value of a node.
    Read = 2, "READ";
    /// Reads the permissions of a node.
    GetPerms = 3, "GET_PERMS";
    /// Sets a watch on a node and its descendants.
    Watch = 4, "WATCH";
    /// Removes a watch.
    Unwatch = 5, "UNWATCH";
    /// Starts a transaction.
    TransactionStart = 6, "TRANSACTION_START";
    /// Commits or aborts a transaction.
    TransactionEnd = 7, "TRANSACTION_END";
    /// Connects the daemon to a domain.
    Introduce = 8, "INTRODUCE";
    /// Disconnects the daemon from a domain.
    Release = 9, "RELEASE";
    /// Returns the base of a domain's relative paths.
    GetDomainPath = 10, "GET_DOMAIN_PATH";
    /// Sets the value of a node.
    Write = 11, "WRITE";
    /// Creates a node with an empty value, unless it exists.
    Mkdir = 12, "MKDIR";
    /// Removes a node and its descendants.
    Rm = 13, "RM";
    /// Sets the permissions of a node.
    SetPerms = 14, "SET_PERMS";
    /// Reports a change of a watched node. Only the server sends it, without a request.
    WatchEvent = 15, "WATCH_EVENT";
    /// Reports that a request failed. Only the server sends it.
    Error = 16, "ERROR";
    /// Returns whether the daemon is connected to a domain.
    IsDomainIntroduced = 17, "IS_DOMAIN_INTRODUCED";
    /// Makes the daemon report the next shutdown of a domain again.
    Resume = 18, "RESUME";
    /// Grants one domain the access rights of another.
    SetTarget = 19, "SET_TARGET";
    /// Removes all watches and aborts all transactions of the client.
    ResetWatches = 21, "RESET_WATCHES";
    /// Lists a part of the children of a node.
    DirectoryPart = 22, "DIRECTORY_PART";
    /// Returns the features of the daemon, or those offered to a domain.
    GetFeature = 23, "GET_FEATURE";
    /// Sets the features offered to a domain.
    SetFeature = 24, "SET_FEATURE";
    /// Returns the names of the quotas, or the value of one quota.
    GetQuota = 25, "GET_QUOTA";
    /// Sets a quota.
    SetQuota = 26, "SET_QUOTA";
    /// A type that is never valid; servers refuse it.
    Invalid = 65535, "INVALID";
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_little_endian() {
        let header = Header { msg_type: 2, req_id: ReqId(0x0102_0304), tx_id: TxId(5), len: 4096 };
        let bytes = [2, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 0, 16, 0, 0];
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::decode(&bytes), header);
    }

    #[test]
    fn type_numbers_match_xs_wire_h() {
        for ty in MessageType::ALL {
            assert_eq!(MessageType::from_u32(*ty as u32), Some(*ty));
        }
        // RESTRICT (20) was removed; its number stays unused.
        assert_eq!(MessageType::from_u32(20), None);
        assert_eq!(MessageType::from_u32(27), None);
        assert_eq!(MessageType::ALL.len(), 27);
    }
}
