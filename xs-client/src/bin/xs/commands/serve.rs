//! `xs serve`: an in-memory xenstored on Unix sockets.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xs_client::DomId;
use xs_transport::mock::{Flavour, Server, Xenstored};

use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};
use crate::input;
use crate::output::Output;

/// Run an in-memory xenstored, without Xen
///
/// Clients of the --socket act as dom0, and clients of a --guest socket as that guest. Prints the
/// path of each socket as soon as it accepts connections. SIGINT and SIGTERM stop the daemon and
/// remove the sockets.
///
/// Dom0 can tell this daemon what a hypervisor does with a domain: `xs control host shutdown 5`, or
/// `die`, `absent` (gone, but the daemon is not told) or `create` in place of `shutdown`.
#[derive(Debug, Args)]
#[command(override_usage = "xs serve --socket <FILE> [OPTIONS]")]
pub(crate) struct Serve {
    /// Socket to create for dom0
    // The global option selects a daemon to connect to, which this command does not do. An argument
    // with the same id replaces it in the help. The value still reaches `ConnectionArgs`.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Socket to create for a guest, which gets the nodes that libxl creates; may be repeated
    #[arg(long = "guest", value_name = "DOMID=FILE", value_parser = parse_guest)]
    guests: Vec<(DomId, PathBuf)>,
    /// Load nodes from a file, in the format of `dump`
    #[arg(long, value_name = "FILE")]
    load: Option<String>,
    /// Print each request, reply and event to standard error
    #[arg(long)]
    trace: bool,
    /// Serve the domains of this Xen host, in dom0, in place of its xenstored
    ///
    /// For development and tests. The default of --socket is /run/xenstored/socket then. Reports to
    /// standard error which domains come and go, and to systemd when it is ready.
    #[cfg(all(target_os = "linux", feature = "xen"))]
    #[arg(long)]
    xen: bool,
    /// Keep nodes, domains and watches in a file from the end of the daemon to its next start
    ///
    /// Guests and the kernel do not notice such a restart. Transactions are lost, and so are the
    /// watches of clients on the socket. The file is removed once it has been read.
    #[cfg(all(target_os = "linux", feature = "xen"))]
    #[arg(long, value_name = "FILE", requires = "xen")]
    state: Option<PathBuf>,
    /// Write the process id to a file, which is removed at the end
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Daemon to emulate: c or ox for the newest release of xenstored or oxenstored, or one of
    /// c417, c420, c422, ox417, ox420 and ox422
    #[arg(long, value_name = "DAEMON", default_value_t, hide_default_value = true)]
    like: Flavour,
}

impl Serve {
    pub(crate) fn run(&self, connection: &ConnectionArgs, output: &mut Output) -> CommandResult {
        let default = self.is_host().then(|| PathBuf::from("/run/xenstored/socket"));
        let socket = connection.socket.clone().or(default).ok_or_else(|| {
            CommandError::new("serve: --socket is required")
                .with_hint("for example `xs serve --socket /tmp/xs`")
        })?;
        let xenstored = Xenstored::with_flavour(self.like);
        if !self.is_host() {
            xenstored.allow_host_commands();
        }
        for (domid, _) in &self.guests {
            xenstored.add_guest(*domid);
        }
        if let Some(path) = &self.load {
            let (name, text) = input::read(Some(path))?;
            load(&name, &text, &xenstored)?;
        }
        if self.trace {
            // The daemon keeps running if standard error is closed.
            xenstored.set_trace(|trace| drop(writeln!(io::stderr(), "{trace}")));
        }
        let failed = |error| CommandError::io("cannot run the daemon", error);
        #[cfg(all(target_os = "linux", feature = "xen"))]
        let host = match self.xen {
            true => Some(super::host::serve(&xenstored, self.state.as_deref())?),
            false => None,
        };
        let mut server = Server::new(xenstored).map_err(failed)?;
        // Handlers are installed before the sockets exist: a signal always removes the sockets.
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let stop = server.stop_handle();
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                stop.stop();
            }
        });
        bind(&mut server, &socket, DomId::DOM0, output)?;
        for (domid, path) in &self.guests {
            bind(&mut server, path, *domid, output)?;
        }
        let _pid_file = self.pid_file.as_deref().map(PidFile::create).transpose()?;
        #[cfg(all(target_os = "linux", feature = "xen"))]
        super::host::report_ready();
        server.run().map_err(failed)?;
        #[cfg(all(target_os = "linux", feature = "xen"))]
        if let (Some(host), Some(path)) = (host, &self.state) {
            super::host::save(host, path)?;
        }
        Ok(true)
    }

    fn is_host(&self) -> bool {
        #[cfg(all(target_os = "linux", feature = "xen"))]
        return self.xen;
        #[cfg(not(all(target_os = "linux", feature = "xen")))]
        false
    }
}

/// A file with the id of this process. Dropping it removes the file.
struct PidFile<'a>(&'a Path);

impl<'a> PidFile<'a> {
    fn create(path: &'a Path) -> CommandResult<Self> {
        fs::write(path, format!("{}\n", process::id()))
            .map_err(|error| CommandError::io(format!("cannot write {}", path.display()), error))?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        // Another program may have removed it.
        let _ = fs::remove_file(self.0);
    }
}

fn bind(server: &mut Server, path: &Path, domid: DomId, output: &mut Output) -> CommandResult<()> {
    server.bind(path, domid).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                Some("stop the daemon that uses it, or choose another path")
            }
            io::ErrorKind::NotFound => Some("create the directory first"),
            _ => None,
        };
        let error = CommandError::io(format!("cannot listen on {}", path.display()), error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })?;
    writeln!(output, "{}", path.display())?;
    output.flush()?;
    Ok(())
}

fn load(name: &str, text: &str, xenstored: &Xenstored) -> CommandResult<()> {
    xenstored.seed(text).map_err(|error| {
        CommandError::new(format!("{name}: {error}"))
            .with_hint("a line is: PATH [PERMS] = \"VALUE\", as printed by `xs dump`")
    })
}

fn parse_guest(text: &str) -> Result<(DomId, PathBuf), String> {
    let (domid, path) = text.split_once('=').ok_or("expected DOMID=FILE, such as 5=/tmp/xs-5")?;
    Ok((domid.parse().map_err(|error: xs_proto::ParseDomIdError| error.to_string())?, path.into()))
}
