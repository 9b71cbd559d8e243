//! The fields of a payload: NUL-terminated strings, decimal numbers and raw bytes.

use core::ffi::CStr;
use core::fmt::{Display, Write};
use core::str::FromStr;

use bytes::BytesMut;

use crate::error::{PayloadError, RequestError};
use crate::path::Path;
use crate::strings::Strings;

/// Splits a payload into its fields.
#[derive(Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Fields(payload)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next string and returns it without its NUL.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], PayloadError> {
        if self.0.is_empty() {
            return Err(PayloadError::TooFew);
        }
        let string = CStr::from_bytes_until_nul(self.0).map_err(|_| PayloadError::MissingNul)?;
        let string = string.to_bytes();
        self.0 = &self.0[string.len() + 1..];
        Ok(string)
    }

    /// Takes the next string, unless no data remains.
    pub(crate) fn optional_string(&mut self) -> Result<Option<&'a [u8]>, PayloadError> {
        if self.is_empty() { Ok(None) } else { self.string().map(Some) }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, PayloadError> {
        text(self.string()?)
    }

    pub(crate) fn path(&mut self) -> Result<Path<'a>, PayloadError> {
        Path::from_bytes(self.string()?).map_err(PayloadError::Path)
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T, PayloadError> {
        number(self.string()?)
    }

    /// Takes a truth value: `T` or `F`.
    pub(crate) fn boolean(&mut self) -> Result<bool, PayloadError> {
        match self.string()? {
            b"T" => Ok(true),
            b"F" => Ok(false),
            _ => Err(PayloadError::Word),
        }
    }

    /// Returns the remaining bytes.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Returns the remaining bytes as a list of strings.
    pub(crate) fn strings(self) -> Result<Strings<'a>, PayloadError> {
        Strings::new(self.0)
    }

    /// Checks that no data remains.
    pub(crate) fn end(self) -> Result<(), PayloadError> {
        if self.0.is_empty() { Ok(()) } else { Err(PayloadError::TooMany) }
    }
}

/// Parses a plain decimal number, without sign or spaces.
pub(crate) fn number<T: FromStr>(field: &[u8]) -> Result<T, PayloadError> {
    core::str::from_utf8(field)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(PayloadError::Number)
}

pub(crate) fn text(field: &[u8]) -> Result<&str, PayloadError> {
    core::str::from_utf8(field).map_err(|_| PayloadError::Text)
}

/// Appends a payload to a buffer, and stores at most `max` bytes of it.
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    max: usize,
    /// The length of the payload, including bytes that exceed `max` and are not stored.
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut BytesMut, max: usize) -> Self {
        Writer { out, max, len: 0 }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
        if self.len <= self.max {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Appends a string and its NUL. `field` names the string in an error.
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

    pub(crate) fn path(&mut self, path: Path<'_>) {
        self.raw(path.as_str().as_bytes());
        self.raw(&[0]);
    }

    /// Appends the text form of a value and a NUL. The text form must not contain a NUL.
    pub(crate) fn display(&mut self, value: impl Display) {
        // `Writer::write_str` never fails.
        let _ = write!(self, "{value}");
        self.raw(&[0]);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.raw(if value { b"T\0" } else { b"F\0" });
    }

    /// Returns the length of the payload in bytes, or an error if it exceeds the limit.
    pub(crate) fn finish(self) -> Result<usize, RequestError> {
        if self.len > self.max {
            return Err(RequestError::TooLong { len: self.len, max: self.max });
        }
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
    use super::*;

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(number::<u16>(b"65535"), Ok(65535));
        for bad in [b"".as_slice(), b"65536", b"-1", b"+1", b" 1", b"1 ", b"0x1", b"\xff"] {
            assert_eq!(number::<u16>(bad), Err(PayloadError::Number), "{bad:?}");
        }
    }

    #[test]
    fn writer_stores_nothing_beyond_its_limit() {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut writer = Writer::new(&mut out, 4);
        writer.raw(b"1234");
        writer.raw(&[0; 1000]);
        assert_eq!(writer.finish(), Err(RequestError::TooLong { len: 1004, max: 4 }));
        assert_eq!(out, b"before1234".as_slice());
    }
}
