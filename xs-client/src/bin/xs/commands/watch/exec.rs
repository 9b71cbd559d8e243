//! Runs a command for each change.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::Message;
use super::job::Job;
use super::values::Change;
use crate::output;

/// Runs the commands of `--exec`, at most `jobs` at a time.
pub(super) struct Runner {
    command: Option<String>,
    jobs: usize,
    timeout: Option<Duration>,
    running: Vec<Job>,
    /// The changes to run the command for, one per path.
    pending: VecDeque<Change>,
    /// Whether changes were dropped, and a warning printed, since a command was last started.
    has_dropped: bool,
    sender: SyncSender<Message>,
}

/// How many changes wait for the command. Changes of the same node are merged.
const MAX_PENDING: usize = 1024;

impl Runner {
    pub(super) fn new(
        command: Option<&str>,
        jobs: u16,
        timeout: Option<Duration>,
        sender: SyncSender<Message>,
    ) -> Self {
        Runner {
            command: command.map(str::to_owned),
            jobs: usize::from(jobs),
            timeout,
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
                "more than {MAX_PENDING} changes wait for the command; some are dropped"
            ));
        }
        self.start();
    }

    /// Handles the end of a command, and starts the next one.
    pub(super) fn exited(&mut self, id: u32) {
        let Some(at) = self.running.iter().position(|job| job.id() == id) else { return };
        let job = self.running.swap_remove(at);
        let (key, is_terminated) = (job.key.clone(), job.is_terminated());
        match job.status() {
            // The timeout has been reported, or the program is about to end.
            _ if is_terminated => {}
            Ok(status) if status.success() => {}
            Ok(status) => {
                output::warning(format_args!("the command for {key} failed: {status}"));
            }
            Err(error) => {
                output::warning(format_args!("cannot wait for the command for {key}: {error}"));
            }
        }
        self.start();
    }

    /// Returns whether any command runs or is pending.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.pending.is_empty()
    }

    /// Returns the time at which the caller must call [`expire`](Self::expire).
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.running.iter().filter_map(Job::deadline).min()
    }

    /// Terminates the commands whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for job in &mut self.running {
            if job.deadline().is_some_and(|deadline| deadline <= now) {
                if !job.is_terminated() {
                    output::warning(format_args!(
                        "the command for {} has run for {:?} and is terminated",
                        job.key,
                        self.timeout.unwrap_or_default()
                    ));
                }
                job.expire();
            }
        }
    }

    /// Sends SIGTERM to all commands. A command that ignores it gets SIGKILL.
    pub(super) fn stop(mut self, messages: &Receiver<Message>) {
        self.pending.clear();
        for job in &mut self.running {
            if !job.is_terminated() {
                job.expire();
            }
        }
        // A command that has been sent SIGKILL has no deadline, and is not waited for.
        while let Some(deadline) = self.deadline() {
            let now = Instant::now();
            match messages.recv_timeout(deadline.saturating_duration_since(now)) {
                Ok(Message::Exited(id)) => self.exited(id),
                _ => self.expire(now),
            }
        }
    }

    fn start(&mut self) {
        let Some(command) = &self.command else { return };
        while self.running.len() < self.jobs {
            let is_free = |change: &Change| self.running.iter().all(|job| job.key != change.path);
            let Some(next) = self.pending.iter().position(is_free) else { return };
            let Some(change) = self.pending.remove(next) else { return };
            self.has_dropped = false;
            let key = change.path.clone();
            match Job::start(command, change, self.timeout, self.sender.clone()) {
                Ok(job) => self.running.push(job),
                Err(error) => {
                    output::warning(format_args!("cannot start the command for {key}: {error}"))
                }
            }
        }
    }
}
