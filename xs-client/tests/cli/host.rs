//! A running `xs serve` or a genuine daemon, and commands for it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running `xs serve`, or a genuine daemon that has been started before, with a temporary directory.
pub(crate) struct Host {
    pub(crate) dir: PathBuf,
    daemon: Option<(Child, BufReader<ChildStdout>)>,
    socket: String,
    guest: String,
    /// The node that the test uses on a genuine daemon.
    root: String,
}

impl Host {
    pub(crate) fn new(seed: &str) -> Self {
        Host::with(seed, &[])
    }

    pub(crate) fn with(seed: &str, more: &[&str]) -> Self {
        let dir = new_dir();
        let daemon = Some(serve(&dir, seed, more));
        let path = |name| dir.join(name).display().to_string();
        let (socket, guest) = (path("socket"), path("guest"));
        Host { dir, daemon, socket, guest, root: String::new() }
    }

    /// Returns an in-memory daemon like each of the two kinds, and the genuine ones whose sockets are
    /// in the environment. All have the nodes of `seed`, which are below `root`.
    pub(crate) fn on_every_daemon(root: &str, seed: &str) -> Vec<Self> {
        let mut hosts = vec![Host::new(seed), Host::with(seed, &["--like", "ox"])];
        for kind in ["C", "OX"] {
            let socket = |name| env::var(format!("XS_TEST_{kind}_{name}"));
            let (Ok(socket), Ok(guest)) = (socket("SOCKET"), socket("GUEST5")) else { continue };
            let root = root.to_owned();
            let host = Host { dir: new_dir(), daemon: None, socket, guest, root };
            host.xs(&format!("rm {}", host.root));
            host.ok_with("restore", seed);
            hosts.push(host);
        }
        hosts
    }

    pub(crate) fn socket(&self) -> String {
        self.socket.clone()
    }

    pub(crate) fn guest(&self) -> String {
        self.guest.clone()
    }

    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = xs();
        command.args(args.split(' ')).env("XENSTORED_PATH", self.socket());
        command
    }

    pub(crate) fn xs(&self, args: &str) -> Output {
        self.xs_with(args, "")
    }

    pub(crate) fn xs_with(&self, args: &str, stdin: &str) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xs starts");
        // The program may exit without reading its input.
        let _ = child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes());
        child.wait_with_output().expect("xs exits")
    }

    pub(crate) fn ok(&self, args: &str) -> String {
        self.ok_with(args, "")
    }

    pub(crate) fn ok_with(&self, args: &str, stdin: &str) -> String {
        let output = self.xs_with(args, stdin);
        assert!(output.status.success(), "{args}: {}", stderr(&output));
        stdout(output)
    }

    /// Starts the daemon after it was stopped, with other nodes.
    pub(crate) fn start_again(&mut self, seed: &str) {
        self.daemon = Some(serve(&self.dir, seed, &[]));
    }

    /// Stops the daemon with a signal. Returns its output on standard error.
    pub(crate) fn stop(&mut self) -> String {
        let (daemon, _) = self.daemon.as_mut().expect("the daemon is a child");
        let pid = daemon.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(killed.success());
        assert!(daemon.wait().expect("xs exits").success());
        let mut output = String::new();
        let mut stderr = daemon.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut output).expect("output is UTF-8");
        output
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The daemon may have exited already. Files that remain do no harm.
        match &mut self.daemon {
            Some((daemon, _)) => {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
            None => drop(self.xs(&format!("rm {}", self.root))),
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts a daemon whose sockets are in `dir`.
fn serve(dir: &Path, seed: &str, more: &[&str]) -> (Child, BufReader<ChildStdout>) {
    fs::write(dir.join("load"), seed).expect("the temporary directory is writable");
    let mut daemon = xs()
        .args(["serve", "--socket"])
        .arg(dir.join("socket"))
        .arg("--guest")
        .arg(format!("5={}", dir.join("guest").display()))
        .arg("--load")
        .arg(dir.join("load"))
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xs starts");
    let mut stdout = BufReader::new(daemon.stdout.take().expect("stdout is piped"));
    for name in ["socket", "guest"] {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("output is UTF-8");
        assert_eq!(line.trim_end(), dir.join(name).to_str().expect("path is UTF-8"));
    }
    (daemon, stdout)
}

fn new_dir() -> PathBuf {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("xs-cli-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).expect("the temporary directory is writable");
    dir
}

/// Returns the names of all commands of `xs`, as the help lists them.
pub(crate) fn command_names(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Usage:"));
    let lines = lines.take_while(|line| *line != "Options:");
    // Lines with a larger indent continue the description of a command.
    let commands = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = commands.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Returns a command that runs `xs` with the usual dispositions of signals. The runner of the tests may
/// ignore some: a shell that starts a job in the background ignores SIGINT for it.
pub(crate) fn xs() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_xs")]);
    for name in ["XENSTORED_PATH", "XENSTORED_RUNDIR"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn stdout(output: Output) -> String {
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
