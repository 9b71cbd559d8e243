//! The part of `xs serve --xen` that needs a Xen host.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use xs_transport::mock::Xenstored;
use xs_transport::mock::host::{Host, HostEvent, XenHypervisor};

use super::info::IMPLEMENTATION;
use crate::error::{CommandError, CommandResult};

/// Serves the rings of this host's domains, and reports to standard error which domains come and
/// go. Continues with the state in a file, if the file exists.
pub(crate) fn serve(
    xenstored: &Xenstored,
    state: Option<&Path>,
) -> CommandResult<Host<XenHypervisor>> {
    let hypervisor = XenHypervisor::open().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "another xenstored runs: stop it first",
            io::ErrorKind::PermissionDenied => "run the daemon as root",
            _ => "run the daemon in dom0, and load the modules xen-evtchn, xen-gntdev and xen-privcmd",
        };
        CommandError::io("cannot use the hypervisor", error).with_hint(hint)
    })?;
    // The daemon keeps running if standard error is closed.
    let log = |event: &HostEvent| drop(writeln!(io::stderr(), "xs serve: {event}"));
    let failed = |error| CommandError::io("cannot serve the ring of dom0", error);
    let host = match state.filter(|path| path.exists()) {
        None => xenstored.serve_host(hypervisor, log).map_err(failed)?,
        Some(path) => {
            let at = |error| CommandError::io(format!("cannot use {}", path.display()), error);
            let text = fs::read_to_string(path).map_err(at)?;
            let host = xenstored.resume_host(hypervisor, log, &text).map_err(at)?;
            // The state is out of date from now on.
            fs::remove_file(path).map_err(at)?;
            host
        }
    };
    // Tells programs such as `xs info` that this is not a genuine daemon.
    xenstored
        .set(IMPLEMENTATION, "xs serve")
        .map_err(|error| CommandError::new(error.to_string()))?;
    Ok(host)
}

/// Stops serving the rings, and writes the state to a file that only this user can read.
pub(crate) fn save(host: Host<XenHypervisor>, path: &Path) -> CommandResult<()> {
    let state = host.stop();
    let failed = |error| CommandError::io(format!("cannot write {}", path.display()), error);
    let mut options = File::options();
    // The file has its name only once it is complete.
    let unfinished = path.with_extension("unfinished");
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    file.write_all(state.as_bytes()).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)
}

/// Tells systemd that clients can connect (sd_notify(3)).
pub(crate) fn report_ready() {
    if let Some(name) = env::var_os("NOTIFY_SOCKET") {
        // Without an answer, systemd reports that the daemon has not started.
        let _ = notify(&name);
    }
}

/// Notifies the socket at a path, or with the abstract name that follows an `@`.
fn notify(name: &OsStr) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_notified_at_a_path_and_at_an_abstract_name() {
        let unique = format!("xs-notify-{}", std::process::id());
        let path = env::temp_dir().join(&unique);
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&unique).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        notify(path.as_os_str()).unwrap();
        notify(format!("@{unique}").as_ref()).unwrap();
        fs::remove_file(path).unwrap();
        for socket in [by_path, by_name] {
            let mut message = [0; 16];
            let len = socket.recv(&mut message).unwrap();
            assert_eq!(&message[..len], b"READY=1");
        }
    }
}
