//! The header, the message types and the limits: what `xs_wire.h` defines.

use core::fmt;

/// The largest payload of a message in bytes, in either direction (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;

/// The longest absolute path in bytes, its final NUL not counted (`XENSTORE_ABS_PATH_MAX`).
pub const ABS_PATH_MAX: usize = 3072;

/// The longest relative path in bytes, its final NUL not counted (`XENSTORE_REL_PATH_MAX`).
pub const REL_PATH_MAX: usize = 2048;

/// The largest reply to DIRECTORY that a client takes, in bytes.
///
/// The protocol's limit is [`PAYLOAD_MAX`], but oxenstored answers a DIRECTORY of a big node with
/// all of it in one message, and has no DIRECTORY_PART to offer instead. No other message may
/// exceed [`PAYLOAD_MAX`].
pub const DIRECTORY_REPLY_MAX: usize = 1 << 20;

/// The 16 bytes in front of every message (`struct xsd_sockmsg`).
///
/// Four 32-bit numbers, little-endian on every architecture that Xen runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What the message is; see [`MessageType`]. Kept as it came, known or not.
    pub msg_type: u32,
    /// Chosen by the client, echoed by the server.
    pub req_id: ReqId,
    /// The transaction that the message belongs to.
    pub tx_id: TxId,
    /// The length of the payload in bytes.
    pub len: u32,
}

impl Header {
    /// The encoded size in bytes.
    pub const LEN: usize = 16;

    /// The header as it goes over the wire.
    #[inline]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let words = [self.msg_type, self.req_id.0, self.tx_id.0, self.len];
        for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// The header that these bytes stand for. Any bytes make a header; judging it is the
    /// reader's work.
    #[inline]
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Header { msg_type: word(0), req_id: ReqId(word(4)), tx_id: TxId(word(8)), len: word(12) }
    }
}

/// Names a request on its connection, so that the reply can be told from others.
///
/// The client chooses it and the server echoes it. A server must not rely on it: libxenstore
/// sends 0 in every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReqId(pub u32);

impl fmt::Display for ReqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a transaction on its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u32);

impl TxId {
    /// Outside any transaction (`XBT_NULL`).
    pub const NONE: TxId = TxId(0);

    /// Whether this names no transaction.
    #[inline]
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
        /// What a message is (`enum xsd_sockmsg_type`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum MessageType {
            $($(#[$doc])* $name = $value,)*
        }

        impl MessageType {
            /// All types that `xs_wire.h` defines, by number.
            pub const ALL: &'static [MessageType] = &[$(MessageType::$name),*];

            /// The type with this number, if there is one.
            #[inline]
            pub const fn from_u32(number: u32) -> Option<Self> {
                match number {
                    $($value => Some(MessageType::$name),)*
                    _ => None,
                }
            }

            /// The name in `xs_wire.h`, without its `XS_`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(MessageType::$name => $wire,)*
                }
            }
        }
    };
}

message_types! {
    /// A command to the daemon itself; also known as DEBUG.
    Control = 0, "CONTROL";
    /// The names of a node's children.
    Directory = 1, "DIRECTORY";
    /// A node's value.
    Read = 2, "READ";
    /// A node's permissions.
    GetPerms = 3, "GET_PERMS";
    /// Asks for an event whenever a node or one below it changes.
    Watch = 4, "WATCH";
    /// Ends a watch.
    Unwatch = 5, "UNWATCH";
    /// Opens a transaction.
    TransactionStart = 6, "TRANSACTION_START";
    /// Commits or aborts a transaction.
    TransactionEnd = 7, "TRANSACTION_END";
    /// Tells the daemon of a new domain.
    Introduce = 8, "INTRODUCE";
    /// Tells the daemon to forget a domain.
    Release = 9, "RELEASE";
    /// Where a domain's relative paths lead.
    GetDomainPath = 10, "GET_DOMAIN_PATH";
    /// Sets a node's value.
    Write = 11, "WRITE";
    /// Creates an empty node, unless there is one.
    Mkdir = 12, "MKDIR";
    /// Removes a node and all below it.
    Rm = 13, "RM";
    /// Sets a node's permissions.
    SetPerms = 14, "SET_PERMS";
    /// From the server: a watched node has changed.
    WatchEvent = 15, "WATCH_EVENT";
    /// From the server: the request failed.
    Error = 16, "ERROR";
    /// Whether the daemon knows a domain.
    IsDomainIntroduced = 17, "IS_DOMAIN_INTRODUCED";
    /// Lets a domain's shutdown be noticed again.
    Resume = 18, "RESUME";
    /// Lets one domain act with the rights of another.
    SetTarget = 19, "SET_TARGET";
    /// Ends all watches and transactions of a domain.
    ResetWatches = 21, "RESET_WATCHES";
    /// A part of the names of a node's children.
    DirectoryPart = 22, "DIRECTORY_PART";
    /// The features of the server, or those offered to a domain.
    GetFeature = 23, "GET_FEATURE";
    /// Sets the features offered to a domain.
    SetFeature = 24, "SET_FEATURE";
    /// The names of the quotas, or the value of one.
    GetQuota = 25, "GET_QUOTA";
    /// Sets a quota.
    SetQuota = 26, "SET_QUOTA";
    /// Answers nothing and asks nothing.
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
    fn header_golden_bytes() {
        let header = Header { msg_type: 2, req_id: ReqId(0x0102_0304), tx_id: TxId(5), len: 4096 };
        let bytes = [2, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 0, 16, 0, 0];
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::decode(&bytes), header);
    }

    #[test]
    fn types_are_numbered_as_in_xs_wire_h() {
        for ty in MessageType::ALL {
            assert_eq!(MessageType::from_u32(*ty as u32), Some(*ty));
        }
        // RESTRICT was removed and its number stays unused.
        assert_eq!(MessageType::from_u32(20), None);
        assert_eq!(MessageType::from_u32(27), None);
        assert_eq!(MessageType::ALL.len(), 27);
    }
}
