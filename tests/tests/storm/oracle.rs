//! Knows which values a read may return.
//!
//! A key is a node that one writer at a time changes. Its values are numbered. A read must return a
//! value that was written, and none older than the last one that was acknowledged before the read
//! began. A write whose outcome is unknown may take effect later, even after younger writes, because
//! the daemon may still have its request in the buffer of a lost connection.
//!
//! A daemon that is killed loses its store. Its *lifetime* is an even number while it runs, and odd
//! from just before its death until the next daemon serves.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use xs_client::{Error, ErrorCode, ErrorKind, Failure};
use xs_proto::ConnectionError;

use super::random::mix;

/// The state that all actors share.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    lifetime: AtomicU64,
    violations: Mutex<Vec<String>>,
    /// An expectation was violated, and the storm ends.
    pub(crate) has_failed: AtomicBool,
    /// The daemon limits the transactions of this domain.
    pub(crate) is_limited: bool,
}

impl Oracle {
    pub(crate) fn lifetime(&self) -> u64 {
        self.lifetime.load(Ordering::SeqCst)
    }

    /// The daemon is about to be killed, or serves again.
    pub(crate) fn next_lifetime(&self) {
        self.lifetime.fetch_add(1, Ordering::SeqCst);
    }

    /// Records that an expectation is violated. Panics in callbacks would be caught by the client.
    pub(crate) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        let _ = io::stderr().write_all(format!("VIOLATED: {what}\n").as_bytes());
        self.violations.lock().unwrap().push(what);
        self.has_failed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn assert_nothing_violated(&self) {
        assert_eq!(*self.violations.lock().unwrap(), Vec::<String>::new());
    }

    /// Checks that a storm can cause an error. No connection may be lost because of the bytes that the
    /// daemon sends: a cut may truncate them, but does not change them.
    pub(crate) fn expect_error(&self, during: &str, error: &Error) {
        let is_loss = match error.kind() {
            ErrorKind::Lost(Failure::Protocol(cause)) => {
                matches!(cause, ConnectionError::Closed | ConnectionError::Truncated)
            }
            _ => error.is_lost(),
        };
        let is_expected = is_loss
            || error.is_timeout()
            || self.is_limited && error.code() == Some(&ErrorCode::NoSpace)
            || error.is_conflict()
            || matches!(error.kind(), ErrorKind::TooManyRequests | ErrorKind::TransactionLost);
        if !is_expected {
            self.violated(format!("{during}: unexpected error: {error} ({error:?})"));
        }
    }
}

/// A node with numbered values.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) path: String,
    id: u64,
    /// Some values are the absence of the node.
    may_be_absent: bool,
    state: Mutex<KeyState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct KeyState {
    /// The number of the last write that was started.
    started: u64,
    /// The last write that was acknowledged, and the lifetime in which it began and ended.
    acked: Option<(u64, u64)>,
    /// Writes of unknown outcome, and the lifetimes in which they ended.
    unknown: Vec<(u64, u64)>,
    /// The last values that the watchers have read.
    seen: HashMap<&'static str, u64>,
}

/// A write that has been started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    number: u64,
    lifetime: u64,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done,
    Refused,
    Unknown,
}

impl Outcome {
    pub(crate) fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Outcome::Done,
            Err(error) if error.code().is_some() || error.is_conflict() => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        }
    }
}

/// A read that has been started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    lifetime: u64,
    acked: Option<u64>,
}

impl Key {
    pub(crate) fn new(id: u64, path: String, may_be_absent: bool) -> Self {
        let (state, changed) = Default::default();
        Key { path, id, may_be_absent, state, changed }
    }

    fn lock(&self) -> MutexGuard<'_, KeyState> {
        self.state.lock().unwrap()
    }

    /// Returns a value; `None` is the absence of the node.
    pub(crate) fn value(&self, write: Write) -> Option<Vec<u8>> {
        self.value_of(write.number)
    }

    fn value_of(&self, number: u64) -> Option<Vec<u8>> {
        let hash = mix(self.id << 48 ^ number);
        if self.may_be_absent && hash % 8 == 0 {
            return None;
        }
        let len = match (hash >> 8) % 8 {
            // oxenstored refuses values of more than 2048 bytes.
            0 => (hash >> 16) % 2000,
            _ => (hash >> 16) % 40,
        };
        let mut value = format!("{}:{number}:", self.id).into_bytes();
        value.extend((0..len).map(|at| (hash ^ at) as u8));
        Some(value)
    }

    pub(crate) fn begin_write(&self, oracle: &Oracle) -> Write {
        let mut state = self.lock();
        state.started += 1;
        Write { number: state.started, lifetime: oracle.lifetime() }
    }

    pub(crate) fn end_write(&self, oracle: &Oracle, write: Write, outcome: Outcome) {
        let lifetime = oracle.lifetime();
        let mut state = self.lock();
        match outcome {
            Outcome::Refused => {}
            Outcome::Done if lifetime == write.lifetime && lifetime % 2 == 0 => {
                state.acked = Some((write.number, lifetime));
            }
            Outcome::Done | Outcome::Unknown => {
                // Requests to an earlier daemon died with it.
                state.unknown.retain(|(_, ended)| ended + 1 >= lifetime);
                state.unknown.push((write.number, lifetime));
            }
        }
    }

    pub(crate) fn begin_read(&self, oracle: &Oracle) -> Read {
        let state = self.lock();
        let lifetime = oracle.lifetime();
        let acked = state.acked.filter(|(_, of)| *of == lifetime).map(|(number, _)| number);
        Read { lifetime, acked }
    }

    /// Checks the result of a read. Returns the number of the value.
    pub(crate) fn end_read(
        &self,
        oracle: &Oracle,
        read: Read,
        value: Option<&[u8]>,
    ) -> Option<u64> {
        let lifetime = oracle.lifetime();
        let state = self.lock();
        // The values that a daemon may have that was not killed meanwhile.
        let least = read.acked.filter(|_| read.lifetime == lifetime).unwrap_or(0);
        let is_possible = |number: u64| {
            (least..=state.started).contains(&number)
                || state
                    .unknown
                    .iter()
                    .any(|(unknown, ended)| *unknown == number && ended + 1 >= read.lifetime)
        };
        let number = value.map(number_in);
        let is_right = match (value, number) {
            (None, _) if least == 0 => true,
            (None, _) => (least..=state.started)
                .chain(state.unknown.iter().map(|(number, _)| *number))
                .any(|number| self.value_of(number).is_none()),
            (Some(value), Some(Some(number))) => {
                is_possible(number) && self.value_of(number).as_deref() == Some(value)
            }
            _ => false,
        };
        if !is_right {
            let shown = value.map(|value| String::from_utf8_lossy(value).into_owned());
            oracle.violated(format!(
                "{} is {shown:?}, {read:?} until {lifetime}, {:?}",
                self.path, *state
            ));
        }
        number.flatten()
    }

    /// A watcher has read this value after an event.
    pub(crate) fn seen(&self, watcher: &'static str, number: Option<u64>) {
        self.lock().seen.insert(watcher, number.unwrap_or(0));
        self.changed.notify_all();
    }

    /// Waits for at most a second until all watchers have seen the last value. Returns the late
    /// ones.
    pub(crate) fn late_watchers(&self, watchers: &[&'static str]) -> Vec<&'static str> {
        let late = |state: &KeyState| {
            let is_late = |watcher: &&&str| state.seen.get(**watcher) != Some(&state.started);
            watchers.iter().filter(is_late).copied().collect::<Vec<_>>()
        };
        let second = std::time::Duration::from_secs(1);
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), second, |state| !late(state).is_empty())
            .unwrap();
        late(&state)
    }

    /// Returns the number of the last write.
    pub(crate) fn last(&self) -> u64 {
        self.lock().started
    }
}

fn number_in(value: &[u8]) -> Option<u64> {
    let number = value.split(|byte| *byte == b':').nth(1)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A number in the store that transactions increment.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) path: String,
    /// The numbers of acknowledged and of started increments, for each lifetime.
    counts: Mutex<HashMap<u64, (u64, u64)>>,
}

impl Tally {
    pub(crate) fn new(path: String) -> Self {
        Tally { path, counts: Mutex::default() }
    }

    /// A transaction has started, which may increment the number.
    pub(crate) fn begin(&self, oracle: &Oracle) {
        let lifetime = oracle.lifetime();
        let mut counts = self.counts.lock().unwrap();
        // Between two daemons, it may belong to either.
        for lifetime in
            [lifetime / 2 * 2, lifetime.div_ceil(2) * 2].into_iter().take(1 + lifetime as usize % 2)
        {
            counts.entry(lifetime).or_default().1 += 1;
        }
    }

    /// An increment is acknowledged that began in this lifetime.
    pub(crate) fn done(&self, oracle: &Oracle, begun: u64) {
        if begun % 2 == 0 && begun == oracle.lifetime() {
            self.counts.lock().unwrap().entry(begun).or_default().0 += 1;
        }
    }

    /// Returns the lifetime and the acknowledged increments.
    pub(crate) fn begin_read(&self, oracle: &Oracle) -> (u64, u64) {
        let counts = self.counts.lock().unwrap();
        let lifetime = oracle.lifetime();
        (lifetime, counts.get(&lifetime).map_or(0, |counts| counts.0))
    }

    pub(crate) fn end_read(&self, oracle: &Oracle, (lifetime, least): (u64, u64), number: u64) {
        let most = self.counts.lock().unwrap().get(&lifetime).map_or(0, |counts| counts.1);
        if lifetime % 2 == 0 && lifetime == oracle.lifetime() && !(least..=most).contains(&number) {
            oracle.violated(format!("{} is {number}, not {least} to {most}", self.path));
        }
    }
}
