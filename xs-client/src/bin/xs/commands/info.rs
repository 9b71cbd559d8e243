//! `xs info`: a description of the daemon and of the connection to it.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use xs_client::{Client, DomId, ErrorCode, ErrorKind, Features, Quota, Result, op};
use xs_transport::discover;

use super::ping::round_trip;
use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};
use crate::escape::printable;
use crate::json::Object;
use crate::output::Output;

/// Print how the daemon was found, its version and features, and its latency
///
/// Run this first if other commands cannot connect.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Print a JSON object with the members "connection", "daemon", "features" and "quotas" (null
    /// if the daemon does not list them), "privileged", "domid" (null if not known), and
    /// "round_trip_us" in microseconds
    #[arg(long)]
    json: bool,
}

/// The node in which `xs serve --xen` names itself. Genuine daemons have none.
pub(crate) const IMPLEMENTATION: &str = "/tool/xenstored/implementation";

/// The number of single requests with which latency is measured.
const ROUND_TRIPS: usize = 20;

/// The number of requests in the batch with which throughput is measured. More would take a
/// noticeable time on slow machines.
const BATCH: u32 = 200;

impl Info {
    pub(crate) fn run(&self, connection: &ConnectionArgs, output: &mut Output) -> CommandResult {
        let describe = if self.json { describe_as_json } else { describe };
        describe(connection, output).map_err(CommandError::without_info_hint)
    }
}

/// Prints each line as soon as it is known.
fn describe(connection: &ConnectionArgs, output: &mut Output) -> CommandResult {
    writeln!(output, "Candidates:")?;
    let client = connect(connection, output)?;
    writeln!(output, "Connection: {}", client.transport_name())?;
    output.flush()?;
    Daemon::identify(&client)?.print(output)?;
    let domain = match identity(&client) {
        Identity::Privileged => "privileged, such as dom0".to_owned(),
        Identity::Guest(Some(domid)) => format!("guest, domain {}", printable(&domid)),
        Identity::Guest(None) => "guest".to_owned(),
    };
    writeln!(output, "Domain:     {domain}")?;
    output.flush()?;
    writeln!(output, "Latency:    {}", latency(&client)?)?;
    Ok(true)
}

fn describe_as_json(connection: &ConnectionArgs, output: &mut Output) -> CommandResult {
    let client = connection.open()?;
    let Daemon { version, features, quotas } = Daemon::identify(&client)?;
    let identity = identity(&client);
    let is_privileged = matches!(identity, Identity::Privileged);
    let domid = match identity {
        Identity::Guest(Some(domid)) => domid.parse::<DomId>().ok(),
        _ => None,
    };
    let object = Object::new().string("connection", &client.transport_name());
    let object = object.string("daemon", &version);
    let object = match features.map(|features| features.to_string()) {
        Some(names) if names == "none" => object.raw("features", "[]"),
        Some(names) => object.strings("features", names.split(", ")),
        None => object.raw("features", "null"),
    };
    let object = match quotas {
        Some(quotas) => object.strings("quotas", quotas.iter().map(Quota::name)),
        None => object.raw("quotas", "null"),
    };
    let object = object
        .raw("privileged", is_privileged)
        .raw("domid", domid.map_or("null".to_owned(), |domid| domid.to_string()))
        .raw("round_trip_us", round_trips(&client)?[ROUND_TRIPS / 2].as_micros());
    output.write_all(object.line().as_bytes())?;
    Ok(true)
}

/// Prints each socket and device that may lead to a daemon, and connects to the first that does.
fn connect(connection: &ConnectionArgs, output: &mut Output) -> CommandResult<Client> {
    let candidates = match connection.path() {
        Some(path) => vec![path.clone()],
        None => discover::candidates(),
    };
    let mut client = None;
    for path in candidates {
        let result = if client.is_some() {
            "not tried".to_owned()
        } else {
            match connection.builder().open_at(&path) {
                Ok(opened) => {
                    client = Some(opened);
                    "connected".to_owned()
                }
                Err(error) => match error.kind() {
                    ErrorKind::Unreachable(error) => error.to_string(),
                    _ => error.to_string(),
                },
            }
        };
        writeln!(output, "  {} ({}): {result}", path.display(), origin(connection, &path))?;
        output.flush()?;
    }
    // Connecting again gives an error that names all candidates.
    Ok(client.map_or_else(|| connection.open(), Ok)?)
}

/// Returns why `path` is a candidate.
fn origin(connection: &ConnectionArgs, path: &Path) -> &'static str {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if connection.socket.is_some() {
        "--socket"
    } else if connection.device.is_some() {
        "--device"
    } else if set("XENSTORED_PATH").is_some_and(|named| path == Path::new(&named)) {
        "$XENSTORED_PATH"
    } else if discover::DEVICES.iter().any(|device| path == Path::new(device)) {
        "kernel device"
    } else if set("XENSTORED_RUNDIR").is_some() {
        "$XENSTORED_RUNDIR"
    } else {
        "default socket"
    }
}

/// The properties of a daemon, as far as its replies reveal them.
struct Daemon {
    version: String,
    /// The features and the quotas, if the daemon lists them to this domain.
    features: Option<Features>,
    quotas: Option<Vec<Quota>>,
}

impl Daemon {
    fn identify(client: &Client) -> Result<Self> {
        let mut daemon = Self::identify_by_replies(client)?;
        if let Ok(name) = client.read(IMPLEMENTATION) {
            let name = String::from_utf8_lossy(&name);
            daemon.version = format!("{}, like {}", printable(&name), daemon.version);
        }
        Ok(daemon)
    }

    fn identify_by_replies(client: &Client) -> Result<Self> {
        let unlisted = |version: &str| {
            Ok(Daemon { version: version.to_owned(), features: None, quotas: None })
        };
        match client.get_features() {
            Ok(features) => {
                return Ok(Daemon {
                    version: "C xenstored, Xen 4.21 or later".to_owned(),
                    features: Some(features),
                    quotas: client.quotas().ok(),
                });
            }
            Err(error) if error.code() == Some(&ErrorCode::NotSupported) => {}
            Err(error) if error.code().is_none() => return Err(error),
            // The daemon knows the request and denies it to this domain.
            Err(_) => return unlisted("C xenstored, Xen 4.21 or later"),
        }
        // Only oxenstored has nodes for the special paths.
        match client.read("@releaseDomain") {
            Err(error) if error.code() == Some(&ErrorCode::Invalid) => {
                unlisted("C xenstored, before Xen 4.21")
            }
            Err(error) if error.code().is_none() => Err(error),
            _ => unlisted("oxenstored"),
        }
    }

    fn print(&self, output: &mut Output) -> io::Result<()> {
        writeln!(output, "Daemon:     {}", self.version)?;
        if let Some(features) = &self.features {
            writeln!(output, "Features:   {features}")?;
        }
        if let Some(quotas) = &self.quotas {
            let quotas: Vec<_> = quotas.iter().map(Quota::name).collect();
            writeln!(output, "Quotas:     {}", printable(&quotas.join(", ")))?;
        }
        Ok(())
    }
}

/// The domain as which the daemon treats this client.
enum Identity {
    Privileged,
    /// A guest, with its number if it can read that.
    Guest(Option<String>),
}

fn identity(client: &Client) -> Identity {
    // Only a privileged domain may read the root.
    if client.directory("/").is_ok() {
        return Identity::Privileged;
    }
    Identity::Guest(client.read_str("domid").ok())
}

/// Returns the times of round trips, in order.
fn round_trips(client: &Client) -> Result<Vec<Duration>> {
    let mut times = (0..ROUND_TRIPS).map(|_| round_trip(client)).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times)
}

fn latency(client: &Client) -> Result<String> {
    let times = round_trips(client)?;
    let (min, median, max) = (times[0], times[ROUND_TRIPS / 2], times[ROUND_TRIPS - 1]);
    let start = Instant::now();
    let batch = (0..BATCH).map(|_| op::get_domain_path(DomId::DOM0));
    client.run_many(batch).into_iter().collect::<Result<Vec<_>>>()?;
    let in_batch = start.elapsed() / BATCH;
    Ok(format!(
        "{median:.0?} per round trip ({min:.0?} to {max:.0?}), {in_batch:.0?} per request in a batch"
    ))
}
