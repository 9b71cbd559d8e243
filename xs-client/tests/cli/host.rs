//! A running `xs serve`, and commands for it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running `xs serve`, with a temporary directory.
pub(crate) struct Host {
    pub(crate) dir: PathBuf,
    daemon: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Host {
    pub(crate) fn new(seed: &str) -> Self {
        Host::with(seed, &[])
    }

    pub(crate) fn with(seed: &str, more: &[&str]) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("xs-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
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
        Host { dir, daemon, _stdout: stdout }
    }

    pub(crate) fn socket(&self) -> String {
        self.dir.join("socket").display().to_string()
    }

    pub(crate) fn guest(&self) -> String {
        self.dir.join("guest").display().to_string()
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

    /// Stops the daemon with a signal. Returns its output on standard error.
    pub(crate) fn stop(&mut self) -> String {
        let pid = self.daemon.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(killed.success());
        assert!(self.daemon.wait().expect("xs exits").success());
        let mut output = String::new();
        let mut stderr = self.daemon.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut output).expect("output is UTF-8");
        output
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The daemon may have exited already. Files that remain do no harm.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn xs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xs"));
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
