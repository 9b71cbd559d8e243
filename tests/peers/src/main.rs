//! Compares Xenstore clients that do the same work for the same daemons.
//!
//! [`USAGE`] says how to run it. The genuine daemons are named by their sockets; pinning them to a
//! core needs root. The in-memory daemon always takes part. It is fast enough that the clients, not
//! the daemon, determine the time.
//!
//! Each contender is a process of its own. In each round every contender does the same number of
//! operations. The result is the ratio of its time to that of the baseline in the same round: a bare
//! loop that writes the requests and reads the replies. In the layout `one-core` the daemon and the
//! contender share a core; in `two-cores` each has a core of its own.
//!
//! Needs the header and library of libxenstore (Debian: libxen-dev) and, for the contender of that
//! name, Python with pyxs.

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

const USAGE: &str = "\
Compares Xenstore clients and prints tables in Markdown.

Usage: cargo run --release --manifest-path tests/peers/Cargo.toml -- [OPTIONS]

Options:
  --rounds N         number of rounds [default: 21]
  --only NAME        run one comparison (read, batch, threads, tasks, flood) or one layout
                     (one-core, two-cores); may be repeated
  --plots DIRECTORY  also write the results as SVG files
  --smoke            run one short round on one core, and fail if xs-client does, whatever its times
  --help             print this text

Environment:
  XS_PEERS_C_SOCKET   socket of a C xenstored [default: none]
  XS_PEERS_OX_SOCKET  socket of an oxenstored [default: none]
  XS_PEERS_PYTHON     Python interpreter with pyxs [default: python3]
";

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
            "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            _ => return Err(format!("unknown argument: {arg} (see --help)").into()),
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
        if self.is_selected("one-core", &["two-cores"]) {
            self.run_on("one-core", &daemons, cores[0], cores[0])?;
        }
        if self.is_selected("two-cores", &["one-core"]) && !self.smoke {
            match cores[..] {
                [first, second, ..] => self.run_on("two-cores", &daemons, first, second)?,
                _ => eprintln!("two-cores is left out: this process may use only one core"),
            }
        }
        Ok(())
    }

    fn run_on(
        &self,
        layout: &str,
        daemons: &[Daemon],
        daemon_core: Core,
        contender_core: Core,
    ) -> Result<(), Box<dyn Error>> {
        for daemon in daemons {
            daemon.pin(daemon_core)?;
        }
        // This thread writes the nodes of a flood. It shares the core of the daemon.
        daemon_core.pin(None)?;
        let names: Vec<_> = ALL.iter().map(|comparison| comparison.name).collect();
        let is_selected = |it: &&Comparison| {
            let others: Vec<_> = names.iter().copied().filter(|name| *name != it.name).collect();
            self.is_selected(it.name, &others)
        };
        for comparison in ALL.iter().filter(is_selected) {
            let divisor = if self.smoke { 20 } else { 1 };
            let mut results = Vec::new();
            for daemon in daemons {
                let rows = comparison.run(daemon, contender_core, self.rounds, divisor);
                results.push((daemon.name, rows));
            }
            println!("{}", report::table(comparison, layout, &results));
            if let Some(directory) = &self.plots {
                std::fs::create_dir_all(directory)?;
                let file = directory.join(format!("{}-{layout}.svg", comparison.name));
                std::fs::write(file, plot::draw(comparison, layout, &results))?;
            }
            if self.smoke {
                report::check(comparison, &results)?;
            }
        }
        Ok(())
    }

    /// Returns whether `--only` names `name`, or none of the alternatives.
    fn is_selected(&self, name: &str, others: &[&str]) -> bool {
        let named = |name: &str| self.only.iter().any(|only| only == name);
        named(name) || !others.iter().any(|other| named(other))
    }
}
