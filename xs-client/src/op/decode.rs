//! How replies become the results of operations.
//!
//! Each function is the [`Decode`](super::label::Decode) of some operations.

use std::str::FromStr;

use xs_proto::{Features, Path, Permission, Permissions, Quota, Reply, Strings, TxId};

use super::label::Label;
use crate::error::{Error, Result};

type Received = Result<Reply<'static>>;

/// The answer to DIRECTORY_PART.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) generation: u64,
    pub(crate) names: Vec<String>,
    /// The length of the names in bytes, with a NUL after each.
    pub(crate) bytes: usize,
    pub(crate) last: bool,
}

/// The reply to any operation on a node; see [`Op::of_node`](super::Op::of_node).
#[derive(Debug)]
pub(crate) struct OfNode(pub(super) Reply<'static>);

impl OfNode {
    /// Returns the names of the children, each followed by a NUL, if this is a valid list of them.
    pub(crate) fn names(&self) -> Option<&str> {
        let Reply::Children(children) = &self.0 else { return None };
        let are_valid = children.iter().all(|name| child_name(name).is_some());
        std::str::from_utf8(children.as_bytes()).ok().filter(|_| are_valid)
    }

    /// Returns the size of the reply in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.0 {
            Reply::Children(children) => children.as_bytes().len(),
            Reply::Value(value) => value.len(),
            Reply::Permissions(perms) => perms.iter().count() * size_of::<Permission>(),
            _ => 0,
        }
    }
}

pub(super) fn done(label: Label<'_>, reply: Received) -> Result<()> {
    match reply? {
        Reply::Done => Ok(()),
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn value(label: Label<'_>, reply: Received) -> Result<Vec<u8>> {
    match reply? {
        Reply::Value(value) => Ok(value.into_owned()),
        other => Err(mismatch(label, other)),
    }
}

/// Decodes a value as text.
pub(super) fn value_text(label: Label<'_>, reply: Received) -> Result<String> {
    String::from_utf8(value(label, reply)?)
        .map_err(|_| label.unexpected("the value is not UTF-8 text"))
}

/// Decodes a value as text, and parses it.
pub(super) fn parsed<T: FromStr>(label: Label<'_>, reply: Received) -> Result<T> {
    let text = value_text(label, reply)?;
    text.parse().map_err(|_| {
        let wanted = std::any::type_name::<T>();
        label.unexpected(&format!("the value is not a valid {wanted}"))
    })
}

/// Returns whether there is a value.
pub(super) fn exists(label: Label<'_>, reply: Received) -> Result<bool> {
    Ok(value_opt(label, reply)?.is_some())
}

pub(super) fn value_opt(label: Label<'_>, reply: Received) -> Result<Option<Vec<u8>>> {
    if_found(value(label, reply))
}

pub(super) fn value_text_opt(label: Label<'_>, reply: Received) -> Result<Option<String>> {
    if_found(value_text(label, reply))
}

pub(super) fn parsed_opt<T: FromStr>(label: Label<'_>, reply: Received) -> Result<Option<T>> {
    if_found(parsed(label, reply))
}

pub(super) fn done_opt(label: Label<'_>, reply: Received) -> Result<()> {
    if_found(done(label, reply)).map(Option::unwrap_or_default)
}

pub(super) fn children(label: Label<'_>, reply: Received) -> Result<Vec<String>> {
    match reply? {
        Reply::Children(children) => {
            names(&children).ok_or_else(|| mismatch(label, Reply::Children(children)))
        }
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn part(label: Label<'_>, reply: Received) -> Result<Part> {
    match reply? {
        Reply::Part { generation, children, last } => match names(&children) {
            Some(names) => Ok(Part { generation, names, bytes: children.as_bytes().len(), last }),
            None => Err(mismatch(label, Reply::Part { generation, children, last })),
        },
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn permissions(label: Label<'_>, reply: Received) -> Result<Permissions> {
    match reply? {
        Reply::Permissions(perms) => Ok(perms),
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn of_node(_: Label<'_>, reply: Received) -> Result<OfNode> {
    reply.map(OfNode)
}

pub(super) fn transaction(label: Label<'_>, reply: Received) -> Result<TxId> {
    match reply? {
        Reply::Transaction(tx_id) => Ok(tx_id),
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn boolean(label: Label<'_>, reply: Received) -> Result<bool> {
    match reply? {
        Reply::Boolean(yes) => Ok(yes),
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn features(label: Label<'_>, reply: Received) -> Result<Features> {
    match reply? {
        Reply::Features(features) => Ok(features),
        other => Err(mismatch(label, other)),
    }
}

pub(super) fn text(label: Label<'_>, reply: Received) -> Result<String> {
    match reply? {
        Reply::Text(text) => Ok(text.into_owned()),
        other => Err(mismatch(label, other)),
    }
}

/// Decodes the value of a quota.
pub(super) fn quota(label: Label<'_>, reply: Received) -> Result<u32> {
    let value = text(label, reply)?;
    value.trim().parse().map_err(|_| label.unexpected("the value of the quota is not a number"))
}

/// Decodes names of quotas that are separated by blanks.
pub(super) fn quotas(label: Label<'_>, reply: Received) -> Result<Vec<Quota>> {
    Ok(text(label, reply)?.split_ascii_whitespace().map(Quota::from).collect())
}

/// Returns the names in a list of children, or `None` if one of them is invalid.
fn names(children: &Strings<'_>) -> Option<Vec<String>> {
    children.iter().map(|name| child_name(name).map(str::to_owned)).collect()
}

/// Returns the name of a child as text, if it is valid: a path of one component.
///
/// Daemons do not create nodes with other names. The caller may use a name as part of a path or print
/// it, and would not expect `../x` or an escape sequence.
fn child_name(name: &[u8]) -> Option<&str> {
    let path = Path::from_bytes(name).ok()?;
    (!path.as_str().contains('/')).then_some(path.as_str())
}

/// Returns `None` if the daemon answered ENOENT.
pub(crate) fn if_found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the error for a reply of another form than the operation expects.
fn mismatch(label: Label<'_>, reply: Reply<'_>) -> Error {
    match reply {
        Reply::StrangePermissions(entries) => {
            let entries = entries.as_bytes().escape_ascii().to_string();
            let entries = entries.trim_end_matches("\\x00").replace("\\x00", " ");
            label.unexpected(&format!("the permissions name an invalid domain: {entries}"))
        }
        Reply::Children(children) | Reply::Part { children, .. } => {
            let name = children.iter().find(|name| child_name(name).is_none());
            let name = name.unwrap_or_default().escape_ascii();
            label.unexpected(&format!("a child has the invalid name \"{name}\""))
        }
        _ => label.unexpected("the answer is not text"),
    }
}
