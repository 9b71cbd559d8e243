//! Lists of children that do not fit into one message.

use std::time::{Duration, Instant};

use xs_proto::ErrorCode;

use crate::error::{Error, ErrorKind, Result};
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
    /// The pause before the next restart.
    pause: Duration,
    /// When to give up on a list that keeps changing.
    give_up: Instant,
}

/// The next step after a part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Request another part.
    Continue,
    /// The list has changed: read it from its start at this instant.
    RestartAt(Instant),
    /// None: this is the whole list.
    Complete(Vec<String>),
}

/// How long to go on with a list that keeps changing, if the operation has no deadline.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first pause before a restart. Each pause is twice as long as the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The maximum size of a list in bytes of names: some hundred thousand children.
const MAX_BYTES: u32 = 1 << 24;

impl<'a> Listing<'a> {
    pub(crate) fn new(path: &'a str, deadline: Option<Instant>, now: Instant) -> Self {
        Listing {
            path,
            names: Vec::new(),
            offset: 0,
            generation: None,
            pause: SHORTEST_PAUSE,
            give_up: deadline.unwrap_or_else(|| now + PATIENCE),
        }
    }

    /// Returns whether this answer to DIRECTORY means that the list has to be read in parts.
    pub(crate) fn is_needed<T>(answer: &Result<T>) -> bool {
        matches!(answer, Err(error) if error.code() == Some(&ErrorCode::TooBig))
    }

    /// Returns the next request.
    pub(crate) fn next(&self) -> Op<'a, Part> {
        op::directory_part(self.path, self.offset)
    }

    /// Takes the answer to that request, which comes at `now`.
    pub(crate) fn take(&mut self, part: Part, now: Instant) -> Result<Step> {
        if *self.generation.get_or_insert(part.generation) != part.generation {
            return self.restart(now);
        }
        self.names.extend(part.names);
        if part.last {
            return Ok(Step::Complete(std::mem::take(&mut self.names)));
        }
        if part.bytes == 0 {
            return Err(self.error("a part of the list of children is empty"));
        }
        let offset = u64::from(self.offset) + part.bytes as u64;
        match u32::try_from(offset) {
            Ok(offset) if offset <= MAX_BYTES => self.offset = offset,
            _ => return Err(self.error("the list of children does not end")),
        }
        Ok(Step::Continue)
    }

    fn restart(&mut self, now: Instant) -> Result<Step> {
        if now >= self.give_up {
            return Err(self.next().label.error(ErrorKind::TimedOut));
        }
        let at = self.give_up.min(now + self.pause);
        self.pause = LONGEST_PAUSE.min(2 * self.pause);
        self.names.clear();
        self.offset = 0;
        self.generation = None;
        Ok(Step::RestartAt(at))
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
        let now = Instant::now();
        let mut listing = Listing::new("/a", None, now);
        assert_eq!(listing.take(part(1, &["x", "yy"], false), now).unwrap(), Step::Continue);
        assert_eq!(listing.offset, 5);
        let restart = listing.take(part(2, &["zz"], true), now).unwrap();
        assert!(matches!(restart, Step::RestartAt(_)), "{restart:?}");
        assert_eq!(listing.offset, 0);
        assert_eq!(listing.take(part(2, &["x"], false), now).unwrap(), Step::Continue);
        let names = listing.take(part(2, &["y"], true), now).unwrap();
        assert_eq!(names, Step::Complete(vec!["x".into(), "y".into()]));
    }

    #[test]
    fn restarts_are_paced_and_end_at_the_deadline() {
        let start = Instant::now();
        for (deadline, end) in [(Some(start + PATIENCE * 2), PATIENCE * 2), (None, PATIENCE)] {
            let mut listing = Listing::new("/a", deadline, start);
            assert!(listing.give_up >= start + end);
            let mut changes = 0..1_000_000;
            let mut pauses = Vec::new();
            for _ in 0..1000 {
                let mut take = || listing.take(part(changes.next().unwrap(), &["x"], false), start);
                assert_eq!(take().unwrap(), Step::Continue);
                let Step::RestartAt(at) = take().unwrap() else {
                    panic!("the list has changed");
                };
                pauses.push(at - start);
            }
            assert!(pauses[0] >= SHORTEST_PAUSE && pauses[999] >= LONGEST_PAUSE);
        }
        let mut listing = Listing::new("/a", Some(start), start);
        listing.take(part(1, &["x"], false), start).unwrap();
        let error = listing.take(part(2, &["x"], false), start).unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }

    #[test]
    fn endless_lists_are_rejected() {
        let now = Instant::now();
        let mut listing = Listing::new("/a", None, now);
        assert!(listing.take(part(1, &[], false), now).is_err());

        let mut listing = Listing::new("/a", None, now);
        let half = || Part { bytes: MAX_BYTES as usize / 2, ..part(1, &["x"], false) };
        assert!(listing.take(half(), now).is_ok() && listing.take(half(), now).is_ok());
        let error = listing.take(part(1, &["x"], false), now).unwrap_err();
        assert!(error.to_string().contains("does not end"), "{error}");
    }
}
