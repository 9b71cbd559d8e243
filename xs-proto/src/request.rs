//! Every request of the protocol, typed, in both directions.

use alloc::borrow::Cow;

use bytes::BytesMut;

use crate::path::Path;
use crate::payload::{Fields, PayloadError, RequestError, Strings, Writer};
use crate::perms::{DomId, Permissions};
use crate::wire::MessageType;

/// A request, as a client sends it and a server takes it.
///
/// Each variant is one message type; the payloads are those of xenstore.txt.
///
/// ```
/// use xs_proto::{MessageType, Path, Request};
///
/// let request = Request::decode(MessageType::Write, b"/a\0value")?;
/// assert_eq!(request, Request::Write { path: Path::new("/a").unwrap(), value: b"value" });
/// # Ok::<(), xs_proto::PayloadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request<'a> {
    /// A command to the daemon, and its parameters.
    Control(Strings<'a>),
    /// The names of the children of a node.
    Directory(Path<'a>),
    /// The value of a node.
    Read(Path<'a>),
    /// The permissions of a node.
    GetPerms(Path<'a>),
    /// Sets a watch.
    Watch {
        /// What to watch.
        path: Path<'a>,
        /// Comes back in each event; no NUL.
        token: &'a [u8],
        /// How many levels below `path` are watched, 0 for the node alone; all if `None`. The
        /// server must have the feature WATCHDEPTH.
        depth: Option<u32>,
    },
    /// Ends a watch.
    Unwatch {
        /// As it was watched.
        path: Path<'a>,
        /// As it was given.
        token: &'a [u8],
    },
    /// Opens a transaction.
    TransactionStart,
    /// Ends the transaction that the header names.
    TransactionEnd {
        /// Whether its changes shall stay.
        commit: bool,
    },
    /// Tells the daemon of a new domain.
    Introduce {
        /// The domain.
        domid: DomId,
        /// The guest frame of its Xenstore ring.
        gfn: u64,
        /// The event channel of the ring.
        evtchn: u32,
    },
    /// Tells the daemon to forget a domain.
    Release(DomId),
    /// The home of a domain, such as `/local/domain/5`.
    GetDomainPath(DomId),
    /// Sets the value of a node, which is created as needed, as are its parents.
    Write {
        /// The node.
        path: Path<'a>,
        /// Any bytes.
        value: &'a [u8],
    },
    /// Creates a node with an empty value, and its parents; nothing happens if it exists.
    Mkdir(Path<'a>),
    /// Removes a node and all below it.
    Rm(Path<'a>),
    /// Sets the permissions of a node.
    SetPerms {
        /// The node.
        path: Path<'a>,
        /// The owner first.
        perms: Cow<'a, Permissions>,
    },
    /// Whether the daemon knows a domain.
    IsDomainIntroduced(DomId),
    /// Lets the shutdown of a domain be noticed again.
    Resume(DomId),
    /// Lets `domid` act with the rights of `target`.
    SetTarget {
        /// Who gets the rights.
        domid: DomId,
        /// Whose rights.
        target: DomId,
    },
    /// Ends all watches and transactions of the caller.
    ResetWatches,
    /// The names of the children of a node, from an offset on.
    DirectoryPart {
        /// The node.
        path: Path<'a>,
        /// In bytes, into the list of NUL-terminated names.
        offset: u32,
    },
    /// The features of the server, or those offered to a domain, as bits.
    GetFeature {
        /// Whose; the server's own if `None`.
        domid: Option<DomId>,
    },
    /// Sets the features offered to a domain.
    SetFeature {
        /// Whose.
        domid: DomId,
        /// As bits.
        features: u32,
    },
    /// The names of the quotas, or the value of one.
    GetQuota {
        /// For this domain; the default for new ones if `None`. Needs a `quota`.
        domid: Option<DomId>,
        /// Which one; the names of all if `None`.
        quota: Option<&'a str>,
    },
    /// Sets a quota.
    SetQuota {
        /// For this domain; the default for new ones if `None`.
        domid: Option<DomId>,
        /// Which one.
        quota: &'a str,
        /// Its value.
        value: u32,
    },
}

impl<'a> Request<'a> {
    /// The type that the header of this request has.
    #[inline]
    pub fn msg_type(&self) -> MessageType {
        match self {
            Request::Control(_) => MessageType::Control,
            Request::Directory(_) => MessageType::Directory,
            Request::Read(_) => MessageType::Read,
            Request::GetPerms(_) => MessageType::GetPerms,
            Request::Watch { .. } => MessageType::Watch,
            Request::Unwatch { .. } => MessageType::Unwatch,
            Request::TransactionStart => MessageType::TransactionStart,
            Request::TransactionEnd { .. } => MessageType::TransactionEnd,
            Request::Introduce { .. } => MessageType::Introduce,
            Request::Release(_) => MessageType::Release,
            Request::GetDomainPath(_) => MessageType::GetDomainPath,
            Request::Write { .. } => MessageType::Write,
            Request::Mkdir(_) => MessageType::Mkdir,
            Request::Rm(_) => MessageType::Rm,
            Request::SetPerms { .. } => MessageType::SetPerms,
            Request::IsDomainIntroduced(_) => MessageType::IsDomainIntroduced,
            Request::Resume(_) => MessageType::Resume,
            Request::SetTarget { .. } => MessageType::SetTarget,
            Request::ResetWatches => MessageType::ResetWatches,
            Request::DirectoryPart { .. } => MessageType::DirectoryPart,
            Request::GetFeature { .. } => MessageType::GetFeature,
            Request::SetFeature { .. } => MessageType::SetFeature,
            Request::GetQuota { .. } => MessageType::GetQuota,
            Request::SetQuota { .. } => MessageType::SetQuota,
        }
    }

    /// The path that the request is about, if it is about one.
    pub fn path(&self) -> Option<Path<'a>> {
        match self {
            Request::Directory(path)
            | Request::Read(path)
            | Request::GetPerms(path)
            | Request::Mkdir(path)
            | Request::Rm(path)
            | Request::Watch { path, .. }
            | Request::Unwatch { path, .. }
            | Request::Write { path, .. }
            | Request::SetPerms { path, .. }
            | Request::DirectoryPart { path, .. } => Some(*path),
            _ => None,
        }
    }

    /// Appends the payload to `out` and returns its length. An error leaves in `out` what had
    /// been written until then, at most `max` bytes.
    #[inline]
    pub fn encode(&self, max: usize, out: &mut BytesMut) -> Result<usize, RequestError> {
        match self {
            // The most frequent one has a way of its own, short enough to be put where it is taken.
            Request::Read(path) => {
                let mut w = Writer::new(out, max);
                w.path(*path);
                w.finish()
            }
            _ => self.encode_fields(max, out),
        }
    }

    fn encode_fields(&self, max: usize, out: &mut BytesMut) -> Result<usize, RequestError> {
        let mut w = Writer::new(out, max);
        match self {
            Request::Control(strings) => w.raw(strings.as_bytes()),
            Request::Directory(path)
            | Request::Read(path)
            | Request::GetPerms(path)
            | Request::Mkdir(path)
            | Request::Rm(path) => w.path(*path),
            Request::Watch { path, token, depth } => {
                w.path(*path);
                w.string("token", token)?;
                if let Some(depth) = depth {
                    w.display(depth);
                }
            }
            Request::Unwatch { path, token } => {
                w.path(*path);
                w.string("token", token)?;
            }
            // oxenstored takes up a message without payload only when more bytes arrive.
            Request::TransactionStart | Request::ResetWatches => w.raw(&[0]),
            // The Linux device takes exactly these two bytes.
            Request::TransactionEnd { commit } => w.raw(if *commit { b"T\0" } else { b"F\0" }),
            Request::Introduce { domid, gfn, evtchn } => {
                w.display(domid);
                w.display(gfn);
                w.display(evtchn);
            }
            Request::Release(domid)
            | Request::GetDomainPath(domid)
            | Request::IsDomainIntroduced(domid)
            | Request::Resume(domid) => w.display(domid),
            Request::Write { path, value } => {
                w.path(*path);
                w.raw(value);
            }
            Request::SetPerms { path, perms } => {
                w.path(*path);
                perms.iter().for_each(|entry| w.display(entry));
            }
            Request::SetTarget { domid, target } => {
                w.display(domid);
                w.display(target);
            }
            Request::DirectoryPart { path, offset } => {
                w.path(*path);
                w.display(offset);
            }
            Request::GetFeature { domid } => {
                if let Some(domid) = domid {
                    w.display(domid);
                }
            }
            Request::SetFeature { domid, features } => {
                w.display(domid);
                w.display(features);
            }
            // Without arguments the payload must be empty: a lone NUL is EINVAL.
            Request::GetQuota { domid, quota } => match (domid, quota) {
                (Some(_), None) => return Err(RequestError::DomainWithoutQuota),
                (domid, quota) => {
                    if let Some(domid) = domid {
                        w.display(domid);
                    }
                    if let Some(quota) = quota {
                        w.string("quota", quota.as_bytes())?;
                    }
                }
            },
            Request::SetQuota { domid, quota, value } => {
                if let Some(domid) = domid {
                    w.display(domid);
                }
                w.string("quota", quota.as_bytes())?;
                w.display(value);
            }
        }
        w.finish()
    }

    /// The request with this type and payload. Any payload is either understood in full or
    /// refused.
    pub fn decode(msg_type: MessageType, payload: &'a [u8]) -> Result<Self, PayloadError> {
        let mut fields = Fields::new(payload);
        let f = &mut fields;
        let request = match msg_type {
            MessageType::Control => return fields.strings().map(Request::Control),
            MessageType::Directory => Request::Directory(f.path()?),
            MessageType::Read => Request::Read(f.path()?),
            MessageType::GetPerms => Request::GetPerms(f.path()?),
            MessageType::Watch => {
                let (path, token) = (f.path()?, f.string()?);
                let depth = if f.is_empty() { None } else { Some(f.number()?) };
                Request::Watch { path, token, depth }
            }
            MessageType::Unwatch => Request::Unwatch { path: f.path()?, token: f.string()? },
            MessageType::TransactionStart => return nothing(payload, Request::TransactionStart),
            MessageType::TransactionEnd => {
                Request::TransactionEnd { commit: boolean(f.string()?)? }
            }
            MessageType::Introduce => {
                Request::Introduce { domid: domid(f)?, gfn: f.number()?, evtchn: f.number()? }
            }
            MessageType::Release => Request::Release(domid(f)?),
            MessageType::GetDomainPath => Request::GetDomainPath(domid(f)?),
            MessageType::Write => {
                return Ok(Request::Write { path: f.path()?, value: fields.rest() });
            }
            MessageType::Mkdir => Request::Mkdir(f.path()?),
            MessageType::Rm => Request::Rm(f.path()?),
            MessageType::SetPerms => {
                let path = f.path()?;
                let perms = Cow::Owned(Permissions::decode(fields)?);
                return Ok(Request::SetPerms { path, perms });
            }
            MessageType::IsDomainIntroduced => Request::IsDomainIntroduced(domid(f)?),
            MessageType::Resume => Request::Resume(domid(f)?),
            MessageType::SetTarget => Request::SetTarget { domid: domid(f)?, target: domid(f)? },
            MessageType::ResetWatches => return nothing(payload, Request::ResetWatches),
            MessageType::DirectoryPart => {
                Request::DirectoryPart { path: f.path()?, offset: f.number()? }
            }
            MessageType::GetFeature => {
                Request::GetFeature { domid: if f.is_empty() { None } else { Some(domid(f)?) } }
            }
            MessageType::SetFeature => {
                Request::SetFeature { domid: domid(f)?, features: f.number()? }
            }
            MessageType::GetQuota => match (optional(f)?, optional(f)?) {
                (None, _) => Request::GetQuota { domid: None, quota: None },
                (Some(quota), None) => Request::GetQuota { domid: None, quota: Some(text(quota)?) },
                (Some(domid), Some(quota)) => Request::GetQuota {
                    domid: Some(DomId::new(crate::payload::number(domid)?)),
                    quota: Some(text(quota)?),
                },
            },
            MessageType::SetQuota => {
                let (first, second) = (f.string()?, f.string()?);
                let (domid, quota, value) = match optional(f)? {
                    None => (None, first, second),
                    Some(third) => {
                        (Some(DomId::new(crate::payload::number(first)?)), second, third)
                    }
                };
                let value = crate::payload::number(value)?;
                Request::SetQuota { domid, quota: text(quota)?, value }
            }
            MessageType::WatchEvent | MessageType::Error | MessageType::Invalid => {
                return Err(PayloadError::Direction);
            }
        };
        fields.end()?;
        Ok(request)
    }
}

/// TRANSACTION_START and RESET_WATCHES carry one NUL, or nothing.
fn nothing<'a>(payload: &[u8], request: Request<'a>) -> Result<Request<'a>, PayloadError> {
    match payload {
        [] | [0] => Ok(request),
        _ => Err(PayloadError::TooMany),
    }
}

pub(crate) fn boolean(word: &[u8]) -> Result<bool, PayloadError> {
    match word {
        b"T" => Ok(true),
        b"F" => Ok(false),
        _ => Err(PayloadError::Word),
    }
}

fn domid(fields: &mut Fields<'_>) -> Result<DomId, PayloadError> {
    fields.number().map(DomId::new)
}

fn optional<'a>(fields: &mut Fields<'a>) -> Result<Option<&'a [u8]>, PayloadError> {
    if fields.is_empty() { Ok(None) } else { fields.string().map(Some) }
}

fn text(bytes: &[u8]) -> Result<&str, PayloadError> {
    core::str::from_utf8(bytes).map_err(|_| PayloadError::Text)
}
