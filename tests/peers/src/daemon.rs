//! The daemons that the contenders talk to.

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
use crate::peers::create_nodes;
use crate::work::{FLOOD_NODES, KEYS, flood_path, key, value};

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) socket: PathBuf,
    pid: Pid,
    /// The process of the in-memory daemon.
    child: Option<Child>,
}

impl Daemon {
    /// Connects to the daemons that the environment names, and starts the in-memory daemon.
    pub(crate) fn all() -> Result<Vec<Daemon>, Box<dyn Error>> {
        let mut all = Vec::new();
        for (name, variable) in
            [("C xenstored", "XS_PEERS_C_SOCKET"), ("oxenstored", "XS_PEERS_OX_SOCKET")]
        {
            let named = std::env::var_os(variable).filter(|socket| !socket.is_empty());
            if let Some(socket) = named {
                all.push(Daemon::prepare(name, socket.into(), None)?);
            }
        }
        let socket = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
        let mut child = Command::new("/proc/self/exe")
            .arg("serve")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()?;
        // The child closes its standard output when it accepts connections.
        child.stdout.take().ok_or("no pipe")?.read_to_end(&mut Vec::new())?;
        all.push(Daemon::prepare("in-memory xenstored", socket, Some(child))?);
        Ok(all)
    }

    /// Creates the nodes that the contenders use.
    fn prepare(
        name: &'static str,
        socket: PathBuf,
        child: Option<Child>,
    ) -> Result<Daemon, Box<dyn Error>> {
        let pid = socket_peercred(UnixStream::connect(&socket)?)?.pid;
        let keys = (0..KEYS).map(|at| (key(at).to_owned(), value(at)));
        create_nodes(&socket, keys.chain((0..FLOOD_NODES).map(|at| (flood_path(at), ""))))?;
        Ok(Daemon { name, socket, pid, child })
    }

    /// Pins all threads of the daemon to a core, which needs root.
    pub(crate) fn pin(&self, core: Core) -> Result<(), Box<dyn Error>> {
        for thread in self.threads()? {
            core.pin(Pid::from_raw(thread.file_name().to_string_lossy().parse()?))?;
        }
        Ok(())
    }

    /// Returns the CPU time that the daemon has used.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let cpu_ns = |thread: &fs::DirEntry| {
            let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        };
        self.threads().map_or(0, |threads| threads.iter().filter_map(cpu_ns).sum())
    }

    fn threads(&self) -> std::io::Result<Vec<fs::DirEntry>> {
        fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_pid()))?.collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A genuine daemon may serve other programs, so the nodes are removed.
        if let Ok(client) = Client::open_at(&self.socket) {
            let _ = client.rm("/peers");
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_file(&self.socket);
        }
    }
}

/// Serves the in-memory daemon on a socket.
pub(crate) fn serve(socket: &Path) -> Result<(), Box<dyn Error>> {
    let mut server = Server::new(Xenstored::new())?;
    server.bind(socket, DomId::DOM0)?;
    rustix::stdio::dup2_stdout(fs::File::open("/dev/null")?)?;
    Ok(server.run()?)
}
