//! The part of `xs serve --xen` that needs a Xen host.

use std::env;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use xs_transport::mock::Xenstored;
use xs_transport::mock::host::XenHypervisor;

use super::info::IMPLEMENTATION;
use crate::error::{CommandError, CommandResult};

/// Serves the rings of this host's domains, and reports to standard error which come and go.
pub(crate) fn serve(xenstored: &Xenstored) -> CommandResult<()> {
    let hypervisor = XenHypervisor::open().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "another xenstored runs: stop it first",
            io::ErrorKind::PermissionDenied => "run the daemon as root",
            _ => "run the daemon in dom0, and load the modules xen-evtchn, xen-gntdev and xen-privcmd",
        };
        CommandError::io("cannot use the hypervisor", error).with_hint(hint)
    })?;
    xenstored
        // The daemon keeps running if standard error is closed.
        .serve_host(hypervisor, |event| drop(writeln!(io::stderr(), "xs serve: {event}")))
        .map_err(|error| CommandError::io("cannot serve the ring of dom0", error))?;
    // Tells programs such as `xs info` that this is no genuine daemon.
    xenstored.set(IMPLEMENTATION, "xs serve").map_err(|error| CommandError::new(error.to_string()))
}

/// Tells systemd that clients can connect (sd_notify(3)).
pub(crate) fn report_ready() {
    if let Some(path) = env::var_os("NOTIFY_SOCKET") {
        // Without an answer, systemd reports that the daemon has not started.
        let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", path));
    }
}
