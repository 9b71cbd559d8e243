//! Lists of NUL-terminated strings.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::error::{PayloadError, RequestError};

/// A list of byte strings, each of which is followed by a NUL (`|*` in xenstore.txt).
///
/// DIRECTORY replies with such a list, and CONTROL sends one. Strings may be empty and need not be
/// UTF-8.
///
/// ```
/// use xs_proto::Strings;
///
/// let children = Strings::new(b"name\0vm\0".as_slice())?;
/// assert!(children.iter().eq([b"name".as_slice(), b"vm"]));
/// # Ok::<(), xs_proto::PayloadError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Strings<'a>(Cow<'a, [u8]>);

impl<'a> Strings<'a> {
    /// Interprets `bytes` as a list. No bytes are an empty list.
    ///
    /// # Errors
    /// Returns [`PayloadError::MissingNul`] if the last byte is not a NUL.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, PayloadError> {
        let bytes = bytes.into();
        match bytes.last() {
            None | Some(0) => Ok(Strings(bytes)),
            Some(_) => Err(PayloadError::MissingNul),
        }
    }

    /// Builds a list from separate strings.
    ///
    /// # Errors
    /// Returns [`RequestError::Nul`] if a string contains a NUL.
    pub fn from_list<S: AsRef<[u8]>>(
        list: impl IntoIterator<Item = S>,
    ) -> Result<Strings<'static>, RequestError> {
        let mut bytes = Vec::new();
        for string in list {
            let string = string.as_ref();
            if string.contains(&0) {
                return Err(RequestError::Nul { field: "string" });
            }
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        Ok(Strings(Cow::Owned(bytes)))
    }

    /// Returns the strings without their NULs.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let bytes = self.0.strip_suffix(&[0]);
        bytes.into_iter().flat_map(|bytes| bytes.split(|byte| *byte == 0))
    }

    /// Returns the list in wire format, including the NULs.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether the list has no strings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Converts to a list that borrows nothing.
    pub fn into_owned(self) -> Strings<'static> {
        Strings(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for Strings<'_> {
    /// Shows the number of strings, but not their contents, which may be long or values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Strings({} strings, {} bytes)", self.iter().count(), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iteration_preserves_empty_strings() {
        let list = |bytes: &'static [u8]| {
            let strings = Strings::new(bytes).unwrap();
            strings.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert!(list(b"").is_empty());
        assert_eq!(list(b"\0"), [b""]);
        assert_eq!(list(b"a\0\0b\0"), [b"a".as_slice(), b"", b"b"]);
    }

    #[test]
    fn every_string_ends_with_a_nul() {
        assert_eq!(Strings::from_list(["a", "b"]).unwrap().as_bytes(), b"a\0b\0");
        assert_eq!(Strings::new(b"a".as_slice()), Err(PayloadError::MissingNul));
    }

    #[test]
    fn strings_with_nul_are_rejected() {
        assert_eq!(Strings::from_list(["a\0b"]), Err(RequestError::Nul { field: "string" }));
    }
}
