//! The daemon that all of them talk to.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;
use xs_client::{Client, DomId};
use xs_transport::mock::{Server, Xenstored};

use crate::cores::Core;
use crate::peers::prepare;
use crate::work::{FLOOD, KEYS, flooded, key, value};

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) socket: PathBuf,
    pid: Pid,
    served: Option<Child>,
}

impl Daemon {
    /// Connects to those that the environment names, and starts the one that needs no Xen.
    pub(crate) fn all() -> Result<Vec<Daemon>, Box<dyn Error>> {
        let mut all = Vec::new();
        for (name, variable) in
            [("C xenstored", "XS_PEERS_C_SOCKET"), ("oxenstored", "XS_PEERS_OX_SOCKET")]
        {
            let named = std::env::var_os(variable).filter(|socket| !socket.is_empty());
            if let Some(socket) = named {
                all.push(Daemon::prepared(name, socket.into(), None)?);
            }
        }
        let socket = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
        let mut served = Command::new("/proc/self/exe")
            .arg("serve")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()?;
        // It closes its output when it serves.
        served.stdout.take().ok_or("no pipe")?.read_to_end(&mut Vec::new())?;
        all.push(Daemon::prepared("in-memory xenstored", socket, Some(served))?);
        Ok(all)
    }

    /// With the nodes that are needed.
    fn prepared(
        name: &'static str,
        socket: PathBuf,
        served: Option<Child>,
    ) -> Result<Daemon, Box<dyn Error>> {
        let pid = socket_peercred(UnixStream::connect(&socket)?)?.pid;
        let keys = (0..KEYS).map(|at| (key(at).to_owned(), value(at)));
        prepare(&socket, keys.chain((0..FLOOD).map(|at| (flooded(at), ""))))?;
        Ok(Daemon { name, socket, pid, served })
    }

    /// Puts it on a core; only root may do so with another one's process.
    pub(crate) fn pin(&self, core: Core) -> Result<(), Box<dyn Error>> {
        for thread in self.threads()? {
            core.pin(Pid::from_raw(thread.file_name().to_string_lossy().parse()?))?;
        }
        Ok(())
    }

    /// What it has taken of the processor.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let taken = |thread: &fs::DirEntry| {
            let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        };
        self.threads().map_or(0, |threads| threads.iter().filter_map(taken).sum())
    }

    fn threads(&self) -> std::io::Result<Vec<fs::DirEntry>> {
        fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_pid()))?.collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Somebody may have other uses for it.
        if let Ok(client) = Client::open_at(&self.socket) {
            let _ = client.rm("/peers");
        }
        if let Some(served) = &mut self.served {
            let _ = served.kill();
            let _ = served.wait();
            let _ = fs::remove_file(&self.socket);
        }
    }
}

/// The in-memory xenstored on a socket: so fast that it is the clients that are measured.
pub(crate) fn serve(socket: &Path) -> Result<(), Box<dyn Error>> {
    let mut server = Server::new(Xenstored::new())?;
    server.bind(socket, DomId::DOM0)?;
    rustix::stdio::dup2_stdout(fs::File::open("/dev/null")?)?;
    Ok(server.run()?)
}
