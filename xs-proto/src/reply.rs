//! Every reply of the protocol, typed, in both directions.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::error_code::ErrorCode;
use crate::payload::{Fields, PayloadError, RequestError, Strings, Writer};
use crate::perms::Permissions;
use crate::request::boolean;
use crate::wire::{MessageType, TxId};

/// A reply, as a server sends it and a client takes it.
///
/// Which variant answers a request follows from the request's type; see [`Reply::decode`].
///
/// ```
/// use xs_proto::{MessageType, Reply};
///
/// let reply = Reply::decode(MessageType::Read, b"a value\0 with anything in it")?;
/// assert_eq!(reply, Reply::Value(b"a value\0 with anything in it".into()));
/// # Ok::<(), xs_proto::PayloadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// It is done: WRITE, MKDIR, RM, SET_PERMS, WATCH, UNWATCH, RESET_WATCHES, TRANSACTION_END,
    /// INTRODUCE, RELEASE, RESUME, SET_TARGET, SET_FEATURE, SET_QUOTA.
    Done,
    /// READ: the value, byte for byte.
    Value(Cow<'a, [u8]>),
    /// DIRECTORY: the names of the children.
    Children(Strings<'a>),
    /// DIRECTORY_PART: some names of the children.
    Part {
        /// Changes with each change of the list.
        generation: u64,
        /// The names from the offset on that was asked for.
        children: Strings<'a>,
        /// Whether the list ends here.
        last: bool,
    },
    /// GET_PERMS.
    Permissions(Permissions),
    /// GET_PERMS, with a domain id among them that is none, such as 99999: the entries as they
    /// came. oxenstored lets every guest set such permissions on its nodes, so they must not cost
    /// those who read them their connection.
    StrangePermissions(Strings<'a>),
    /// TRANSACTION_START: the transaction's id, for the headers of the requests inside; never
    /// [`TxId::NONE`].
    Transaction(TxId),
    /// IS_DOMAIN_INTRODUCED.
    Boolean(bool),
    /// GET_FEATURE: feature bits.
    Features(u32),
    /// GET_DOMAIN_PATH, GET_QUOTA, CONTROL: some text.
    Text(Cow<'a, str>),
    /// The server refused the request.
    Error(ErrorCode),
}

impl<'a> Reply<'a> {
    /// The type that the header of this reply has, given that of the request.
    pub fn msg_type(&self, request: MessageType) -> MessageType {
        if matches!(self, Reply::Error(_)) { MessageType::Error } else { request }
    }

    /// Appends the payload to `out` and returns its length.
    ///
    /// # Errors
    /// A text or a name has a NUL inside, or the payload is longer than `max`. What had been
    /// written until then stays in `out`, at most `max` bytes.
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
                    // An empty name tells the client that nothing follows.
                    w.raw(&[0]);
                }
            }
            Reply::Permissions(perms) => perms.iter().for_each(|entry| w.display(entry)),
            Reply::StrangePermissions(entries) => w.raw(entries.as_bytes()),
            Reply::Transaction(tx_id) => w.display(tx_id),
            Reply::Boolean(yes) => w.raw(if *yes { b"T\0" } else { b"F\0" }),
            Reply::Features(bits) => w.display(bits),
            Reply::Text(text) => w.string("text", text.as_bytes())?,
            Reply::Error(code) => w.string("error", code.name().as_bytes())?,
        }
        w.finish()
    }

    /// The reply with this payload, given the type of its header (which is that of the request,
    /// or ERROR).
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
                // What was meant for the transaction would take effect outside.
                0 => return Err(PayloadError::Number),
                id => Reply::Transaction(TxId(id)),
            },
            MessageType::IsDomainIntroduced => Reply::Boolean(boolean(f.string()?)?),
            MessageType::GetFeature => Reply::Features(f.number()?),
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
                // What is wrong otherwise, is found out later.
                if payload == b"OK\0" {
                    return Ok(Reply::Done);
                }
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

    /// The same reply, borrowing nothing.
    #[inline(always)]
    pub fn into_owned(self) -> Reply<'static> {
        match self {
            // The most frequent ones, short enough to be put where they are needed.
            Reply::Done => Reply::Done,
            Reply::Value(value) => Reply::Value(Cow::Owned(match value {
                Cow::Borrowed(value) => copied(value),
                Cow::Owned(value) => value,
            })),
            other => other.other_into_owned(),
        }
    }

    fn other_into_owned(self) -> Reply<'static> {
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
            Reply::Features(bits) => Reply::Features(bits),
            Reply::Text(text) => Reply::Text(Cow::Owned(text.into_owned())),
            Reply::Error(code) => Reply::Error(code),
        }
    }
}

/// On its own, for what allocates is not small enough to be put wherever it is needed.
#[inline(never)]
fn copied(value: &[u8]) -> Vec<u8> {
    value.to_vec()
}

/// What a daemon says to CONTROL is for people; some commands leave the final NUL away.
fn lossy(payload: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(payload.strip_suffix(&[0]).unwrap_or(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_domains_are_told_from_garbage() {
        let decode = |payload| Reply::decode(MessageType::GetPerms, payload);
        for strange in [b"n0\0b99999\0".as_slice(), b"r-1\0", b"b5\0w65536\0n0\0"] {
            let entries = Strings::new(strange).unwrap();
            assert_eq!(decode(strange), Ok(Reply::StrangePermissions(entries)));
        }
        for garbage in [b"x5\0".as_slice(), b"b\0", b"b5 \0", b"b--1\0", b"b99999\0zz\0", b"n0\0\0"]
        {
            assert_ne!(decode(b"n0\0"), decode(garbage));
        }
        assert_eq!(decode(b"b5\0x5\0"), Err(PayloadError::Permission));
        assert_eq!(decode(b"b99999\0r5"), Err(PayloadError::MissingNul));
    }
}
