//! Paths into the store.

use core::fmt;

use crate::wire::{ABS_PATH_MAX, REL_PATH_MAX};

/// A valid path (xenstore.txt, "Communication with xenstore").
///
/// A path is absolute (`/local/domain/5/name`), relative to the home of the domain that uses it
/// (`name`), or special (`@releaseDomain`). It consists of ASCII letters, digits and `-/_@`, has
/// neither an empty component nor a final `/` (except for the root, `/`), and is at most
/// [`ABS_PATH_MAX`] bytes long, or [`REL_PATH_MAX`] when it is relative or special.
///
/// ```
/// use xs_proto::{Path, PathError};
///
/// assert!(Path::new("/local/domain/5").is_ok());
/// assert!(Path::new("control/shutdown").is_ok());
/// assert_eq!(Path::new("/a\0b"), Err(PathError::Character { at: 2, byte: 0 }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path<'a>(&'a str);

impl<'a> Path<'a> {
    /// The top of the tree.
    pub const ROOT: Path<'static> = Path("/");

    /// Takes `text` as a path, if it is a valid one.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, PathError> {
        match is_valid(text.as_bytes()) {
            true => Ok(Path(text)),
            false => Err(PathError::of(text.as_bytes())),
        }
    }

    /// Takes `bytes` as a path, if they are a valid one.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, PathError> {
        match is_valid(bytes) {
            // All valid paths are ASCII.
            true => Ok(Path(core::str::from_utf8(bytes).unwrap_or_default())),
            false => Err(PathError::of(bytes)),
        }
    }

    /// The path as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the path starts at the root.
    pub fn is_absolute(self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether the path names an occasion to watch rather than a node, such as
    /// `@introduceDomain`.
    pub fn is_special(self) -> bool {
        self.0.starts_with('@')
    }

    /// The names between the slashes; none for the root.
    pub fn components(self) -> impl DoubleEndedIterator<Item = &'a str> + Clone {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The path without its last component; none for the root and for a path of one component
    /// that does not start at the root.
    pub fn parent(self) -> Option<Path<'a>> {
        match self.0.rfind('/') {
            Some(0) if self.0.len() > 1 => Some(Path::ROOT),
            None | Some(0) => None,
            Some(at) => Some(Path(&self.0[..at])),
        }
    }

    /// The last component; empty for the root.
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

/// Why something is not a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// There is nothing in it.
    #[error("the path is empty")]
    Empty,
    /// It is longer than the protocol allows.
    #[error("the path has {len} bytes, {max} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// [`ABS_PATH_MAX`] or [`REL_PATH_MAX`].
        max: usize,
    },
    /// It contains something other than ASCII letters, digits and `-/_@`.
    #[error("the path has {:?} at byte {at}; only letters, digits and -/_@ are allowed", *byte as char)]
    Character {
        /// Where, in bytes from the start.
        at: usize,
        /// What stands there.
        byte: u8,
    },
    /// It has two slashes in a row.
    #[error("the path has an empty component at byte {at}")]
    EmptyComponent {
        /// Where the second slash stands, in bytes from the start.
        at: usize,
    },
    /// It ends with a slash and is not the root.
    #[error("the path ends with a slash")]
    TrailingSlash,
}

impl PathError {
    /// What is wrong with something that is not valid.
    #[cold]
    fn of(path: &[u8]) -> Self {
        let Some((first, _)) = path.split_first() else {
            return PathError::Empty;
        };
        let (len, max) = (path.len(), max_len(*first));
        if len > max {
            return PathError::TooLong { len, max };
        }
        let mut before = 0;
        for (at, &byte) in path.iter().enumerate() {
            if !is_allowed(byte) {
                return PathError::Character { at, byte };
            }
            if (before, byte) == (b'/', b'/') {
                return PathError::EmptyComponent { at };
            }
            before = byte;
        }
        PathError::TrailingSlash
    }
}

/// Whether something is a path. Nearly everything is: what is wrong otherwise, is found out later.
fn is_valid(path: &[u8]) -> bool {
    let [first, rest @ ..] = path else { return false };
    let (Some(last), slash) = (rest.last(), *first == b'/') else {
        return is_allowed(*first);
    };
    path.len() <= max_len(*first)
        && (slash || is_allowed(*first))
        && *last != b'/'
        && match rest.len().checked_sub(LANES) {
            Some(last_block) => blocks_follow(path, last_block),
            None => path.windows(2).all(|pair| follows(pair[0], pair[1])),
        }
}

/// So many bytes are looked at at once.
const LANES: usize = 16;

/// Whether each byte but the first may stand where it does: in blocks of one size and without an
/// early way out, so that the compiler looks at all bytes of a block at once. The last block
/// reaches back as far as it has to.
fn blocks_follow(path: &[u8], last_block: usize) -> bool {
    let (before, bytes) = (&path[..path.len() - 1], &path[1..]);
    let mut wrong = [0; LANES];
    let mut look = |before: &[u8], bytes: &[u8]| {
        for lane in 0..LANES {
            wrong[lane] |= if follows(before[lane], bytes[lane]) { 0 } else { u8::MAX };
        }
    };
    for (before, bytes) in before.chunks_exact(LANES).zip(bytes.chunks_exact(LANES)) {
        look(before, bytes);
    }
    look(&before[last_block..], &bytes[last_block..]);
    wrong == [0; LANES]
}

/// Whether a byte may stand behind another one.
#[inline]
const fn follows(before: u8, byte: u8) -> bool {
    is_allowed(byte) & !((before == b'/') & (byte == b'/'))
}

/// Without branches.
#[inline]
const fn is_allowed(byte: u8) -> bool {
    let letter = is_among(byte | 0x20, b'a', 26);
    // From '-' to '9' there is nothing else but the dot.
    let digit = is_among(byte, b'-', 13) & (byte != b'.');
    letter | digit | (byte == b'_') | (byte == b'@')
}

/// Whether a byte is one of so many from the first one on. Compared with signs, which is what
/// processors do to many bytes at once.
#[inline]
const fn is_among(byte: u8, first: u8, count: u8) -> bool {
    (byte.wrapping_sub(first).wrapping_add(0x80) as i8) < (count.wrapping_add(0x80) as i8)
}

const fn max_len(first: u8) -> usize {
    if first == b'/' { ABS_PATH_MAX } else { REL_PATH_MAX }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_what_the_daemons_accept() {
        for good in ["/", "/a", "a", "@releaseDomain", "/a/b-c_D@9", "local/domain/0"] {
            assert_eq!(Path::new(good).map(Path::as_str), Ok(good));
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        assert_eq!(Path::new(""), Err(PathError::Empty));
        assert_eq!(Path::new("//"), Err(PathError::EmptyComponent { at: 1 }));
        assert_eq!(Path::new("/a//b"), Err(PathError::EmptyComponent { at: 3 }));
        assert_eq!(Path::new("/a/"), Err(PathError::TrailingSlash));
        assert_eq!(Path::new("a/"), Err(PathError::TrailingSlash));
        assert_eq!(Path::new("a b"), Err(PathError::Character { at: 1, byte: b' ' }));
        assert_eq!(Path::new("ä"), Err(PathError::Character { at: 0, byte: 0xc3 }));
    }

    #[test]
    fn every_byte_is_judged_wherever_it_stands() {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte);
        for byte in 0..=u8::MAX {
            assert_eq!(is_allowed(byte), allowed(byte), "{byte}");
        }
        for len in [1, 2, 15, 16, 17, 18, 31, 32, 33, 34, 48, 49, 50] {
            let good = std::vec![b'x'; len];
            assert!(is_valid(&good));
            for at in 0..len {
                let mut bad = good.clone();
                bad[at] = b'.';
                assert_eq!(
                    Path::from_bytes(&bad),
                    Err(PathError::Character { at, byte: b'.' }),
                    "{len}"
                );
                let mut slash = good.clone();
                slash[at] = b'/';
                assert_eq!(is_valid(&slash), at + 1 < len || len == 1, "{len} {at}");
                if at > 0 {
                    slash[at - 1] = b'/';
                    let error = PathError::EmptyComponent { at };
                    assert_eq!(Path::from_bytes(&slash), Err(error), "{len}");
                }
            }
        }
    }

    #[test]
    fn length_depends_on_the_kind() {
        let name = |len| std::iter::repeat_n('x', len).collect::<String>();
        assert!(Path::new(&name(REL_PATH_MAX)).is_ok());
        assert_eq!(
            Path::new(&name(REL_PATH_MAX + 1)),
            Err(PathError::TooLong { len: REL_PATH_MAX + 1, max: REL_PATH_MAX })
        );
        let absolute = |len| std::format!("/{}", name(len - 1));
        assert!(Path::new(&absolute(ABS_PATH_MAX)).is_ok());
        assert!(Path::new(&absolute(ABS_PATH_MAX + 1)).is_err());
    }

    /// Long paths are looked at in another way than short ones.
    #[test]
    fn refuses_wherever_the_fault_is() {
        for len in [5, 31, 32, 33, 64, 65] {
            let good = "/".chars().chain(core::iter::repeat_n('x', len - 1)).collect::<String>();
            assert!(Path::new(&good).is_ok());
            for at in 1..len {
                for byte in [b' ', 0, 0xff] {
                    let mut bad = good.clone().into_bytes();
                    bad[at] = byte;
                    assert_eq!(Path::from_bytes(&bad), Err(PathError::Character { at, byte }));
                }
            }
            for at in 3..len {
                let mut bad = good.clone().into_bytes();
                bad[at - 1..=at].fill(b'/');
                assert_eq!(Path::from_bytes(&bad), Err(PathError::EmptyComponent { at }));
            }
            let slashes = "/".repeat(len);
            assert_eq!(Path::new(&slashes), Err(PathError::EmptyComponent { at: 1 }));
        }
    }

    #[test]
    fn parents_and_names() {
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
        fn bytes_and_text_agree(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let from_text = core::str::from_utf8(&bytes).ok().map(Path::new);
            if let Some(from_text) = from_text {
                prop_assert_eq!(from_text, Path::from_bytes(&bytes));
            } else {
                prop_assert!(Path::from_bytes(&bytes).is_err());
            }
        }
    }

    #[test]
    fn what_is_as_long_as_may_be_is_judged_by_what_it_says() {
        for (start, max) in [("/", ABS_PATH_MAX), ("a", REL_PATH_MAX), ("@", REL_PATH_MAX)] {
            let fits = format!("{start:x<max$}");
            assert!(Path::new(&fits).is_ok());
            let error = Path::new(&fits.replacen('x', " ", 1)).unwrap_err();
            assert_eq!(error, PathError::Character { at: 1, byte: b' ' });
            let error = Path::new(&format!("{fits} ")).unwrap_err();
            assert_eq!(error, PathError::TooLong { len: max + 1, max });
        }
    }
}
