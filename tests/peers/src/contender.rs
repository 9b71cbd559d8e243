//! A contender's process, from outside.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cores::Core;
use crate::daemon::Daemon;
use crate::peers::{Flooder, SOCKET};
use crate::work::{Tally, end_of_flood, flooded};

/// So long a round may take, or the start; then the contender is said to hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// The last event may be among those that are lost: it is written again so often.
const AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Contender {
    process: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Contender {
    /// Starts it on a core, and waits until it is connected.
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
        let described = |error: std::io::Error| error.to_string();
        command.env(SOCKET, &daemon.socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        // What it starts inherits the core.
        let mut process = core.run(|| command.spawn()).map_err(described)?;
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
        match contender.line(Instant::now() + PATIENCE)? {
            Some(line) if line == "hello" => Ok(contender),
            _ => Err("does not start".into()),
        }
    }

    /// Lets it do so many things.
    pub(crate) fn run(&mut self, count: usize, round: usize) -> Result<Tally, String> {
        self.tell(count, round)?;
        let line = self.line(Instant::now() + PATIENCE)?;
        line.ok_or("hangs")?.parse()
    }

    /// Fires its watch so many times.
    pub(crate) fn flood(
        &mut self,
        count: usize,
        round: usize,
        daemon: &Daemon,
    ) -> Result<Tally, String> {
        let described = |error: std::io::Error| format!("stops the daemon: {error}");
        let mut flooder = Flooder::new(&daemon.socket).map_err(described)?;
        (0..count).for_each(|at| flooder.queue(&flooded(at), b""));
        self.tell(count, round)?;
        let deadline = Instant::now() + PATIENCE;
        if self.line(deadline)?.as_deref() != Some("ready") {
            return Err("hangs".into());
        }
        flooder.run().map_err(described)?;
        while Instant::now() < deadline {
            flooder.queue(&end_of_flood(round), b"");
            flooder.run().map_err(described)?;
            if let Some(line) = self.line(Instant::now() + AGAIN)? {
                return line.parse();
            }
        }
        Err("hangs".into())
    }

    fn tell(&mut self, count: usize, round: usize) -> Result<(), String> {
        writeln!(self.stdin, "run {count} {round}").map_err(|_| "has died".into())
    }

    /// The next thing it says, if it says it in time.
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
        // It has nothing to lose, and may be beyond asking.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
