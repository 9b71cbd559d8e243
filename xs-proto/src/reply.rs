//! Replies.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use bytes::BytesMut;

use crate::error::{PayloadError, RequestError};
use crate::error_code::ErrorCode;
use crate::features::Features;
use crate::payload::{Fields, Writer};
use crate::perms::Permissions;
use crate::strings::Strings;
use crate::wire::{MessageType, TxId};

/// A reply to a [`Request`](crate::Request): the payload of a message from server to client.
///
/// The type of the request determines the variant of a successful reply. Watch events are not
/// replies; see [`Event::Watch`](crate::Event::Watch).
///
/// ```
/// use xs_proto::{MessageType, Reply};
///
/// let reply = Reply::decode(MessageType::Read, b"any bytes\0\xff")?;
/// assert_eq!(reply, Reply::Value(b"any bytes\0\xff".into()));
/// # Ok::<(), xs_proto::PayloadError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// Success without a result (`OK`): the reply to WRITE, MKDIR, RM, SET_PERMS, WATCH, UNWATCH,
    /// RESET_WATCHES, TRANSACTION_END, INTRODUCE, RELEASE, RESUME, SET_TARGET, SET_FEATURE and
    /// SET_QUOTA.
    Done,
    /// READ: the value of the node, unchanged.
    Value(Cow<'a, [u8]>),
    /// DIRECTORY: the names of the children, in the order of the server.
    Children(Strings<'a>),
    /// DIRECTORY_PART: some names of the children.
    Part {
        /// The generation of the node. If it differs between two parts, the list of children has
        /// changed and must be read from the start.
        generation: u64,
        /// The names from the requested offset on.
        children: Strings<'a>,
        /// Whether the list ends with these names.
        last: bool,
    },
    /// GET_PERMS: the permissions of the node.
    Permissions(Permissions),
    /// GET_PERMS: permissions with a domain id that is out of range, such as 99999. The strings are
    /// the entries as received.
    ///
    /// oxenstored allows guests to set such permissions on their nodes. They are a reply rather
    /// than a malformed message, because otherwise a guest could end the connection of a client
    /// that reads them.
    StrangePermissions(Strings<'a>),
    /// TRANSACTION_START: the id of the new transaction. It is never [`TxId::NONE`].
    Transaction(TxId),
    /// IS_DOMAIN_INTRODUCED: whether the daemon is connected to the domain.
    Boolean(bool),
    /// GET_FEATURE: the feature bits (`XENSTORE_SERVER_FEATURE_*` in xs_wire.h).
    Features(Features),
    /// GET_DOMAIN_PATH: the path. GET_QUOTA: the names separated by spaces, or the value. CONTROL:
    /// the output of the command.
    Text(Cow<'a, str>),
    /// ERROR: the server refused the request.
    Error(ErrorCode),
}

impl<'a> Reply<'a> {
    /// Returns the type of the message that carries this reply to a request of type `request`.
    pub fn msg_type(&self, request: MessageType) -> MessageType {
        if matches!(self, Reply::Error(_)) { MessageType::Error } else { request }
    }

    /// Appends the payload to `out` and returns its length in bytes.
    ///
    /// # Errors
    /// Fails if a string contains a NUL or the payload has more than `max` bytes. `out` then
    /// contains an incomplete payload of at most `max` bytes.
    pub fn encode(&self, max: usize, out: &mut BytesMut) -> Result<usize, RequestError> {
        let mut w = Writer::new(out, max);
        match self {
            Reply::Done => w.raw(b"OK\0"),
            Reply::Value(value) => w.raw(value),
            Reply::Children(children) => w.raw(children.as_bytes()),
            Reply::Part { generation, children, last } => {
                w.display(generation);
                w.raw(children.as_bytes());
                if *last {
                    // An empty name marks the end of the list.
                    w.raw(&[0]);
                }
            }
            Reply::Permissions(perms) => perms.iter().for_each(|entry| w.display(entry)),
            Reply::StrangePermissions(entries) => w.raw(entries.as_bytes()),
            Reply::Transaction(tx_id) => w.display(tx_id),
            Reply::Boolean(value) => w.boolean(*value),
            Reply::Features(features) => w.display(features.bits()),
            Reply::Text(text) => w.string("text", text.as_bytes())?,
            Reply::Error(code) => w.string("error", code.name().as_bytes())?,
        }
        w.finish()
    }

    /// Decodes a payload.
    ///
    /// `msg_type` is the type in the reply's header: that of the request, or
    /// [`MessageType::Error`].
    ///
    /// # Errors
    /// Fails if the payload does not match the type, or if the type is not that of a reply.
    pub fn decode(msg_type: MessageType, payload: &'a [u8]) -> Result<Self, PayloadError> {
        let mut fields = Fields::new(payload);
        let f = &mut fields;
        let reply = match msg_type {
            MessageType::Read => return Ok(Reply::Value(Cow::Borrowed(payload))),
            MessageType::Directory => return fields.strings().map(Reply::Children),
            MessageType::DirectoryPart => {
                let generation = f.number()?;
                let names = fields.rest();
                let (names, last) = match names {
                    [0] => (&names[1..], true),
                    [.., 0, 0] => (&names[..names.len() - 1], true),
                    _ => (names, false),
                };
                return Ok(Reply::Part { generation, children: Strings::new(names)?, last });
            }
            MessageType::GetPerms => {
                return match Permissions::decode(fields.clone()) {
                    Ok(perms) => Ok(Reply::Permissions(perms)),
                    Err(PayloadError::Number) => fields.strings().map(Reply::StrangePermissions),
                    Err(error) => Err(error),
                };
            }
            MessageType::Control => return Ok(Reply::Text(lossy(payload))),
            MessageType::TransactionStart => match f.number()? {
                // With id 0, the requests of the transaction would take effect outside of it.
                0 => return Err(PayloadError::Number),
                id => Reply::Transaction(TxId(id)),
            },
            MessageType::IsDomainIntroduced => Reply::Boolean(f.boolean()?),
            MessageType::GetFeature => Reply::Features(Features::from_bits(f.number()?)),
            MessageType::GetDomainPath | MessageType::GetQuota => {
                Reply::Text(Cow::Borrowed(f.text()?))
            }
            MessageType::Error => Reply::Error(ErrorCode::from_name(f.text()?)),
            MessageType::Watch
            | MessageType::Unwatch
            | MessageType::TransactionEnd
            | MessageType::Introduce
            | MessageType::Release
            | MessageType::Write
            | MessageType::Mkdir
            | MessageType::Rm
            | MessageType::SetPerms
            | MessageType::Resume
            | MessageType::SetTarget
            | MessageType::ResetWatches
            | MessageType::SetFeature
            | MessageType::SetQuota => {
                if f.string()? != b"OK" {
                    return Err(PayloadError::Word);
                }
                Reply::Done
            }
            MessageType::WatchEvent | MessageType::Invalid => return Err(PayloadError::Direction),
        };
        fields.end()?;
        Ok(reply)
    }

    /// Converts to a reply that borrows nothing.
    pub fn into_owned(self) -> Reply<'static> {
        match self {
            Reply::Done => Reply::Done,
            Reply::Value(value) => Reply::Value(Cow::Owned(value.into_owned())),
            Reply::Children(children) => Reply::Children(children.into_owned()),
            Reply::Part { generation, children, last } => {
                Reply::Part { generation, children: children.into_owned(), last }
            }
            Reply::Permissions(perms) => Reply::Permissions(perms),
            Reply::StrangePermissions(entries) => Reply::StrangePermissions(entries.into_owned()),
            Reply::Transaction(tx_id) => Reply::Transaction(tx_id),
            Reply::Boolean(yes) => Reply::Boolean(yes),
            Reply::Features(features) => Reply::Features(features),
            Reply::Text(text) => Reply::Text(Cow::Owned(text.into_owned())),
            Reply::Error(code) => Reply::Error(code),
        }
    }
}

impl fmt::Debug for Reply<'_> {
    /// Shows the variant, numbers and sizes, but no value and no text of the daemon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Done => f.write_str("Done"),
            Reply::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Reply::Children(children) => f.debug_tuple("Children").field(children).finish(),
            Reply::Part { generation, children, last } => f
                .debug_struct("Part")
                .field("generation", generation)
                .field("children", children)
                .field("last", last)
                .finish(),
            Reply::Permissions(perms) => perms.fmt(f),
            Reply::StrangePermissions(entries) => {
                f.debug_tuple("StrangePermissions").field(entries).finish()
            }
            Reply::Transaction(tx_id) => f.debug_tuple("Transaction").field(tx_id).finish(),
            Reply::Boolean(yes) => f.debug_tuple("Boolean").field(yes).finish(),
            Reply::Features(bits) => f.debug_tuple("Features").field(bits).finish(),
            Reply::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Reply::Error(code) => f.debug_tuple("Error").field(code).finish(),
        }
    }
}

/// Decodes the output of CONTROL. It is meant for people; some commands omit the final NUL.
fn lossy(payload: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(payload.strip_suffix(&[0]).unwrap_or(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get_perms(payload: &[u8]) -> Result<Reply<'_>, PayloadError> {
        Reply::decode(MessageType::GetPerms, payload)
    }

    #[test]
    fn permissions_of_impossible_domains_are_kept() {
        for payload in [b"n0\0b99999\0".as_slice(), b"r-1\0", b"b5\0w65536\0n0\0"] {
            let entries = Strings::new(payload).unwrap();
            assert_eq!(get_perms(payload), Ok(Reply::StrangePermissions(entries)));
        }
    }

    #[test]
    fn malformed_permissions_are_rejected() {
        for payload in [b"x5\0".as_slice(), b"b\0", b"b5 \0", b"b--1\0", b"n0\0\0", b"b5\0x5\0"] {
            assert_eq!(get_perms(payload), Err(PayloadError::Permission));
        }
        assert_eq!(get_perms(b"b5\0r5"), Err(PayloadError::MissingNul));
    }

    #[test]
    fn permissions_of_impossible_domains_need_a_final_nul() {
        assert_eq!(get_perms(b"b99999\0r5"), Err(PayloadError::MissingNul));
    }
}
