//! A command that runs for a change.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Message;
use super::values::Change;
use crate::escape::Form;

/// A running command, in a process group of its own: a signal reaches all processes of the command.
pub(super) struct Job {
    pub(super) key: String,
    child: Child,
    /// The time at which the next signal is sent.
    deadline: Option<Instant>,
    /// Whether SIGTERM was sent.
    is_terminated: bool,
}

/// The longest time that a command may take to end after SIGTERM. After that, it gets SIGKILL.
pub(super) const GRACE: Duration = Duration::from_secs(5);

impl Job {
    /// Starts a command. When the command has ended, its process id is sent to `sender`.
    pub(super) fn start(
        command: &str,
        change: Change,
        timeout: Option<Duration>,
        sender: SyncSender<Message>,
    ) -> io::Result<Self> {
        let child = process(command, &change).spawn()?;
        let (id, pid) = (child.id(), Pid::from_child(&child));
        thread::spawn(move || {
            // NOWAIT keeps the process id in use, since a signal may be sent to it at this time.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
            // Fails if the program is about to end.
            let _ = sender.send(Message::Exited(id));
        });
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(Job { key: change.path, child, deadline, is_terminated: false })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the time at which the caller must call [`expire`](Self::expire).
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Sends SIGTERM to the command, or SIGKILL if it has been sent SIGTERM before.
    pub(super) fn expire(&mut self) {
        let signal = if self.is_terminated { Signal::KILL } else { Signal::TERM };
        self.deadline = (!self.is_terminated).then(|| Instant::now() + GRACE);
        self.is_terminated = true;
        // The processes may be gone.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.is_terminated
    }

    /// Returns the status of a command that has ended.
    pub(super) fn status(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

fn process(command: &str, change: &Change) -> Command {
    let mut process = Command::new("sh");
    process.args(["-c", command]).env("XS_KEY", &change.path).stdin(Stdio::null());
    process.process_group(0);
    for (name, value) in [("XS_OLD", &change.old), ("XS_NEW", &change.new)] {
        match value {
            Some(Some(value)) => process.env(name, Form::Utf8.text(value)),
            _ => process.env_remove(name),
        };
    }
    process
}
