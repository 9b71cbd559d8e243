//! `ping` and `info`: is there a xenstored, which one, and how does it do?

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use xs_client::{Client, DomId, ErrorCode, ErrorKind, Result, op};
use xs_transport::discover;

use crate::connect::Connect;
use crate::fail::Outcome;

/// Ask the daemon for a sign of life, and print how long it took
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Ask so many times
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    number: u32,
}

/// Print which xenstored was found, how, and what it is like
///
/// The first thing to run when nothing works.
#[derive(Debug, Args)]
pub(crate) struct Info {}

impl Ping {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        for _ in 0..self.number {
            let taken = round_trip(client)?;
            println!("{} answered in {taken:.0?}", client.transport_name());
        }
        Ok(true)
    }
}

/// The bits of the daemon's features (`XENSTORE_SERVER_FEATURE_*`).
const FEATURES: [(u32, &str); 4] =
    [(1, "reconnection"), (2, "connection-error"), (4, "watch-depth"), (8, "any-domid")];

const ROUND_TRIPS: usize = 20;

/// How many requests are sent together: few enough for the slowest of machines.
const TOGETHER: u32 = 200;

impl Info {
    pub(crate) fn run(&self, connect: &Connect) -> Outcome {
        let (tried, client) = search(connect);
        print!("{tried}");
        let client = client?;
        println!("in use      {}", client.transport_name());
        println!("daemon      {}", daemon(&client)?);
        println!("this is     {}", whoami(&client));
        println!("latency     {}", latency(&client)?);
        Ok(true)
    }
}

/// Opens the first that answers, and tells what was tried.
fn search(connect: &Connect) -> (String, Result<Client>) {
    let mut text = String::new();
    let candidates = match connect.path() {
        Some(path) => vec![path.clone()],
        None => discover::candidates(),
    };
    let mut client = None;
    for path in candidates {
        let said = if client.is_some() {
            "not tried".to_owned()
        } else {
            match connect.builder().open_at(&path) {
                Ok(opened) => {
                    client = Some(opened);
                    "opened".to_owned()
                }
                Err(error) => match error.kind() {
                    ErrorKind::Unreachable(error) => error.to_string(),
                    _ => error.to_string(),
                },
            }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "place       {} ({}): {said}", path.display(), why(connect, &path));
    }
    // Once more in vain, for an error that names them all.
    (text, client.map_or_else(|| connect.open(), Ok))
}

/// Why a place is looked at.
fn why(connect: &Connect, path: &Path) -> &'static str {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if connect.path().is_some() {
        "named by option"
    } else if set("XENSTORED_PATH").is_some_and(|named| path == Path::new(&named)) {
        "$XENSTORED_PATH"
    } else if discover::DEVICES.iter().any(|device| path == Path::new(device)) {
        "the kernel's device"
    } else if set("XENSTORED_RUNDIR").is_some() {
        "$XENSTORED_RUNDIR"
    } else {
        "the usual socket"
    }
}

/// Which daemon it is, by what it knows.
fn daemon(client: &Client) -> Result<String> {
    match client.get_features() {
        Ok(bits) => {
            let known = FEATURES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name);
            let known: Vec<_> = known.collect();
            let quotas = client
                .quotas()
                .map_or(String::new(), |names| format!("; quotas: {}", names.join(", ")));
            return Ok(format!(
                "C xenstored of Xen 4.22 or later; features: {}{quotas}",
                known.join(", ")
            ));
        }
        Err(error) if error.code() == Some(&ErrorCode::NotSupported) => {}
        Err(error) if error.code().is_none() => return Err(error),
        Err(_) => return Ok("C xenstored of Xen 4.22 or later".into()),
    }
    // oxenstored keeps nodes for the special paths.
    match client.read("@releaseDomain") {
        Err(error) if error.code() == Some(&ErrorCode::Invalid) => {
            Ok("C xenstored of before Xen 4.22; no features to ask for".into())
        }
        Err(error) if error.code().is_none() => Err(error),
        _ => Ok("oxenstored; no features to ask for".into()),
    }
}

/// Which domain this is, and whether it may do everything.
fn whoami(client: &Client) -> String {
    // Only a privileged domain may look at the root.
    if client.directory("/").is_ok() {
        return "a domain that may see everything, such as dom0".into();
    }
    match client.read_str("domid") {
        Ok(domid) => format!("domain {domid}, a guest"),
        Err(_) => "a guest".into(),
    }
}

fn latency(client: &Client) -> Result<String> {
    let mut times = (0..ROUND_TRIPS).map(|_| round_trip(client)).collect::<Result<Vec<_>>>()?;
    times.sort();
    let (least, median, most) = (times[0], times[ROUND_TRIPS / 2], times[ROUND_TRIPS - 1]);
    let start = Instant::now();
    let together = (0..TOGETHER).map(|_| op::get_domain_path(DomId::DOM0));
    client.run_all(together).into_iter().collect::<Result<Vec<_>>>()?;
    let together = start.elapsed() / TOGETHER;
    Ok(format!(
        "{median:.0?} a round trip ({least:.0?} to {most:.0?}); many together {together:.0?} each"
    ))
}

/// How long a request takes that every daemon allows everybody.
fn round_trip(client: &Client) -> Result<Duration> {
    let start = Instant::now();
    client.get_domain_path(DomId::DOM0)?;
    Ok(start.elapsed())
}
