//! Paths of nodes.

use core::fmt;

use crate::wire::{ABS_PATH_MAX, REL_PATH_MAX};

/// A valid Xenstore path (xenstore.txt, introduction).
///
/// There are three kinds of paths:
///
/// * An absolute path starts at the root of the store: `/local/domain/5/name`.
/// * A relative path starts at the home of the domain that uses it: domain 5 may write `name`
///   instead of `/local/domain/5/name`.
/// * A special path names an event source rather than a node: `@releaseDomain`. It is valid in
///   watches, and in permission requests.
///
/// A path consists of ASCII letters, digits and the characters `-/_@`. It has no empty component
/// and, except for the root `/`, no trailing slash. An absolute path has at most [`ABS_PATH_MAX`]
/// bytes, any other path at most [`REL_PATH_MAX`].
///
/// ```
/// use xs_proto::{Path, PathError};
///
/// let path = Path::new("/local/domain/5")?;
/// assert_eq!(path.parent(), Some(Path::new("/local/domain")?));
/// assert_eq!(path.name(), "5");
/// assert_eq!(Path::new("/a\0b"), Err(PathError::Character { at: 2, byte: 0 }));
/// # Ok::<(), PathError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path<'a>(&'a str);

impl<'a> Path<'a> {
    /// The root of the store, `/`.
    pub const ROOT: Path<'static> = Path("/");

    /// Checks that `text` is a valid path.
    ///
    /// # Errors
    /// Returns the first violation of the rules for paths.
    pub fn new(text: &'a str) -> Result<Self, PathError> {
        check(text.as_bytes())?;
        Ok(Path(text))
    }

    /// Checks that `bytes` are a valid path.
    ///
    /// # Errors
    /// Returns the first violation of the rules for paths.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, PathError> {
        check(bytes)?;
        Ok(Path(core::str::from_utf8(bytes).expect("a valid path is ASCII")))
    }

    /// Returns the path as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns whether the path starts at the root.
    pub fn is_absolute(self) -> bool {
        self.0.starts_with('/')
    }

    /// Returns whether the path names an event source, such as `@introduceDomain`.
    pub fn is_special(self) -> bool {
        self.0.starts_with('@')
    }

    /// Returns the names between the slashes. The root has none.
    pub fn components(self) -> impl DoubleEndedIterator<Item = &'a str> + Clone {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Returns the path without its last component, or `None` for the root and for a relative path
    /// of one component.
    pub fn parent(self) -> Option<Path<'a>> {
        match self.0.rfind('/') {
            Some(0) if self.0.len() > 1 => Some(Path::ROOT),
            None | Some(0) => None,
            Some(at) => Some(Path(&self.0[..at])),
        }
    }

    /// Returns the last component. It is empty for the root.
    pub fn name(self) -> &'a str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'a> TryFrom<&'a str> for Path<'a> {
    type Error = PathError;

    fn try_from(text: &'a str) -> Result<Self, PathError> {
        Path::new(text)
    }
}

impl AsRef<str> for Path<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// The reason why a string is not a valid [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path is empty.
    #[error("the path is empty")]
    Empty,
    /// The path is longer than the protocol allows.
    #[error("the path has {len} bytes, the limit is {max}")]
    TooLong {
        /// The length of the path in bytes.
        len: usize,
        /// The limit in bytes: [`ABS_PATH_MAX`] or [`REL_PATH_MAX`].
        max: usize,
    },
    /// The path contains a byte that is not an ASCII letter, a digit or one of `-/_@`.
    #[error(
        "the path has '{}' at byte {at}; only letters, digits and -/_@ are allowed",
        byte.escape_ascii()
    )]
    Character {
        /// The position of the byte, counting from 0.
        at: usize,
        /// The invalid byte.
        byte: u8,
    },
    /// The path contains two slashes in a row.
    #[error("the path has an empty component at byte {at}")]
    EmptyComponent {
        /// The position of the second slash in bytes, counting from 0.
        at: usize,
    },
    /// The path ends with a slash and is not the root.
    #[error("the path ends with a slash")]
    TrailingSlash,
}

fn check(path: &[u8]) -> Result<(), PathError> {
    let max = match path.first() {
        None => return Err(PathError::Empty),
        Some(b'/') => ABS_PATH_MAX,
        Some(_) => REL_PATH_MAX,
    };
    if path.len() > max {
        return Err(PathError::TooLong { len: path.len(), max });
    }
    let mut previous = 0;
    for (at, &byte) in path.iter().enumerate() {
        let is_allowed = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_' | b'@');
        if !is_allowed {
            return Err(PathError::Character { at, byte });
        }
        if previous == b'/' && byte == b'/' {
            return Err(PathError::EmptyComponent { at });
        }
        previous = byte;
    }
    if previous == b'/' && path.len() > 1 {
        return Err(PathError::TrailingSlash);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_kinds_of_valid_paths_are_accepted() {
        for good in ["/", "/a", "a", "@releaseDomain", "/a/b-c_D@9", "local/domain/0"] {
            assert_eq!(Path::new(good).map(Path::as_str), Ok(good));
        }
    }

    #[test]
    fn invalid_paths_are_rejected_with_the_reason() {
        assert_eq!(Path::new(""), Err(PathError::Empty));
        assert_eq!(Path::new("//"), Err(PathError::EmptyComponent { at: 1 }));
        assert_eq!(Path::new("////"), Err(PathError::EmptyComponent { at: 1 }));
        assert_eq!(Path::new("/a//b"), Err(PathError::EmptyComponent { at: 3 }));
        assert_eq!(Path::new("/a//"), Err(PathError::EmptyComponent { at: 3 }));
        assert_eq!(Path::new("/a/"), Err(PathError::TrailingSlash));
        assert_eq!(Path::new("a/"), Err(PathError::TrailingSlash));
        assert_eq!(Path::new("a b"), Err(PathError::Character { at: 1, byte: b' ' }));
        assert_eq!(Path::new("ä"), Err(PathError::Character { at: 0, byte: 0xc3 }));
    }

    #[test]
    fn only_letters_digits_and_four_other_characters_are_allowed() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-_@".contains(&byte);
            for at in 0..3 {
                let mut path = *b"xxx";
                path[at] = byte;
                if byte == b'/' {
                    assert_eq!(Path::from_bytes(&path).is_ok(), at < 2);
                } else if allowed {
                    assert!(Path::from_bytes(&path).is_ok(), "{byte}");
                } else {
                    assert_eq!(Path::from_bytes(&path), Err(PathError::Character { at, byte }));
                }
            }
        }
    }

    #[test]
    fn defects_are_found_at_every_position() {
        for len in [5, 32, 65] {
            let good = format!("/{}", "x".repeat(len - 1));
            assert!(Path::new(&good).is_ok());
            for at in 1..len {
                let mut bad = good.clone().into_bytes();
                bad[at] = b'.';
                let error = PathError::Character { at, byte: b'.' };
                assert_eq!(Path::from_bytes(&bad), Err(error));
                bad[at - 1..=at].fill(b'/');
                // The root's slash and the two that follow it make an earlier empty component.
                let at = if at == 2 { 1 } else { at };
                assert_eq!(Path::from_bytes(&bad), Err(PathError::EmptyComponent { at }));
            }
        }
    }

    #[test]
    fn length_limit_depends_on_the_kind_of_path() {
        for (start, max) in [("/", ABS_PATH_MAX), ("a", REL_PATH_MAX), ("@", REL_PATH_MAX)] {
            let longest = format!("{start:x<max$}");
            assert!(Path::new(&longest).is_ok());
            let error = PathError::TooLong { len: max + 1, max };
            assert_eq!(Path::new(&format!("{longest}x")), Err(error));
        }
    }

    #[test]
    fn length_is_checked_before_characters() {
        for (start, max) in [("/", ABS_PATH_MAX), ("a", REL_PATH_MAX), ("@", REL_PATH_MAX)] {
            let longest = format!("{start:x<max$}").replacen('x', " ", 1);
            assert_eq!(Path::new(&longest), Err(PathError::Character { at: 1, byte: b' ' }));
            let error = PathError::TooLong { len: max + 1, max };
            assert_eq!(Path::new(&format!("{longest}x")), Err(error));
        }
    }

    #[test]
    fn parents_and_components_follow_the_slashes() {
        let parent = |path| Path::new(path).unwrap().parent().map(Path::as_str);
        assert_eq!(parent("/"), None);
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("a/b"), Some("a"));
        assert_eq!(parent("a"), None);
        assert_eq!(Path::new("/a/b").unwrap().name(), "b");
        assert_eq!(Path::ROOT.name(), "");
        let names: Vec<_> = Path::new("/a/b/c").unwrap().components().collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(Path::ROOT.components().count(), 0);
    }

    proptest! {
        #[test]
        fn bytes_and_text_give_the_same_result(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            match core::str::from_utf8(&bytes) {
                Ok(text) => prop_assert_eq!(Path::new(text), Path::from_bytes(&bytes)),
                Err(_) => prop_assert!(Path::from_bytes(&bytes).is_err()),
            }
        }
    }
}
