//! `serve`: a xenstored in memory, on Unix sockets.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xs_client::DomId;
use xs_transport::mock::{Flavour, Server, Xenstored};

use crate::connect::{Connect, seconds};
use crate::dump::read_file;
use crate::fail::{Fail, Outcome};

/// Run a xenstored in memory, on any machine
///
/// Needs no Xen. Who connects to the socket is dom0. The path of each socket is printed when it
/// answers. Stops, and removes the sockets, on SIGINT and SIGTERM.
#[derive(Debug, Args)]
#[command(
    override_usage = "xs serve --socket <PATH> [OPTIONS]",
    after_help = "Example: xs serve --socket /tmp/xs --guest 5=/tmp/xs-5"
)]
pub(crate) struct Serve {
    /// The socket to make, for dom0
    // The options of all other commands say which daemon to use: here they mean another thing, or
    // nothing. The same id takes their place in the help, and their value all the same.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[arg(long, hide = true)]
    device: Option<PathBuf>,
    #[arg(long, hide = true, value_parser = seconds)]
    timeout: Option<Duration>,
    /// One more socket, for a guest with the nodes that libxl makes; may be given several times
    #[arg(long = "guest", value_name = "DOMID=PATH", value_parser = guest)]
    guests: Vec<(DomId, PathBuf)>,
    /// Nodes to start with, as `dump` prints them
    #[arg(long, value_name = "FILE")]
    load: Option<String>,
    /// Print each request, reply and event to standard error
    #[arg(long)]
    trace: bool,
    /// Which daemon to behave like
    #[arg(long, value_enum, default_value_t)]
    like: Like,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Like {
    /// The C daemon of Xen 4.23
    #[default]
    C,
    /// The C daemon of Xen 4.17
    C417,
    /// The oxenstored of Xen 4.17
    Ox417,
}

impl Serve {
    pub(crate) fn run(&self, connect: &Connect) -> Outcome {
        let socket = connect
            .socket
            .as_ref()
            .ok_or_else(|| Fail::other("serve needs a socket", "xs serve --socket /tmp/xs"))?;
        let xenstored = Xenstored::with_flavour(match self.like {
            Like::C => Flavour::C,
            Like::C417 => Flavour::C417,
            Like::Ox417 => Flavour::Ocaml417,
        });
        for (domid, _) in &self.guests {
            xenstored.add_guest(*domid);
        }
        if let Some(path) = &self.load {
            let (name, text) = read_file(Some(path))?;
            seed(&name, &text, &xenstored)?;
        }
        if self.trace {
            // Nobody to be told if nobody listens.
            xenstored.set_trace(|trace| drop(writeln!(io::stderr(), "{trace}")));
        }
        let failed = |error| Fail::Io("cannot serve".into(), error);
        let mut server = Server::new(xenstored).map_err(failed)?;
        // Before a socket is there that would have to be removed.
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let stop = server.stop_handle();
        thread::spawn(move || {
            // The first one is enough.
            if signals.forever().next().is_some() {
                stop.stop();
            }
        });
        bind(&mut server, socket, DomId::DOM0)?;
        for (domid, path) in &self.guests {
            bind(&mut server, path, *domid)?;
        }
        server.run().map_err(failed)?;
        Ok(true)
    }
}

fn bind(server: &mut Server, path: &Path, domid: DomId) -> Outcome<()> {
    server.bind(path, domid).map_err(|error| {
        let what = format!("cannot listen at {}: {error}", path.display());
        let next = match error.kind() {
            io::ErrorKind::AddrInUse => "another one listens there: stop it, or take another path",
            io::ErrorKind::NotFound => "make the directory first",
            _ => "",
        };
        Fail::other(what, next)
    })?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", path.display())?;
    stdout.flush()?;
    Ok(())
}

fn seed(name: &str, text: &str, xenstored: &Xenstored) -> Outcome<()> {
    xenstored.seed(text).map_err(|error| {
        let next = "a line is a path, [permissions] and = \"value\", as `xs dump` prints them";
        Fail::other(format!("{name}: {error}"), next)
    })
}

fn guest(text: &str) -> Result<(DomId, PathBuf), String> {
    let (domid, path) = text.split_once('=').ok_or("give DOMID=PATH, such as 5=/tmp/xs-5")?;
    Ok((domid.parse().map_err(|error: xs_proto::ParseDomIdError| error.to_string())?, path.into()))
}
