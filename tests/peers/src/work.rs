//! What the contenders do, and how they tell what became of it.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Instant;

/// The nodes that are read: each has a value of its own, so that no answer can be taken for
/// another one.
pub(crate) const KEYS: usize = 100;

/// How many threads use one client together.
pub(crate) const THREADS: usize = 8;

/// How many nodes there are to fire watches.
pub(crate) const FLOOD: usize = 4000;

/// What is watched.
pub(crate) const FLOODED: &str = "/peers/flood";

/// The path of a key.
pub(crate) fn key(at: usize) -> &'static str {
    static ALL: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..KEYS).map(|at| format!("/peers/keys/{at}")).collect());
    &ALL[at % KEYS]
}

/// What stands there: as long as an address or a name.
pub(crate) fn value(at: usize) -> &'static str {
    static ALL: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..KEYS).map(|at| format!("value of usual length {at}")).collect());
    &ALL[at % KEYS]
}

pub(crate) fn flooded(at: usize) -> String {
    format!("{FLOODED}/{at}")
}

/// The last event of a round. It may have to be written several times, for those who lose it.
pub(crate) fn end_of_flood(round: usize) -> String {
    format!("{FLOODED}/end-{round}")
}

/// What became of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Answers or events that are what they have to be.
    pub(crate) right: u64,
    /// Values of other keys, and events that nothing was written for.
    pub(crate) wrong: u64,
    /// Errors, and events that did not come.
    pub(crate) lost: u64,
    /// Said by the client itself: "events were lost here".
    pub(crate) reported: u64,
    /// From the beginning to the last answer.
    pub(crate) elapsed_ns: u64,
    /// What the contender's process took of the processor.
    pub(crate) cpu_ns: u64,
}

impl Tally {
    /// Takes note of the answer to a read of `key(at)`.
    pub(crate) fn note(&mut self, answer: Option<impl AsRef<[u8]>>, at: usize) {
        match answer {
            Some(answer) if answer.as_ref() == value(at).as_bytes() => self.right += 1,
            Some(_) => self.wrong += 1,
            None => self.lost += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.reported += other.reported;
        self.elapsed_ns += other.elapsed_ns;
        self.cpu_ns += other.cpu_ns;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { right, wrong, lost, reported, elapsed_ns, cpu_ns } = self;
        write!(f, "{right} {wrong} {lost} {reported} {elapsed_ns} {cpu_ns}")
    }
}

impl FromStr for Tally {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[right, wrong, lost, reported, elapsed_ns, cpu_ns]) => {
                Ok(Tally { right, wrong, lost, reported, elapsed_ns, cpu_ns })
            }
            _ => Err(format!("not a tally: {line:?}")),
        }
    }
}

/// Counts the events of a round of the flood.
#[derive(Debug)]
pub(crate) struct Flood {
    seen: Vec<bool>,
    end: String,
    pub(crate) tally: Tally,
    start: Instant,
}

impl Flood {
    pub(crate) fn new(count: usize, round: usize) -> Self {
        Flood {
            seen: vec![false; count],
            end: end_of_flood(round),
            tally: Tally::default(),
            start: Instant::now(),
        }
    }

    /// Takes note of an event; false after the last one.
    pub(crate) fn note(&mut self, path: &str) -> bool {
        let number = path.strip_prefix(FLOODED).and_then(|rest| rest.strip_prefix('/'));
        match number.and_then(|number| number.parse::<usize>().ok()) {
            Some(at) => match self.seen.get_mut(at) {
                Some(seen) if !*seen => {
                    *seen = true;
                    self.tally.right += 1;
                    // The clock is looked at rarely: it is not what is to be measured.
                    if self.tally.right % 64 == 0 || self.tally.right == self.seen.len() as u64 {
                        self.tally.elapsed_ns = self.start.elapsed().as_nanos() as u64;
                    }
                }
                _ => self.tally.wrong += 1,
            },
            // The first event of the watch, or one of an end that came again.
            None => return path != self.end,
        }
        true
    }

    pub(crate) fn done(mut self) -> Tally {
        self.tally.lost = self.seen.iter().filter(|seen| !**seen).count() as u64;
        self.tally
    }
}
