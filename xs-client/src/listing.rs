//! Lists of children that exceed one message.

use xs_proto::ErrorCode;

use crate::error::{Error, Result};
use crate::op::{self, Op, Part};

/// Assembles a long list of children from its parts (xenstore.txt, DIRECTORY_PART).
///
/// The caller alternates between [`next`](Self::next), which returns the next request, and
/// [`take`](Self::take), which accepts its answer. The blocking client and the futures both do so.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    path: &'a str,
    names: Vec<String>,
    offset: u32,
    generation: Option<u64>,
    restarts: u32,
}

/// How often the list may change while it is read before the operation fails.
const MAX_RESTARTS: u32 = 100;

/// The maximum size of a list in bytes of names: some hundred thousand children.
const MAX_BYTES: u32 = 1 << 24;

impl<'a> Listing<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        Listing { path, names: Vec::new(), offset: 0, generation: None, restarts: 0 }
    }

    /// Returns whether this answer to DIRECTORY means that the list has to be read in parts.
    pub(crate) fn is_needed<T>(answer: &Result<T>) -> bool {
        matches!(answer, Err(error) if error.code() == Some(&ErrorCode::TooBig))
    }

    /// Returns the next request.
    pub(crate) fn next(&self) -> Op<'a, Part> {
        op::directory_part(self.path, self.offset)
    }

    /// Takes the answer to that request. Returns the list when it is complete.
    pub(crate) fn take(&mut self, part: Part) -> Result<Option<Vec<String>>> {
        if *self.generation.get_or_insert(part.generation) != part.generation {
            self.restarts += 1;
            if self.restarts > MAX_RESTARTS {
                return Err(self.error("the list of children changes faster than it can be read"));
            }
            *self = Listing { restarts: self.restarts, ..Listing::new(self.path) };
            return Ok(None);
        }
        self.names.extend(part.names);
        if part.last {
            return Ok(Some(std::mem::take(&mut self.names)));
        }
        if part.bytes == 0 {
            return Err(self.error("a part of the list of children is empty"));
        }
        let offset = u64::from(self.offset) + part.bytes as u64;
        match u32::try_from(offset) {
            Ok(offset) if offset <= MAX_BYTES => self.offset = offset,
            _ => return Err(self.error("the list of children does not end")),
        }
        Ok(None)
    }

    fn error(&self, what: &str) -> Error {
        self.next().label.unexpected(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(generation: u64, names: &[&str], last: bool) -> Part {
        let bytes = names.iter().map(|name| name.len() + 1).sum();
        Part { generation, names: names.iter().map(|name| (*name).into()).collect(), bytes, last }
    }

    #[test]
    fn parts_are_joined_and_restarted_when_the_list_changes() {
        let mut listing = Listing::new("/a");
        assert_eq!(listing.take(part(1, &["x", "yy"], false)).unwrap(), None);
        assert_eq!(listing.offset, 5);
        assert_eq!(listing.take(part(2, &["zz"], true)).unwrap(), None);
        assert_eq!(listing.offset, 0);
        assert_eq!(listing.take(part(2, &["x"], false)).unwrap(), None);
        let names = listing.take(part(2, &["y"], true)).unwrap();
        assert_eq!(names, Some(vec!["x".into(), "y".into()]));
    }

    #[test]
    fn endless_lists_are_rejected() {
        let mut listing = Listing::new("/a");
        assert!(listing.take(part(1, &[], false)).is_err());

        let mut listing = Listing::new("/a");
        let changes = u64::from(MAX_RESTARTS);
        for at in 0..2 * (changes + 1) {
            // Each list is read up to its first part, and changes.
            assert_eq!(listing.take(part(at / 2, &["x"], false)).unwrap(), None);
        }
        let error = listing.take(part(changes + 1, &["x"], false)).unwrap_err();
        assert!(error.to_string().contains("changes faster"), "{error}");

        let mut listing = Listing::new("/a");
        let half = || Part { bytes: MAX_BYTES as usize / 2, ..part(1, &["x"], false) };
        assert!(listing.take(half()).is_ok() && listing.take(half()).is_ok());
        let error = listing.take(part(1, &["x"], false)).unwrap_err();
        assert!(error.to_string().contains("does not end"), "{error}");
    }
}
