//! Hints on how to resolve errors of the library.

use std::io;
use std::iter;

use xs_client::{Client, Error, ErrorCode, ErrorKind, Path};

use crate::in_words::in_words;
use crate::similar;

/// Returns a hint for `error`, which may be to run `xs info`.
pub(crate) fn for_error_or_info(error: &Error) -> Option<String> {
    let hint = for_error(error);
    match error.kind() {
        ErrorKind::Refused(ErrorCode::NotSupported) => {
            Some("`xs info` shows the features of this daemon".into())
        }
        ErrorKind::NoDaemon(_) | ErrorKind::Unreachable(_) | ErrorKind::Lost(_)
            if error.io_kind() != io::ErrorKind::PermissionDenied =>
        {
            hint.map(|hint| format!("{hint}; see also `xs info`"))
        }
        _ => hint,
    }
}

/// Returns a hint for `error`.
pub(crate) fn for_error(error: &Error) -> Option<String> {
    let hint = match error.kind() {
        ErrorKind::Refused(ErrorCode::Invalid) => return for_invalid(error).map(Into::into),
        ErrorKind::Refused(ErrorCode::Access | ErrorCode::NotPermitted)
            if error.path().is_none() =>
        {
            "only dom0 may do this, and this is a guest"
        }
        ErrorKind::Refused(ErrorCode::NotPermitted) if error.operation() == "set_perms" => {
            "only dom0 can give a node to another domain: keep the first permission that \
             `xs get-perms` shows"
        }
        ErrorKind::Refused(code) => return for_code(code, error.path()?),
        ErrorKind::NoDaemon(_) | ErrorKind::Unreachable(_)
            if error.io_kind() == io::ErrorKind::PermissionDenied =>
        {
            "run xs as root, or select another daemon with --socket or --device"
        }
        ErrorKind::NoDaemon(_) | ErrorKind::Unreachable(_) => {
            "check that this is a Xen host or guest and that xenstored is running, or start a \
             daemon without Xen with `xs serve`"
        }
        // The timeout given to `xs wait`.
        ErrorKind::TimedOut if error.operation() == "wait_for" => return None,
        ErrorKind::TimedOut => {
            "check with `xs ping` that the daemon replies, or use a longer --timeout"
        }
        ErrorKind::Lost(_) => "the daemon may have stopped, try again when it is running",
        ErrorKind::Conflict { .. } => {
            "other clients keep changing the same nodes; nothing was changed, try again later"
        }
        _ => return None,
    };
    Some(hint.into())
}

/// Returns a hint for EINVAL, if the operation leaves only one likely reason.
fn for_invalid(error: &Error) -> Option<&'static str> {
    Some(match error.operation() {
        "rm" => "the root cannot be removed",
        "introduce" => {
            "the domain may not exist, or the daemon may know it with another page or event channel"
        }
        "watch" if error.path().is_some_and(|path| path.starts_with('@')) => {
            "the special paths are @introduceDomain and @releaseDomain, and only dom0 may watch them \
             unless their permissions say otherwise"
        }
        "set_quota" | "set_domain_quota" | "get_quota" | "get_domain_quota" => {
            "`xs quota` lists the quotas of this daemon"
        }
        "set_perms" => {
            "one of the domains may not exist, or there are more entries than the quota allows"
        }
        _ if error.path().is_some_and(|path| path.len() > 1024) => {
            "the path may be longer than the quota path-max allows"
        }
        _ => return None,
    })
}

/// Returns a hint for another error of the daemon about `path`.
fn for_code(code: &ErrorCode, path: &str) -> Option<String> {
    Some(match code {
        ErrorCode::NoEntry if !path.starts_with(['/', '@']) => {
            "a path without a leading slash is relative to the home of the domain".into()
        }
        ErrorCode::NoEntry => list(Path::new(path).ok()?.parent()?.as_str()),
        ErrorCode::Access | ErrorCode::NotPermitted => {
            format!("`xs get-perms {path}` shows the permissions, if this domain may read them")
        }
        ErrorCode::NoSpace | ErrorCode::Quota | ErrorCode::TooBig => {
            "this domain has exceeded a quota; remove nodes or watches, or raise the quota in dom0"
                .into()
        }
        _ => return None,
    })
}

/// Returns a hint about the path of an error, for which the daemon is asked.
pub(crate) fn from_daemon(error: &Error, client: &Client) -> Option<String> {
    let path = error.path()?;
    match error.code()? {
        ErrorCode::NoEntry => existing_node(path, client),
        ErrorCode::Access => permissions(path, client),
        ErrorCode::NoSpace | ErrorCode::Quota | ErrorCode::TooBig => {
            let domid: u16 = client.read_parsed("domid").ok()?;
            Some(format!(
                "this domain has exceeded a quota: in dom0, `xs quota --domain {domid}` shows which, \
                 and `xs quota set` raises it"
            ))
        }
        _ => None,
    }
}

/// Returns a hint that names the nearest existing ancestor, and a child of it with a similar name.
fn existing_node(path: &str, client: &Client) -> Option<String> {
    let path = Path::new(path).ok()?;
    let ancestors: Vec<_> = iter::successors(Some(path), |path| path.parent()).collect();
    let exist = client.exists_many(ancestors.iter().skip(1).map(|path| path.as_str()));
    let nearest = exist.iter().position(|exists| matches!(exists, Ok(true)))? + 1;
    let (missing, parent) = (ancestors[nearest - 1], ancestors[nearest].as_str());
    let (missing, rest) = (missing.as_str(), &path.as_str()[missing.as_str().len()..]);
    let wanted = missing.rsplit('/').next()?;
    let names = client.directory(parent).unwrap_or_default();
    let similar = similar::nearest(wanted, names.iter().map(String::as_str)).map(|name| {
        let similar = match parent {
            "/" => format!("/{name}"),
            parent => format!("{parent}/{name}"),
        };
        // The rest may exist below the similar node.
        let whole = format!("{similar}{rest}");
        if client.exists(&whole).unwrap_or(false) { whole } else { similar }
    });
    match similar {
        Some(similar) => Some(format!("did you mean {similar}? {}", list(parent))),
        None => Some(list(parent)),
    }
}

/// Returns a hint with the permissions of a node, or of its nearest existing ancestor, whose
/// permissions decide whether a child can be created.
fn permissions(path: &str, client: &Client) -> Option<String> {
    let path = Path::new(path).ok()?;
    let domain = match client.read_parsed::<u16>("domid") {
        Ok(domid) => format!("domain {domid}"),
        Err(_) => "a guest".to_owned(),
    };
    for path in iter::successors(Some(path), |path| path.parent()) {
        match client.get_perms(path.as_str()) {
            Ok(perms) => {
                return Some(format!("{path} {}; this is {domain}", in_words(&perms)));
            }
            Err(error) if error.is_not_found() => {}
            // Relative paths mean another node in dom0, where the permissions can be read.
            Err(_) if path.as_str().starts_with('/') => {
                return Some(format!(
                    "this is {domain}, which may not read the permissions: in dom0, `xs get-perms \
                     --long {path}` shows them, or those of the node above if there is none"
                ));
            }
            Err(_) => return None,
        }
    }
    None
}

fn list(parent: &str) -> String {
    format!("`xs list {parent}` shows the existing nodes")
}
