//! Requests.

use alloc::borrow::Cow;
use core::fmt;

use bytes::BytesMut;

use crate::domid::DomId;
use crate::error::{PayloadError, RequestError};
use crate::features::Features;
use crate::path::Path;
use crate::payload::{Fields, Writer, number, text};
use crate::perms::Permissions;
use crate::strings::Strings;
use crate::wire::MessageType;

/// A request: the payload of a message from client to server.
///
/// Each variant is one message type. xenstore.txt specifies the payloads in these sections:
///
/// * "Database read, write and permissions operations": DIRECTORY, DIRECTORY_PART, READ, WRITE,
///   MKDIR, RM, GET_PERMS, SET_PERMS
/// * "Watches": WATCH, UNWATCH, RESET_WATCHES
/// * "Transactions": TRANSACTION_START, TRANSACTION_END
/// * "Domain management and xenstored communications": INTRODUCE, RELEASE, GET_DOMAIN_PATH,
///   IS_DOMAIN_INTRODUCED, RESUME, SET_TARGET; in newer versions of the document also GET_FEATURE,
///   SET_FEATURE, GET_QUOTA and SET_QUOTA
/// * "Miscellaneous": CONTROL
///
/// The variants of [`Reply`](crate::Reply) name the requests that they answer.
///
/// ```
/// use xs_proto::{MessageType, Path, Request};
///
/// let request = Request::decode(MessageType::Write, b"/a\0value")?;
/// assert_eq!(request, Request::Write { path: Path::new("/a").unwrap(), value: b"value" });
/// # Ok::<(), xs_proto::PayloadError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request<'a> {
    /// CONTROL: sends a command with its parameters to the daemon itself.
    Control(Strings<'a>),
    /// DIRECTORY: lists the children of a node.
    Directory(Path<'a>),
    /// READ: reads the value of a node.
    Read(Path<'a>),
    /// GET_PERMS: reads the permissions of a node.
    GetPerms(Path<'a>),
    /// WATCH: sets a watch on a node and its descendants.
    Watch {
        /// The node to watch. It may be special, and need not exist.
        path: Path<'a>,
        /// A token that each event of the watch returns. It must not contain a NUL.
        token: &'a [u8],
        /// The number of levels below `path` to watch: 0 for the node alone, `None` for all.
        ///
        /// `Some` requires a server with the feature `XENSTORE_SERVER_FEATURE_WATCHDEPTH`.
        depth: Option<u32>,
    },
    /// UNWATCH: removes a watch.
    Unwatch {
        /// The path of the watch.
        path: Path<'a>,
        /// The token of the watch.
        token: &'a [u8],
    },
    /// TRANSACTION_START: starts a transaction.
    TransactionStart,
    /// TRANSACTION_END: ends the transaction in the header of the message.
    TransactionEnd {
        /// Whether to commit the changes of the transaction rather than to discard them.
        commit: bool,
    },
    /// INTRODUCE: connects the daemon to a domain.
    Introduce {
        /// The domain.
        domid: DomId,
        /// The guest frame number of the page with the domain's Xenstore ring.
        gfn: u64,
        /// The event channel of the ring: an unbound port of the domain.
        evtchn: u32,
    },
    /// RELEASE: disconnects the daemon from a domain.
    Release(DomId),
    /// GET_DOMAIN_PATH: returns the base of a domain's relative paths, such as `/local/domain/5`.
    GetDomainPath(DomId),
    /// WRITE: sets the value of a node, and creates the node and its ancestors if necessary.
    Write {
        /// The node.
        path: Path<'a>,
        /// The new value. It may contain any bytes.
        value: &'a [u8],
    },
    /// MKDIR: creates a node with an empty value, and its ancestors. An existing node is unchanged.
    Mkdir(Path<'a>),
    /// RM: removes a node and its descendants.
    Rm(Path<'a>),
    /// SET_PERMS: sets the permissions of a node.
    SetPerms {
        /// The node.
        path: Path<'a>,
        /// The new permissions.
        perms: Cow<'a, Permissions>,
    },
    /// IS_DOMAIN_INTRODUCED: returns whether the daemon is connected to a domain.
    IsDomainIntroduced(DomId),
    /// RESUME: makes the daemon report the next shutdown of a domain again.
    Resume(DomId),
    /// SET_TARGET: grants one domain the access rights of another.
    SetTarget {
        /// The domain that receives the rights.
        domid: DomId,
        /// The domain whose rights are granted.
        target: DomId,
    },
    /// RESET_WATCHES: removes all watches and aborts all transactions of the client.
    ResetWatches,
    /// DIRECTORY_PART: lists the children of a node, from an offset on.
    DirectoryPart {
        /// The node.
        path: Path<'a>,
        /// The offset into the complete list in bytes, counting each name and its NUL.
        offset: u32,
    },
    /// GET_FEATURE: returns feature bits (`XENSTORE_SERVER_FEATURE_*` in xs_wire.h).
    GetFeature {
        /// The domain to which the features are offered, or `None` for the server's own features.
        domid: Option<DomId>,
    },
    /// SET_FEATURE: sets the features that the server offers to a domain.
    SetFeature {
        /// The domain.
        domid: DomId,
        /// The features.
        features: Features,
    },
    /// GET_QUOTA: returns the names of the quotas, or the value of one quota.
    GetQuota {
        /// The domain, or `None` for the default of new domains. `Some` requires a `quota`.
        domid: Option<DomId>,
        /// The name of the quota, or `None` for the list of names.
        quota: Option<&'a str>,
    },
    /// SET_QUOTA: sets a quota.
    SetQuota {
        /// The domain, or `None` for the default of new domains.
        domid: Option<DomId>,
        /// The name of the quota. It must not contain a NUL.
        quota: &'a str,
        /// The new value.
        value: u32,
    },
}

impl<'a> Request<'a> {
    /// Returns the message type of this request.
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

    /// Returns the path in this request, or `None` if its type has no path.
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

    /// Appends the payload to `out` and returns its length in bytes.
    ///
    /// # Errors
    /// Fails if a string contains a NUL, the payload has more than `max` bytes, or the protocol has
    /// no such request. `out` then contains an incomplete payload of at most `max` bytes.
    pub fn encode(&self, max: usize, out: &mut BytesMut) -> Result<usize, RequestError> {
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
            // oxenstored handles a message without payload only when more bytes arrive.
            Request::TransactionStart | Request::ResetWatches => w.raw(&[0]),
            Request::TransactionEnd { commit } => w.boolean(*commit),
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
                w.display(features.bits());
            }
            // Without arguments, the payload must be empty: a single NUL would be EINVAL.
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

    /// Decodes a payload.
    ///
    /// # Errors
    /// Fails if the payload does not match the type, or if the type is not that of a request.
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
            MessageType::TransactionStart => {
                return without_fields(payload, Request::TransactionStart);
            }
            MessageType::TransactionEnd => Request::TransactionEnd { commit: f.boolean()? },
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
            MessageType::ResetWatches => return without_fields(payload, Request::ResetWatches),
            MessageType::DirectoryPart => {
                Request::DirectoryPart { path: f.path()?, offset: f.number()? }
            }
            MessageType::GetFeature => {
                Request::GetFeature { domid: if f.is_empty() { None } else { Some(domid(f)?) } }
            }
            MessageType::SetFeature => {
                Request::SetFeature { domid: domid(f)?, features: Features::from_bits(f.number()?) }
            }
            MessageType::GetQuota => match (f.optional_string()?, f.optional_string()?) {
                (None, _) => Request::GetQuota { domid: None, quota: None },
                (Some(quota), None) => Request::GetQuota { domid: None, quota: Some(text(quota)?) },
                (Some(domid), Some(quota)) => Request::GetQuota {
                    domid: Some(DomId::new(number(domid)?)),
                    quota: Some(text(quota)?),
                },
            },
            MessageType::SetQuota => {
                let (first, second) = (f.string()?, f.string()?);
                let (domid, quota, value) = match f.optional_string()? {
                    None => (None, first, second),
                    Some(third) => (Some(DomId::new(number(first)?)), second, third),
                };
                let value = number(value)?;
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

impl fmt::Debug for Request<'_> {
    /// Shows the message type, the path and numbers, but no value and no words of CONTROL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.msg_type().name());
        if let Some(path) = self.path() {
            shown.field("path", &path);
        }
        match self {
            Request::Control(words) => shown.field("words", words),
            Request::Watch { token, depth, .. } => shown
                .field("token", &format_args!("\"{}\"", token.escape_ascii()))
                .field("depth", depth),
            Request::Unwatch { token, .. } => {
                shown.field("token", &format_args!("\"{}\"", token.escape_ascii()))
            }
            Request::Write { value, .. } => {
                shown.field("value", &format_args!("{} bytes", value.len()))
            }
            Request::SetPerms { perms, .. } => shown.field("perms", perms),
            Request::TransactionEnd { commit } => shown.field("commit", commit),
            Request::Introduce { domid, gfn, evtchn } => {
                shown.field("domid", domid).field("gfn", gfn).field("evtchn", evtchn)
            }
            Request::Release(domid)
            | Request::GetDomainPath(domid)
            | Request::IsDomainIntroduced(domid)
            | Request::Resume(domid) => shown.field("domid", domid),
            Request::SetTarget { domid, target } => {
                shown.field("domid", domid).field("target", target)
            }
            Request::DirectoryPart { offset, .. } => shown.field("offset", offset),
            Request::GetFeature { domid } => shown.field("domid", domid),
            Request::SetFeature { domid, features } => {
                shown.field("domid", domid).field("features", features)
            }
            Request::GetQuota { domid, quota } => shown.field("domid", domid).field("quota", quota),
            Request::SetQuota { domid, quota, value } => {
                shown.field("domid", domid).field("quota", quota).field("value", value)
            }
            Request::Directory(_)
            | Request::Read(_)
            | Request::GetPerms(_)
            | Request::Mkdir(_)
            | Request::Rm(_)
            | Request::TransactionStart
            | Request::ResetWatches => &mut shown,
        };
        shown.finish()
    }
}

/// Checks the payload of TRANSACTION_START and RESET_WATCHES: a single NUL, or nothing.
fn without_fields<'a>(payload: &[u8], request: Request<'a>) -> Result<Request<'a>, PayloadError> {
    match payload {
        [] | [0] => Ok(request),
        _ => Err(PayloadError::TooMany),
    }
}

fn domid(fields: &mut Fields<'_>) -> Result<DomId, PayloadError> {
    fields.number().map(DomId::new)
}
