//! Daemons that are killed and started again.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use xs_client::DomId;
use xs_tests::TempDir;
use xs_transport::mock::{Device, Kernel, Server, Unreliable, Xenstored};
use xs_transport::{Transport, UnixTransport, XenbusTransport};

use super::proxy::Proxy;
use super::random::Random;

/// In the environment of a child process, the socket at which it serves an in-memory xenstored.
const SERVE: &str = "XS_STORM_SERVE";

/// A daemon, and the ways to it.
#[derive(Debug)]
pub(crate) enum Daemon {
    /// A process that serves a socket.
    // The socket of the proxy has to exist when the proxy is dropped, so the directory comes last.
    Process { process: Mutex<Option<Process>>, start: Start, proxy: Proxy, dir: TempDir },
    /// An in-memory xenstored behind the stand-in for the xenbus device.
    Device { machine: Mutex<(Xenstored, Kernel)>, unreliable: UnreliableConnections },
    /// The daemon of this machine, which cannot be restarted, behind the kernel's xenbus device.
    Xen { device: PathBuf, unreliable: UnreliableConnections },
}

/// The open connections that are unreliable.
#[derive(Debug, Default)]
pub(crate) struct UnreliableConnections(Mutex<Vec<Weak<dyn Transport>>>);

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// This program, which serves an in-memory xenstored.
    InMemory,
    /// A command, to which the directory of the socket is appended. It prints the path of the
    /// socket and ends together with its daemon.
    Command(String),
}

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    socket: PathBuf,
    /// Kept open: a test harness prints a line after a minute, and ends if it cannot.
    _output: BufReader<ChildStdout>,
}

/// Serves an in-memory xenstored if this process was started for that.
pub(crate) fn serve_if_asked() {
    let Some(socket) = env::var_os(SERVE) else { return };
    let mut server = Server::new(Xenstored::new()).expect("descriptors are available");
    server.bind(PathBuf::from(&socket), DomId::DOM0).expect("the socket can be created");
    // The test harness may print on the same line before.
    println!("\n{}", Path::new(&socket).display());
    server.run().expect("the server runs");
}

impl Process {
    fn start(start: &Start, dir: &Path) -> Self {
        let mut command = match start {
            Start::InMemory => {
                let mut command = Command::new(env::current_exe().expect("the program is a file"));
                command.args(["--exact", "storm", "--nocapture"]).env(SERVE, dir.join("socket"));
                command
            }
            Start::Command(line) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("exec {line} \"$1\""), "sh"]).arg(dir);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A shell reports each daemon that is killed.
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon can be started");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let socket = lines.find(|line| line.starts_with('/')).expect("the daemon starts");
        Process { child, socket: socket.into(), _output: output }
    }

    /// Kills the daemon, which is a child of the command, or the process itself.
    fn kill(mut self) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        if !children.trim().is_empty() {
            let mut kill = Command::new("kill");
            let killed = kill.arg("-KILL").args(children.split_whitespace()).status();
            assert!(killed.expect("kill(1) runs").success());
        }
        let _ = self.child.kill();
        self.child.wait().expect("the process is a child");
    }
}

impl Daemon {
    pub(crate) fn process(start: Start) -> Self {
        let dir = TempDir::new();
        let process = Process::start(&start, &dir);
        let proxy = Proxy::start(dir.join("proxy"), process.socket.clone());
        Daemon::Process { process: Mutex::new(Some(process)), start, dir, proxy }
    }

    pub(crate) fn device() -> Self {
        Daemon::Device { machine: Mutex::new(boot()), unreliable: UnreliableConnections::default() }
    }

    pub(crate) fn xen(device: PathBuf) -> Self {
        Daemon::Xen { device, unreliable: UnreliableConnections::default() }
    }

    /// Connects a client: directly, or in a way that splits, delays and is cut.
    pub(crate) fn connect(
        &self,
        random: &mut Random,
        is_unreliable: bool,
        timeout: Duration,
    ) -> io::Result<Box<dyn Transport>> {
        match self {
            Daemon::Process { dir, proxy, .. } if is_unreliable => {
                proxy.seed(random.next());
                Ok(Box::new(UnixTransport::connect(dir.join("proxy"), timeout)?))
            }
            Daemon::Process { dir, .. } => {
                Ok(Box::new(UnixTransport::connect(dir.join("socket"), timeout)?))
            }
            Daemon::Device { machine, unreliable } => {
                let device = machine.lock().unwrap().1.open().and_then(Device::transport)?;
                Ok(unreliable.add_if(is_unreliable, device, random))
            }
            Daemon::Xen { device, unreliable } => {
                let device = XenbusTransport::open(device)?;
                Ok(unreliable.add_if(is_unreliable, device, random))
            }
        }
    }

    /// Cuts the unreliable connections.
    pub(crate) fn cut(&self) {
        match self {
            Daemon::Process { proxy, .. } => proxy.cut(),
            Daemon::Device { unreliable, .. } | Daemon::Xen { unreliable, .. } => unreliable.cut(),
        }
    }

    /// Whether unreliable connections are left as they are from now on.
    pub(crate) fn set_calm(&self, is_calm: bool) {
        if let Daemon::Process { proxy, .. } = self {
            proxy.set_calm(is_calm);
        }
    }

    /// Returns whether the daemon can be killed and started again.
    pub(crate) fn can_restart(&self) -> bool {
        !matches!(self, Daemon::Xen { .. })
    }

    /// Returns a directory that a client may use. The device of a guest gives access to the guest's
    /// own directory.
    pub(crate) fn directory(&self) -> &'static str {
        if let Daemon::Xen { .. } = self { "data" } else { "/tool" }
    }

    /// Kills the daemon and starts another one.
    pub(crate) fn restart(&self) {
        match self {
            Daemon::Process { process, start, dir, .. } => {
                let mut process = process.lock().unwrap();
                process.take().expect("a process runs").kill();
                *process = Some(Process::start(start, dir));
            }
            Daemon::Device { machine, .. } => {
                let mut machine = machine.lock().unwrap();
                machine.0.disconnect_all();
                *machine = boot();
            }
            Daemon::Xen { .. } => panic!("the daemon of a machine cannot be restarted"),
        }
    }
}

impl UnreliableConnections {
    /// Makes a connection unreliable if asked to.
    fn add_if(
        &self,
        is_unreliable: bool,
        device: XenbusTransport,
        random: &mut Random,
    ) -> Box<dyn Transport> {
        if !is_unreliable {
            return Box::new(device);
        }
        let transport = Arc::new(Unreliable::new(device, random.next()));
        let mut open = self.0.lock().unwrap();
        open.retain(|transport| transport.strong_count() > 0);
        let weak: Weak<Unreliable<_>> = Arc::downgrade(&transport);
        open.push(weak);
        Box::new(transport)
    }

    fn cut(&self) {
        let open: Vec<_> = self.0.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
        open.iter().for_each(|transport| transport.close());
    }
}

fn boot() -> (Xenstored, Kernel) {
    let xenstored = Xenstored::new();
    let kernel = Kernel::new(&xenstored, DomId::DOM0);
    (xenstored, kernel)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Daemon::Process { process, .. } = self {
            if let Some(process) = process.get_mut().unwrap().take() {
                process.kill();
            }
        }
    }
}
