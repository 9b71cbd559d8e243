//! Hints on how to resolve errors of the library.

use std::io;
use std::iter;

use xs_client::{Client, Error, ErrorCode, ErrorKind, Path};

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

/// Returns a hint at the nearest existing ancestor, if `error` says that a node does not exist.
pub(crate) fn existing_node(error: &Error, client: &Client) -> Option<String> {
    let path = Path::new(error.path().filter(|_| error.is_not_found())?).ok()?;
    let ancestors: Vec<_> = iter::successors(path.parent(), |path| path.parent()).collect();
    let exist = client.exists_many(ancestors.iter().map(|path| path.as_str()));
    let mut ancestors = ancestors.iter().zip(exist);
    let (nearest, _) = ancestors.find(|(_, exists)| matches!(exists, Ok(true)))?;
    Some(list(nearest.as_str()))
}

fn list(parent: &str) -> String {
    format!("`xs list {parent}` shows the existing nodes")
}
