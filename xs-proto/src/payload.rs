//! What payloads are made of: NUL-terminated strings, numbers in decimal, raw bytes.

use alloc::borrow::Cow;
use core::ffi::CStr;
use core::fmt::Write;
use core::str::FromStr;

use bytes::BytesMut;

use crate::path::{Path, PathError};

/// A list of NUL-terminated strings, as DIRECTORY answers with (`|*` in xenstore.txt).
///
/// ```
/// use xs_proto::Strings;
///
/// let children = Strings::new(b"name\0vm\0".as_slice())?;
/// assert!(children.iter().eq([b"name".as_slice(), b"vm"]));
/// # Ok::<(), xs_proto::PayloadError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Strings<'a>(Cow<'a, [u8]>);

impl<'a> Strings<'a> {
    /// Takes `bytes` as strings; the last one must end with its NUL. No bytes are no strings.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, PayloadError> {
        let bytes = bytes.into();
        match bytes.last() {
            None | Some(0) => Ok(Strings(bytes)),
            Some(_) => Err(PayloadError::MissingNul),
        }
    }

    /// Builds the list from its strings, or says which one has a NUL inside.
    pub fn from_list<S: AsRef<[u8]>>(
        list: impl IntoIterator<Item = S>,
    ) -> Result<Strings<'static>, RequestError> {
        let mut bytes = alloc::vec::Vec::new();
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

    /// The strings, without their NULs.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let bytes = self.0.strip_suffix(&[0]);
        bytes.into_iter().flat_map(|bytes| bytes.split(|byte| *byte == 0))
    }

    /// The strings as they go over the wire, NULs included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same list, borrowing nothing.
    pub fn into_owned(self) -> Strings<'static> {
        Strings(Cow::Owned(self.0.into_owned()))
    }
}

/// Why a payload is not what its message type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A string does not end.
    #[error("a string lacks its final NUL")]
    MissingNul,
    /// There are fewer fields than the type has.
    #[error("a field is missing")]
    TooFew,
    /// Something follows the last field.
    #[error("something follows the last field")]
    TooMany,
    /// A field is not the number that it should be.
    #[error("a field is not a number, or out of range")]
    Number,
    /// A field is none of the words that may stand there.
    #[error("a field is not the word expected")]
    Word,
    /// A field is not a path.
    #[error("a field is not a path: {0}")]
    Path(PathError),
    /// A field is not a permission.
    #[error("a field is not a permission")]
    Permission,
    /// A field is not text.
    #[error("a field is not UTF-8 text")]
    Text,
    /// The message type has no such payload at all.
    #[error("no such message is sent in this direction")]
    Direction,
}

/// Why a request cannot be sent: the caller's mistake, found before a byte has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A string that ends with a NUL on the wire has one inside.
    #[error("the {field} has a NUL inside")]
    Nul {
        /// Which string.
        field: &'static str,
    },
    /// The payload is longer than the server or the device takes.
    #[error("the request has {len} bytes of payload, {max} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// A transaction can only be ended from inside.
    #[error("there is no transaction to end")]
    NoTransaction,
    /// The quotas of a domain have to be asked for one by one.
    #[error("a domain's quota needs the name of the quota")]
    DomainWithoutQuota,
}

/// Takes a payload apart, field by field.
#[derive(Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Fields(payload)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next string, without its NUL.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], PayloadError> {
        if self.0.is_empty() {
            return Err(PayloadError::TooFew);
        }
        let string = CStr::from_bytes_until_nul(self.0).map_err(|_| PayloadError::MissingNul)?;
        let string = string.to_bytes();
        self.0 = &self.0[string.len() + 1..];
        Ok(string)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, PayloadError> {
        core::str::from_utf8(self.string()?).map_err(|_| PayloadError::Text)
    }

    pub(crate) fn path(&mut self) -> Result<Path<'a>, PayloadError> {
        Path::from_bytes(self.string()?).map_err(PayloadError::Path)
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T, PayloadError> {
        number(self.string()?)
    }

    /// All that is left, as it is.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// All that is left, as strings.
    pub(crate) fn strings(self) -> Result<Strings<'a>, PayloadError> {
        Strings::new(self.0)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), PayloadError> {
        if self.0.is_empty() { Ok(()) } else { Err(PayloadError::TooMany) }
    }
}

/// A number in plain decimal: no sign, no blanks.
pub(crate) fn number<T: FromStr>(field: &[u8]) -> Result<T, PayloadError> {
    core::str::from_utf8(field)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(PayloadError::Number)
}

/// Puts a payload together behind what `out` holds already, and never more than its limit.
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    start: usize,
    max: usize,
    /// What would have been written, had there been room.
    len: usize,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(crate) fn new(out: &'a mut BytesMut, max: usize) -> Self {
        Writer { start: out.len(), out, max, len: 0 }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
        if self.len <= self.max {
            self.out.extend_from_slice(bytes);
        }
    }

    /// A string and its NUL.
    pub(crate) fn string(
        &mut self,
        field: &'static str,
        string: &[u8],
    ) -> Result<(), RequestError> {
        if string.contains(&0) {
            return Err(RequestError::Nul { field });
        }
        self.raw(string);
        self.raw(&[0]);
        Ok(())
    }

    #[inline]
    pub(crate) fn path(&mut self, path: Path<'_>) {
        let path = path.as_str().as_bytes();
        self.len = self.len.saturating_add(path.len() + 1);
        if self.len <= self.max {
            self.out.extend_from_slice(path);
            self.out.extend_from_slice(&[0]);
        }
    }

    /// A number, or anything else whose display form has no NUL, and a NUL.
    pub(crate) fn display(&mut self, value: impl core::fmt::Display) {
        // Writing to a Writer cannot fail; it counts what does not fit.
        let _ = write!(self, "{value}");
        self.raw(&[0]);
    }

    /// The length of what was written, or the error that says what would have been too long.
    #[inline]
    pub(crate) fn finish(self) -> Result<usize, RequestError> {
        if self.len > self.max {
            return Err(RequestError::TooLong { len: self.len, max: self.max });
        }
        debug_assert_eq!(self.out.len() - self.start, self.len);
        Ok(self.len)
    }
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.raw(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn list(bytes: &'static [u8]) -> Vec<&'static [u8]> {
        let strings = std::boxed::Box::leak(std::boxed::Box::new(Strings::new(bytes).unwrap()));
        strings.iter().collect()
    }

    #[test]
    fn strings_keep_empty_ones_and_invent_none() {
        assert!(list(b"").is_empty());
        assert_eq!(list(b"\0"), [b""]);
        assert_eq!(list(b"a\0\0b\0"), [b"a".as_slice(), b"", b"b"]);
        assert_eq!(Strings::new(b"a".as_slice()), Err(PayloadError::MissingNul));
        assert_eq!(Strings::from_list(["a", "b"]).unwrap().as_bytes(), b"a\0b\0");
        assert!(Strings::from_list(["a\0b"]).is_err());
    }

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(number::<u16>(b"65535"), Ok(65535));
        for bad in [b"".as_slice(), b"65536", b"-1", b"+1", b" 1", b"1 ", b"0x1", b"\xff"] {
            assert_eq!(number::<u16>(bad), Err(PayloadError::Number), "{bad:?}");
        }
    }

    #[test]
    fn writer_counts_without_storing_beyond_its_limit() {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut writer = Writer::new(&mut out, 4);
        writer.raw(b"1234");
        writer.raw(&[0; 1000]);
        assert_eq!(writer.finish(), Err(RequestError::TooLong { len: 1004, max: 4 }));
        assert_eq!(out.len(), b"before1234".len());
    }
}
