//! Controls the process of a contender.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cores::Core;
use crate::daemon::Daemon;
use crate::peers::{SOCKET, Writer};
use crate::work::{Tally, flood_end, flood_path};

/// How long the start or a round may take. A contender that takes longer is reported as hanging.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often the last event of a flood is written again, because a contender may lose it.
const REWRITE_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Contender {
    process: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Contender {
    /// Starts a contender on a core, and waits until it is connected.
    pub(crate) fn start(name: &str, daemon: &Daemon, core: Core) -> Result<Self, String> {
        let mut command = match name.strip_prefix("pyxs/") {
            Some(work) => {
                let python = std::env::var_os("XS_PEERS_PYTHON").unwrap_or("python3".into());
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pyxs_peer.py");
                let mut command = Command::new(python);
                command.arg(script).arg(work);
                command
            }
            None => {
                let mut command = Command::new("/proc/self/exe");
                command.args(["contender", name]);
                command
            }
        };
        let describe = |error: std::io::Error| error.to_string();
        command.env(SOCKET, &daemon.socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = core.run(|| command.spawn()).map_err(describe)?;
        let (stdin, stdout) = process.stdin.take().zip(process.stdout.take()).ok_or("no pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let contender = Contender { process, stdin, lines };
        match contender.line(Instant::now() + TIMEOUT)? {
            Some(line) if line == "hello" => Ok(contender),
            _ => Err("does not start".into()),
        }
    }

    /// Runs a round of `count` operations.
    pub(crate) fn run(&mut self, count: usize, round: usize) -> Result<Tally, String> {
        self.request(count, round)?;
        let line = self.line(Instant::now() + TIMEOUT)?;
        line.ok_or("hangs")?.parse()
    }

    /// Runs a round in which `count` writes fire the watch of the contender.
    pub(crate) fn flood(
        &mut self,
        count: usize,
        round: usize,
        daemon: &Daemon,
    ) -> Result<Tally, String> {
        let describe = |error: std::io::Error| format!("stops the daemon: {error}");
        let mut writer = Writer::new(&daemon.socket).map_err(describe)?;
        (0..count).for_each(|at| writer.queue(&flood_path(at), b""));
        self.request(count, round)?;
        let deadline = Instant::now() + TIMEOUT;
        if self.line(deadline)?.as_deref() != Some("ready") {
            return Err("hangs".into());
        }
        writer.run().map_err(describe)?;
        while Instant::now() < deadline {
            writer.queue(&flood_end(round), b"");
            writer.run().map_err(describe)?;
            if let Some(line) = self.line(Instant::now() + REWRITE_INTERVAL)? {
                return line.parse();
            }
        }
        Err("hangs".into())
    }

    fn request(&mut self, count: usize, round: usize) -> Result<(), String> {
        writeln!(self.stdin, "run {count} {round}").map_err(|_| "has died".into())
    }

    /// Returns the next line of output, or `None` if the deadline passes first.
    fn line(&self, deadline: Instant) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("has died".into()),
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // The process has no state worth saving, and may hang.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
