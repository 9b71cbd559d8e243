//! The comparisons, and how they are measured.

use crate::contender::Contender;
use crate::cores::Core;
use crate::daemon::Daemon;
use crate::work::{FLOOD_NODES, KEYS, Tally};

pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The operation that is counted.
    pub(crate) unit: &'static str,
    /// The number of operations in a round.
    pub(crate) count: usize,
    /// Names and labels of the contenders. The first one is the baseline.
    pub(crate) contenders: &'static [(&'static str, &'static str)],
    /// The name of the contender to which rates are relative.
    pub(crate) reference: &'static str,
}

pub(crate) const ALL: &[Comparison] = &[
    Comparison {
        name: "read",
        title: "One blocking read",
        unit: "read",
        count: 1000,
        contenders: &[
            ("bare/read", "bare write and read"),
            ("xs/read", "xs-client"),
            ("xs/read-watch", "xs-client with an iterator watch"),
            ("xs/read-callback", "xs-client with a callback thread"),
            ("libxenstore/read", "libxenstore"),
            ("libxenstore/read-watch", "libxenstore with a watch"),
            ("xenstore-rs/read", "xenstore-rs"),
            ("xs-tokio/read", "xs-client on tokio"),
            ("xenstore-rs-tokio/read", "xenstore-rs on tokio"),
            ("krata/read", "krata-xenstore"),
            ("pyxs/read", "pyxs"),
        ],
        reference: "libxenstore/read",
    },
    Comparison {
        name: "batch",
        title: "100 keys",
        unit: "key",
        count: 2000,
        contenders: &[
            ("bare/pipelined", "bare pipelined loop"),
            ("xs/batch", "xs-client, in one batch"),
            ("libxenstore/read", "libxenstore, one by one"),
            ("xenstore-rs/read", "xenstore-rs, one by one"),
            ("pyxs/read", "pyxs, one by one"),
        ],
        reference: "libxenstore/read",
    },
    Comparison {
        name: "threads",
        title: "8 threads reading through one client",
        unit: "read",
        count: 4000,
        contenders: &[
            ("bare/pipelined-8", "bare loop, 8 in flight"),
            ("xs/threads", "xs-client"),
            ("libxenstore/threads", "libxenstore"),
            ("pyxs/threads", "pyxs"),
        ],
        reference: "libxenstore/threads",
    },
    Comparison {
        name: "tasks",
        title: "64 tasks reading through one client",
        unit: "read",
        count: 6400,
        contenders: &[
            ("bare/pipelined-64", "bare loop, 64 in flight"),
            ("xs-tokio/tasks", "xs-client on tokio"),
            ("xs-smol/tasks", "xs-client on smol"),
            ("xenstore-rs-tokio/tasks", "xenstore-rs on tokio"),
            ("krata/tasks", "krata-xenstore"),
            ("krata/tasks-8", "krata-xenstore, 8 tasks"),
        ],
        reference: "xenstore-rs-tokio/tasks",
    },
    Comparison {
        name: "flood",
        title: "Flood of watch events",
        unit: "event",
        count: FLOOD_NODES,
        contenders: &[
            ("bare/flood", "bare loop"),
            ("xs/flood", "xs-client, by iterator"),
            ("xs/flood-callback", "xs-client, by callback"),
            ("xs-tokio/flood", "xs-client on tokio"),
            ("libxenstore/flood", "libxenstore"),
            ("xenstore-rs-tokio/flood", "xenstore-rs on tokio"),
            ("krata/flood", "krata-xenstore"),
            ("pyxs/flood", "pyxs"),
        ],
        reference: "libxenstore/flood",
    },
];

/// The results of one contender on one daemon.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Nanoseconds for each correct operation, round by round.
    pub(crate) each_ns: Vec<f64>,
    pub(crate) sum: Tally,
    pub(crate) daemon_ns: u64,
    /// Why the contender did not start, or did not finish a round.
    pub(crate) failure: Option<String>,
}

impl Row {
    fn add(&mut self, tally: &Tally, daemon_ns: u64) {
        self.each_ns.push(tally.elapsed_ns as f64 / tally.correct.max(1) as f64);
        self.sum.add(tally);
        self.daemon_ns += daemon_ns;
    }
}

impl Comparison {
    /// Measures all contenders, with `1 / divisor` of the usual number of operations.
    ///
    /// In each round every contender runs once, in a new process, while no other contender exists.
    /// No contender benefits from an older connection or from a better place in memory.
    pub(crate) fn run(
        &self,
        daemon: &Daemon,
        core: Core,
        rounds: usize,
        divisor: usize,
    ) -> Vec<Row> {
        let count = (self.count / divisor).next_multiple_of(KEYS);
        let mut rows: Vec<Row> = self.contenders.iter().map(|_| Row::default()).collect();
        for round in 0..rounds {
            for turn in 0..rows.len() {
                // Each round begins with another contender.
                let at = (turn + round) % rows.len();
                let row = &mut rows[at];
                if row.failure.is_none() {
                    match self.run_once(self.contenders[at].0, daemon, core, count) {
                        Ok((tally, daemon_ns)) => row.add(&tally, daemon_ns),
                        Err(failure) => row.failure = Some(failure),
                    }
                }
            }
        }
        rows
    }

    /// Runs one contender once. Returns its results and the CPU time of the daemon.
    fn run_once(
        &self,
        name: &str,
        daemon: &Daemon,
        core: Core,
        count: usize,
    ) -> Result<(Tally, u64), String> {
        let mut contender = Contender::start(name, daemon, core)?;
        let mut run = |count: usize, round| match self.name {
            "flood" => contender.flood(count, round, daemon),
            _ => contender.run(count, round),
        };
        // A first round warms up.
        run((count / 8).next_multiple_of(KEYS), 0)?;
        let before = daemon.cpu_ns();
        let tally = run(count, 1)?;
        Ok((tally, daemon.cpu_ns() - before))
    }

    pub(crate) fn reference(&self) -> usize {
        self.contenders.iter().position(|(name, _)| *name == self.reference).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Quartiles {
    /// Returns the time of one contender divided by that of another, over the rounds.
    pub(crate) fn ratio(row: &Row, to: &Row) -> Option<Self> {
        let ratios = row.each_ns.iter().zip(&to.each_ns).map(|(one, other)| one / other);
        Quartiles::of(ratios.collect())
    }

    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        (!values.is_empty()).then(|| Quartiles { low: at(1), median: at(2), high: at(3) })
    }
}
