//! The work that all contenders do, and its results.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Instant;

/// The number of nodes that are read. All values differ, so that a reply to another request is
/// detected.
pub(crate) const KEYS: usize = 100;

/// The number of threads that share one client.
pub(crate) const THREADS: usize = 8;

/// The number of nodes that are written to fire watches.
pub(crate) const FLOOD_NODES: usize = 4000;

/// The path that is watched in a flood.
pub(crate) const FLOOD_ROOT: &str = "/peers/flood";

/// Returns the path of a node to read.
pub(crate) fn key(at: usize) -> &'static str {
    static ALL: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..KEYS).map(|at| format!("/peers/keys/{at}")).collect());
    &ALL[at % KEYS]
}

/// Returns the value of a node to read, which is about as long as an address or a name.
pub(crate) fn value(at: usize) -> &'static str {
    static ALL: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..KEYS).map(|at| format!("value of usual length {at}")).collect());
    &ALL[at % KEYS]
}

/// Returns the path of a node to write in a flood.
pub(crate) fn flood_path(at: usize) -> String {
    format!("{FLOOD_ROOT}/{at}")
}

/// Returns the path of the last event of a round. It is written several times if a contender loses
/// the event.
pub(crate) fn flood_end(round: usize) -> String {
    format!("{FLOOD_ROOT}/end-{round}")
}

/// The results of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Correct replies or events.
    pub(crate) correct: u64,
    /// Values of other keys, and events without a write.
    pub(crate) wrong: u64,
    /// Errors, and missing events.
    pub(crate) lost: u64,
    /// How often the client itself reported that events were lost.
    pub(crate) reported: u64,
    /// The time from the start to the last reply.
    pub(crate) elapsed_ns: u64,
    /// The CPU time of the contender's process.
    pub(crate) cpu_ns: u64,
}

impl Tally {
    /// Records the reply to a read of `key(at)`.
    pub(crate) fn record(&mut self, reply: Option<impl AsRef<[u8]>>, at: usize) {
        match reply {
            Some(reply) if reply.as_ref() == value(at).as_bytes() => self.correct += 1,
            Some(_) => self.wrong += 1,
            None => self.lost += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.correct += other.correct;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.reported += other.reported;
        self.elapsed_ns += other.elapsed_ns;
        self.cpu_ns += other.cpu_ns;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { correct, wrong, lost, reported, elapsed_ns, cpu_ns } = self;
        write!(f, "{correct} {wrong} {lost} {reported} {elapsed_ns} {cpu_ns}")
    }
}

impl FromStr for Tally {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[correct, wrong, lost, reported, elapsed_ns, cpu_ns]) => {
                Ok(Tally { correct, wrong, lost, reported, elapsed_ns, cpu_ns })
            }
            _ => Err(format!("not a tally: {line:?}")),
        }
    }
}

/// Counts the events of one round of a flood.
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
            end: flood_end(round),
            tally: Tally::default(),
            start: Instant::now(),
        }
    }

    /// Records an event. Returns false after the last one.
    pub(crate) fn record(&mut self, path: &str) -> bool {
        let number = path.strip_prefix(FLOOD_ROOT).and_then(|rest| rest.strip_prefix('/'));
        match number.and_then(|number| number.parse::<usize>().ok()) {
            Some(at) => match self.seen.get_mut(at) {
                Some(seen) if !*seen => {
                    *seen = true;
                    self.tally.correct += 1;
                    // Reading the clock for each event would distort the measurement.
                    if self.tally.correct % 64 == 0 || self.tally.correct == self.seen.len() as u64
                    {
                        self.tally.elapsed_ns = self.start.elapsed().as_nanos() as u64;
                    }
                }
                _ => self.tally.wrong += 1,
            },
            // The initial event of the watch, or a repeated last event of an earlier round.
            None => return path != self.end,
        }
        true
    }

    pub(crate) fn finish(mut self) -> Tally {
        self.tally.lost = self.seen.iter().filter(|seen| !**seen).count() as u64;
        self.tally
    }
}
