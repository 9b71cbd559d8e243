//! The store as plain text, to fill it and to look at it.
//!
//! One node a line: its path; its permissions in brackets, if they are not inherited; and its
//! value after `=`, if it has one. A value in double quotes may use the escapes of a Rust byte
//! string (`\n`, `\\`, `\"`, `\x00`, …); one without them is taken as it stands. Lines that are
//! empty or start with `#` mean nothing.
//!
//! ```
//! use xs_transport::mock::Xenstored;
//!
//! let xenstored = Xenstored::new();
//! xenstored.seed(r#"
//!     ## A guest
//!     /local/domain/5 [n5 r0]
//!     /local/domain/5/name = guest
//!     /local/domain/5/data [b5] = "two\nlines"
//! "#)?;
//! assert_eq!(xenstored.get("/local/domain/5/data").unwrap(), b"two\nlines");
//! assert_eq!(xenstored.perms("/local/domain/5/name").unwrap().to_string(), "n5 r0");
//!
//! let copy = Xenstored::new();
//! copy.seed(&xenstored.dump())?;
//! assert_eq!(copy.dump(), xenstored.dump());
//! # Ok::<(), xs_transport::mock::text::SeedError>(())
//! ```

use std::fmt::Write;

use xs_proto::{PathError, Permissions};

use super::store::{Store, join};
use super::xenstored::Xenstored;

/// A line of the text form makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
#[non_exhaustive]
pub struct SeedError {
    /// Which line, from 1.
    pub line: usize,
    /// Why.
    pub cause: SeedCause,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedCause {
    /// It does not start with a path.
    #[error(transparent)]
    Path(PathError),
    /// What stands in the brackets are not permissions.
    #[error("the permissions are not such as [n5 r0]")]
    Permissions,
    /// Something else than permissions and a value follows the path.
    #[error("after the path come [permissions] and = value, or nothing")]
    Form,
    /// The quoted value does not end, or has an escape that does not exist.
    #[error("the quoted value has no end, or a wrong escape")]
    Value,
}

pub(super) fn seed(xenstored: &Xenstored, text: &str) -> Result<(), SeedError> {
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            seed_line(xenstored, line).map_err(|cause| SeedError { line: at + 1, cause })?;
        }
    }
    Ok(())
}

fn seed_line(xenstored: &Xenstored, line: &str) -> Result<(), SeedCause> {
    let end = line.find([' ', '\t', '[', '=']).unwrap_or(line.len());
    let (path, rest) = line.split_at(end);
    let mut rest = rest.trim_start();
    let mut perms = None;
    if let Some(list) = rest.strip_prefix('[') {
        let (list, behind) = list.split_once(']').ok_or(SeedCause::Permissions)?;
        perms = Some(list.parse::<Permissions>().map_err(|_| SeedCause::Permissions)?);
        rest = behind.trim_start();
    }
    let value = match rest.strip_prefix('=').map(str::trim_start) {
        None if rest.is_empty() => None,
        None => return Err(SeedCause::Form),
        Some(value) => Some(match value.strip_prefix('"') {
            Some(quoted) => unescape(quoted).ok_or(SeedCause::Value)?,
            None => value.as_bytes().to_vec(),
        }),
    };
    let is_special = path.starts_with('@');
    if value.is_some() || (xenstored.get(path).is_none() && !is_special) {
        xenstored.set(path, value.unwrap_or_default()).map_err(SeedCause::Path)?;
    }
    if let Some(perms) = perms {
        xenstored.set_perms(path, &perms);
    }
    Ok(())
}

pub(super) fn dump(store: &Store) -> String {
    let mut text = String::new();
    let mut at = vec!["@releaseDomain".to_owned(), "@introduceDomain".to_owned(), "/".to_owned()];
    while let Some(path) = at.pop() {
        let Some(node) = store.get(&path) else {
            continue;
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{path} [{}]", node.perms.to_permissions());
        if !node.value.is_empty() {
            let _ = write!(text, " = \"{}\"", node.value.escape_ascii());
        }
        text.push('\n');
        let children: Vec<_> = node.children.iter().map(|name| join(&path, name)).collect();
        at.extend(children.into_iter().rev());
    }
    text
}

/// What stands before the closing quote, which must be the last character.
fn unescape(quoted: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.bytes();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(value),
            b'\\' => value.push(match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                same @ (b'"' | b'\'' | b'\\') => same,
                _ => return None,
            }),
            byte => value.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_dump_and_seed() {
        let xenstored = Xenstored::new();
        let value: Vec<u8> = (0..=255).collect();
        xenstored.set("/a/b", &value).unwrap();
        xenstored.set("/a/c", "with \"quotes\" and \\").unwrap();
        let copy = Xenstored::new();
        copy.seed(&xenstored.dump()).unwrap();
        assert_eq!(copy.get("/a/b").unwrap(), value);
        assert_eq!(copy.dump(), xenstored.dump());
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        let xenstored = Xenstored::new();
        for (text, cause) in [
            ("a b", SeedCause::Form),
            ("/a [x1]", SeedCause::Permissions),
            ("/a [n1", SeedCause::Permissions),
            ("/a = \"open", SeedCause::Value),
            ("/a = \"\\q\"", SeedCause::Value),
            ("/a//b", SeedCause::Path(PathError::EmptyComponent { at: 3 })),
        ] {
            let error = xenstored.seed(&format!("# first\n{text}")).unwrap_err();
            assert_eq!(error, SeedError { line: 2, cause }, "{text}");
        }
        xenstored.seed("plain = as it stands \" \\").unwrap();
        assert_eq!(xenstored.get("/local/domain/0/plain").unwrap(), b"as it stands \" \\");
    }
}
