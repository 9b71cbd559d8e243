//! Runs a command for each change.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use super::Message;
use super::values::Change;
use crate::escape::Form;
use crate::output;

/// Runs the commands of `--exec`, so many at a time.
pub(super) struct Runner {
    command: Option<String>,
    jobs: usize,
    /// The keys for which a command runs.
    running: Vec<String>,
    /// The changes to run the command for, one per key.
    pending: VecDeque<Change>,
    has_dropped: bool,
    sender: SyncSender<Message>,
}

/// The end of a command: its key, and the failure, if there is one.
pub(super) struct Exit {
    key: String,
    failure: Option<String>,
}

/// How many changes wait for the command. Changes of the same node are merged.
const MAX_PENDING: usize = 1024;

impl Runner {
    pub(super) fn new(command: Option<&str>, jobs: u16, sender: SyncSender<Message>) -> Self {
        Runner {
            command: command.map(str::to_owned),
            jobs: usize::from(jobs),
            running: Vec::new(),
            pending: VecDeque::new(),
            has_dropped: false,
            sender,
        }
    }

    /// Runs the command for a change, now or when another one has ended. Commands for the same node
    /// never overlap.
    pub(super) fn run(&mut self, change: Change) {
        if let Some(same) = self.pending.iter_mut().find(|pending| pending.path == change.path) {
            same.new = change.new;
        } else if self.pending.len() < MAX_PENDING {
            self.pending.push_back(change);
        } else if !self.has_dropped {
            self.has_dropped = true;
            output::warning(format_args!(
                "more than {MAX_PENDING} changes wait for the command; some are left out"
            ));
        }
        self.start();
    }

    /// Takes note that a command has ended, and starts the next.
    pub(super) fn exited(&mut self, Exit { key, failure }: Exit) {
        self.running.retain(|running| *running != key);
        if let Some(failure) = failure {
            output::warning(format_args!("the command for {key} {failure}"));
        }
        self.start();
    }

    /// Returns whether commands run, or are to run.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.pending.is_empty()
    }

    fn start(&mut self) {
        let Some(command) = &self.command else { return };
        while self.running.len() < self.jobs {
            let is_free = |change: &Change| !self.running.contains(&change.path);
            let Some(next) = self.pending.iter().position(is_free) else { return };
            let Some(change) = self.pending.remove(next) else { return };
            self.has_dropped = false;
            self.running.push(change.path.clone());
            let mut process = process(command, &change);
            let sender = self.sender.clone();
            thread::spawn(move || {
                let failure = match process.status() {
                    Ok(status) if status.success() => None,
                    Ok(status) => Some(format!("failed: {status}")),
                    Err(error) => Some(format!("cannot be started: {error}")),
                };
                // Without a receiver, the program ends.
                let _ = sender.send(Message::Exited(Exit { key: change.path, failure }));
            });
        }
    }
}

fn process(command: &str, change: &Change) -> Command {
    let mut process = Command::new("sh");
    process.args(["-c", command]).env("XS_KEY", &change.path).stdin(Stdio::null());
    for (name, value) in [("XS_OLD", &change.old), ("XS_NEW", &change.new)] {
        match value {
            Some(Some(value)) => process.env(name, Form::Utf8.text(value)),
            _ => process.env_remove(name),
        };
    }
    process
}
