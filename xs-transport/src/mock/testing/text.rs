//! A text form of the store, to fill it and to inspect it.
//!
//! Each line describes a node: its path, then its permissions in brackets if they are not
//! inherited, then `=` and its value if it has one. A relative path is below dom0's home,
//! `/local/domain/0`. Empty lines, lines that start with `#`, and white space around a line are
//! ignored.
//!
//! A value in double quotes may contain the escapes of a Rust byte string (`\n`, `\\`, `\"`,
//! `\x00`, …), and keeps its spaces. A value without quotes loses the white space around it, and is
//! otherwise taken literally, including any backslash or `#`.
//!
//! If a node exists already, it keeps the permissions or the value that its line leaves out.
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

use std::fmt;
use std::str::FromStr;

use xs_proto::{Path, PathError, Permissions};

use crate::mock::store::path::below_root;
use crate::mock::store::tree::{INTRODUCE_DOMAIN, RELEASE_DOMAIN};
use crate::mock::store::{Store, join};

/// The error for an invalid line of the text form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
#[non_exhaustive]
pub struct SeedError {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The reason.
    pub cause: SeedCause,
}

/// The reason why a [`Line`] is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedCause {
    /// The line does not start with a valid path.
    #[error(transparent)]
    Path(PathError),
    /// The brackets do not hold permissions.
    #[error("invalid permissions: expected a list such as [n5 r0]")]
    Permissions,
    /// The path is followed by something other than permissions and a value.
    #[error("unexpected text: only [permissions] and = value may follow the path")]
    Form,
    /// The closing quote is missing or not the last character, or an escape is unknown.
    #[error("invalid quoted value: misplaced or missing quote, or unknown escape")]
    Value,
}

/// One node in the text form.
///
/// ```
/// use xs_transport::mock::text::Line;
///
/// let line: Line = "/a/b [n5 r0] = plain".parse()?;
/// assert_eq!(line.value.as_deref(), Some(&b"plain"[..]));
/// assert_eq!(line.to_string(), r#"/a/b [n5 r0] = "plain""#);
/// # Ok::<(), xs_transport::mock::text::SeedCause>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The path, as written.
    pub path: String,
    /// The permissions. `None` leaves them as they are, or as inherited.
    pub perms: Option<Permissions>,
    /// The value. `None` leaves it as it is, or empty.
    pub value: Option<Vec<u8>>,
}

/// Parses a text, and returns its nodes. Each comes with the number of its line, counted from 1.
pub fn lines(text: &str) -> impl Iterator<Item = Result<(usize, Line), SeedError>> {
    let numbered = (1..).zip(text.lines().map(str::trim));
    let nodes = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    nodes.map(|(number, line)| match line.parse() {
        Ok(line) => Ok((number, line)),
        Err(cause) => Err(SeedError { line: number, cause }),
    })
}

impl FromStr for Line {
    type Err = SeedCause;

    fn from_str(line: &str) -> Result<Self, SeedCause> {
        let line = line.trim();
        let end = line.find([' ', '\t', '[', '=']).unwrap_or(line.len());
        let (path, rest) = line.split_at(end);
        Path::new(path).map_err(SeedCause::Path)?;
        let mut rest = rest.trim_start();
        let mut perms = None;
        if let Some(list) = rest.strip_prefix('[') {
            let (list, after) = list.split_once(']').ok_or(SeedCause::Permissions)?;
            perms = Some(list.parse().map_err(|_| SeedCause::Permissions)?);
            rest = after.trim_start();
        }
        let value = match rest.strip_prefix('=').map(str::trim_start) {
            None if rest.is_empty() => None,
            None => return Err(SeedCause::Form),
            Some(value) => Some(match value.strip_prefix('"') {
                Some(quoted) => unescape(quoted).ok_or(SeedCause::Value)?,
                None => value.as_bytes().to_vec(),
            }),
        };
        Ok(Line { path: path.to_owned(), perms, value })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(perms) = &self.perms {
            write!(f, " [{perms}]")?;
        }
        if let Some(value) = &self.value {
            write!(f, " = \"{}\"", value.escape_ascii())?;
        }
        Ok(())
    }
}

/// Writes all nodes of a store, special nodes first. Nodes whose names have a slash are left out.
pub(in crate::mock) fn dump(store: &Store) -> String {
    let mut text = String::new();
    let specials = [RELEASE_DOMAIN, INTRODUCE_DOMAIN];
    let mut at: Vec<_> = specials.iter().map(|name| (*name).to_owned()).collect();
    at.push("/".to_owned());
    while let Some(path) = at.pop() {
        // Some daemons keep special nodes below the root.
        let node = match path.strip_prefix('@') {
            Some(_) => store.get(&path).or_else(|| store.get(&below_root(&path))),
            None => store.get(&path),
        };
        let Some(node) = node else {
            continue;
        };
        let names = node.children.iter().filter(|name| !specials.contains(name));
        let paths = names.map(|name| join(&path, name));
        let children: Vec<_> = paths.filter(|path| Path::new(path).is_ok()).collect();
        at.extend(children.into_iter().rev());
        let perms = Some(node.perms.to_permissions());
        let has_value = !node.value.is_empty() && !path.starts_with('@');
        let value = has_value.then(|| node.value.to_vec());
        text += &Line { path, perms, value }.to_string();
        text.push('\n');
    }
    text
}

/// Decodes a value that ends with its closing quote. The opening quote is stripped already.
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
                literal @ (b'"' | b'\'' | b'\\') => literal,
                _ => return None,
            }),
            byte => value.push(byte),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(Vec::len);
        f.debug_struct("Line")
            .field("path", &self.path)
            .field("perms", &self.perms)
            .field("value_len", &value)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::Xenstored;

    #[test]
    fn values_survive_dump_and_seed() {
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
    fn invalid_lines_are_reported_by_number() {
        let xenstored = Xenstored::new();
        for (text, cause) in [
            ("a b", SeedCause::Form),
            ("/a [x1]", SeedCause::Permissions),
            ("/a [n1", SeedCause::Permissions),
            ("/a = \"open", SeedCause::Value),
            ("/a = \"\\q\"", SeedCause::Value),
            ("/a//b", SeedCause::Path(PathError::EmptyComponent { at: 3 })),
            ("@other [n0]", SeedCause::Path(PathError::Character { at: 0, byte: b'@' })),
            ("@releaseDomain = 1", SeedCause::Path(PathError::Character { at: 0, byte: b'@' })),
        ] {
            let error = xenstored.seed(&format!("# first\n{text}")).unwrap_err();
            assert_eq!(error, SeedError { line: 2, cause }, "{text}");
        }
        xenstored.seed("plain = as it stands \" \\").unwrap();
        assert_eq!(xenstored.get("/local/domain/0/plain").unwrap(), b"as it stands \" \\");
    }

    #[test]
    fn blanks_are_kept_in_quotes_only() {
        let xenstored = Xenstored::new();
        xenstored.seed("  /a =  one # two \\  \r\n\t/b\t=\" x \" \n/c=\n/d = \"\"").unwrap();
        assert_eq!(xenstored.get("/a").unwrap(), b"one # two \\");
        assert_eq!(xenstored.get("/b").unwrap(), b" x ");
        assert_eq!(xenstored.get("/c").unwrap(), b"");
        assert_eq!(xenstored.get("/d").unwrap(), b"");
        let line: Line = " /a =  one ".parse().unwrap();
        assert_eq!(line.to_string(), r#"/a = "one""#);
    }

    #[test]
    fn relative_paths_are_below_the_home_of_dom0() {
        let xenstored = Xenstored::new();
        xenstored.seed("here = 1").unwrap();
        // A line without a value keeps the old one.
        xenstored.seed("here [n0 r5]").unwrap();
        assert_eq!(xenstored.get("here").unwrap(), b"1");
        assert_eq!(xenstored.get("/local/domain/0/here").unwrap(), b"1");
        assert_eq!(xenstored.perms("here").unwrap().to_string(), "n0 r5");
        xenstored.set("here/x", "2").unwrap();
        assert_eq!(xenstored.children("here").unwrap(), ["x"]);
        assert!(xenstored.set_perms("here/x", &"n7".parse().unwrap()));
        assert!(xenstored.remove("here/x") && !xenstored.remove("here/x"));
        for none in ["", "/here", "here/", "here//x", "@here", "here here"] {
            assert_eq!(xenstored.get(none), None, "{none}");
        }
    }
}
