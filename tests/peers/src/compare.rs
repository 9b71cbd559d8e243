//! What is compared, and how: each has its turn in a round, over and over.

use crate::contender::Contender;
use crate::cores::Core;
use crate::daemon::Daemon;
use crate::work::{FLOOD, KEYS, Tally};

pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What a round has so many of.
    pub(crate) thing: &'static str,
    pub(crate) count: usize,
    /// Name and description; the first one is the floor.
    pub(crate) contenders: &'static [(&'static str, &'static str)],
    /// Whose rate is one.
    pub(crate) reference: &'static str,
}

pub(crate) const ALL: &[Comparison] = &[
    Comparison {
        name: "read",
        title: "One blocking read",
        thing: "read",
        count: 1000,
        contenders: &[
            ("bare/read", "bare write and read"),
            ("xs/read", "xs-client"),
            ("xs/read-watch", "xs-client, a watch held by iterator"),
            ("xs/read-callback", "xs-client, a callback thread running"),
            ("libxenstore/read", "libxenstore"),
            ("libxenstore/read-watch", "libxenstore, a watch set"),
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
        title: "100 keys, all wanted",
        thing: "key",
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
        title: "8 threads that read on one client",
        thing: "read",
        count: 4000,
        contenders: &[
            ("bare/pipelined-8", "bare loop, 8 at once"),
            ("xs/threads", "xs-client"),
            ("libxenstore/threads", "libxenstore"),
            ("pyxs/threads", "pyxs"),
        ],
        reference: "libxenstore/threads",
    },
    Comparison {
        name: "tasks",
        title: "64 tasks that read on one client",
        thing: "read",
        count: 6400,
        contenders: &[
            ("bare/pipelined-64", "bare loop, 64 at once"),
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
        title: "Watch events, as fast as they come",
        thing: "event",
        count: FLOOD,
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

/// What came out for one contender.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Round by round, nanoseconds for each thing that came out right.
    pub(crate) each_ns: Vec<f64>,
    pub(crate) sum: Tally,
    pub(crate) daemon_ns: u64,
    /// Why it is not there, or not any more.
    pub(crate) failure: Option<String>,
}

impl Row {
    fn add(&mut self, tally: &Tally, daemon_ns: u64) {
        self.each_ns.push(tally.elapsed_ns as f64 / tally.right.max(1) as f64);
        self.sum.add(tally);
        self.daemon_ns += daemon_ns;
    }
}

impl Comparison {
    /// So many rounds. In each of them all have their turn, as processes that have just begun, one
    /// at a time: nobody has a better place at the daemon, or in memory, than others have.
    pub(crate) fn run(&self, daemon: &Daemon, core: Core, rounds: usize, share: usize) -> Vec<Row> {
        let count = (self.count / share).next_multiple_of(KEYS);
        let mut rows: Vec<Row> = self.contenders.iter().map(|_| Row::default()).collect();
        for round in 0..rounds {
            for turn in 0..rows.len() {
                // Nobody comes always behind the same one.
                let at = (turn + round) % rows.len();
                let row = &mut rows[at];
                if row.failure.is_none() {
                    match self.turn(self.contenders[at].0, daemon, core, count) {
                        Ok((tally, daemon_ns)) => row.add(&tally, daemon_ns),
                        Err(failure) => row.failure = Some(failure),
                    }
                }
            }
        }
        rows
    }

    /// What one contender does in one round, and what the daemon took of the processor for it.
    fn turn(
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
        // To warm up.
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
    /// By which factor one takes longer than another one, over the rounds.
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
