//! The clients that exist, doing the same work for the same daemons.
//!
//! ```text
//! XS_PEERS_C_SOCKET=… XS_PEERS_OX_SOCKET=… cargo run --release --manifest-path tests/peers/Cargo.toml
//! ```
//!
//! The sockets are those of genuine daemons; as root, so that they can be put on a core. The
//! in-memory xenstored is there in any case: where a genuine daemon is what all wait for, it shows
//! what the clients themselves take. Each contender is a process of its own. In each round each of them does the same
//! number of things, and what counts is the ratio to the floor of the same round: a bare loop that
//! writes the requests and reads the answers. First all share one core, then daemon and contender
//! have one each. Prints tables in Markdown, and draws what is in them (`--plots DIRECTORY`).
//!
//! Needs libxenstore's header and library (Debian: libxen-dev), and Python with pyxs, which
//! `$XS_PEERS_PYTHON` may name, for the contender of that name.
//!
//! - `--rounds N`: 21 unless said otherwise.
//! - `--only NAME`: one comparison, or the cores `one-core` and `two-cores`; may be repeated.
//! - `--smoke`: one short round on one core. Fails if one of ours does, whatever the times.

mod child;
mod compare;
mod contender;
mod cores;
mod daemon;
mod machine;
mod peers;
mod plot;
mod report;
mod work;

use std::error::Error;
use std::path::PathBuf;

use compare::{ALL, Comparison};
use cores::Core;
use daemon::Daemon;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut options = Options { rounds: 21, only: Vec::new(), smoke: false, plots: None };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "contender" => return child::serve(&value()?),
            "serve" => return daemon::serve(value()?.as_ref()),
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only.push(value()?),
            "--plots" => options.plots = Some(value()?.into()),
            "--smoke" => (options.smoke, options.rounds) = (true, 1),
            _ => return Err(format!("what is {arg}?").into()),
        }
    }
    options.run()
}

struct Options {
    rounds: usize,
    only: Vec<String>,
    smoke: bool,
    plots: Option<PathBuf>,
}

impl Options {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        let daemons = Daemon::all()?;
        let cores = Core::all()?;
        println!("{}", machine::describe());
        if self.wanted("one-core", &["two-cores"]) {
            self.run_on("one-core", &daemons, cores[0], cores[0])?;
        }
        if self.wanted("two-cores", &["one-core"]) && !self.smoke {
            match cores[..] {
                [first, second, ..] => self.run_on("two-cores", &daemons, first, second)?,
                _ => eprintln!("There is one core only."),
            }
        }
        Ok(())
    }

    fn run_on(
        &self,
        place: &str,
        daemons: &[Daemon],
        theirs: Core,
        ours: Core,
    ) -> Result<(), Box<dyn Error>> {
        for daemon in daemons {
            daemon.pin(theirs)?;
        }
        // Who fires the watches shares the daemon's core.
        theirs.pin(None)?;
        let names: Vec<_> = ALL.iter().map(|comparison| comparison.name).collect();
        let chosen = |it: &&Comparison| {
            let others: Vec<_> = names.iter().copied().filter(|name| *name != it.name).collect();
            self.wanted(it.name, &others)
        };
        for comparison in ALL.iter().filter(chosen) {
            let share = if self.smoke { 20 } else { 1 };
            let mut results = Vec::new();
            for daemon in daemons {
                results.push((daemon.name, comparison.run(daemon, ours, self.rounds, share)));
            }
            println!("{}", report::table(comparison, place, &results));
            if let Some(directory) = &self.plots {
                std::fs::create_dir_all(directory)?;
                let file = directory.join(format!("{}-{place}.svg", comparison.name));
                std::fs::write(file, plot::draw(comparison, place, &results))?;
            }
            if self.smoke {
                report::check(comparison, &results)?;
            }
        }
        Ok(())
    }

    /// Whether it is among those asked for, or none of its kind is.
    fn wanted(&self, name: &str, others: &[&str]) -> bool {
        let named = |name: &str| self.only.iter().any(|only| only == name);
        named(name) || !others.iter().any(|other| named(other))
    }
}
