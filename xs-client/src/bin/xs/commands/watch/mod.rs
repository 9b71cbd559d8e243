//! `xs watch`: prints changes of nodes as they happen.

mod exec;
mod job;
mod reader;
mod show;
mod signals;
mod values;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use clap::Args;
use xs_client::{Client, ErrorCode, EventKind, Result, WatchEvent};

use self::exec::Runner;
use self::show::Show;
use self::values::{Change, Values};
use crate::connection::parse_seconds;
use crate::error::{CommandError, CommandResult};
use crate::output::{self, Output};
use crate::subtree;

/// Print the path of each node that changes
///
/// Watches each PATH and all nodes below it. Prints each PATH once at the start, whether or not the
/// node exists. Xenstore keeps no history: to see what has changed before, compare with an earlier
/// dump (`xs diff --file`). Fails when the connection to the daemon is lost, unless --reconnect is
/// given.
#[derive(Debug, Default, Args)]
pub(crate) struct Watch {
    /// Exit after printing N paths
    #[arg(short, long, value_name = "N")]
    pub(crate) number: Option<u64>,
    /// Watch only this many levels below each PATH. Daemons before Xen 4.22 report changes of all
    /// levels, of which xs leaves out the deeper ones
    #[arg(short, long, value_name = "DEPTH")]
    pub(crate) depth: Option<u32>,
    /// Exit after this time
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Print the old and the new value of each node. A node that changes several times in a short
    /// time may be printed once
    #[arg(short, long)]
    pub(crate) values: bool,
    /// Print the time of each change, in UTC
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Print a JSON object per change, with the members "event" (start, change, overflow or
    /// reconnected), "path" and "watched", and with --values "old" and "new", which are null if the
    /// node does not exist
    #[arg(long)]
    pub(crate) json: bool,
    /// Run a shell command for each change, instead of printing it. Its environment has the path in
    /// XS_KEY, and the values in XS_OLD and XS_NEW in the form of `read`, unless the node does not
    /// exist. Changes of a node for which the command has not run yet are merged. After --number
    /// changes, xs waits for their commands. When a signal, --seconds or an error ends xs first, it
    /// ends the commands that still run, as --exec-timeout does
    #[arg(short, long, value_name = "COMMAND", conflicts_with_all = ["json", "timestamps"])]
    pub(crate) exec: Option<String>,
    /// End a command of --exec that takes longer than this: with SIGTERM, and 5 seconds later with
    /// SIGKILL. Without this option, a command may take any time, while changes wait for it
    #[arg(long, value_name = "SECONDS", requires = "exec", value_parser = parse_seconds)]
    pub(crate) exec_timeout: Option<Duration>,
    /// Run up to N commands of --exec at a time [default: 1]
    #[arg(short, long, value_name = "N", requires = "exec",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Continue when the daemon is back after the connection was lost
    #[arg(short, long)]
    pub(crate) reconnect: bool,
    /// Behave as xenstore-watch, which notices a closed reader at the next event, and does not
    /// limit the depth itself.
    #[arg(skip)]
    pub(crate) strict: bool,
    /// Paths of nodes, or the special paths @introduceDomain and @releaseDomain
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// The messages that the command waits for.
enum Message {
    Event(Result<WatchEvent>),
    /// A command of `--exec`, with this process id, has ended.
    Exited(u32),
    /// The program has received a signal that ends it.
    Signal(i32),
    /// The reader of the output has closed it.
    ReaderGone,
}

/// The reason why the command ends.
enum End {
    /// All events have come, or the time is over.
    Done,
    Signal(i32),
}

/// The number of events that may wait for this command. More wait in the client, which merges equal
/// ones.
const EVENTS_AHEAD: usize = 16;

impl Watch {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let deadline = self.seconds.and_then(|seconds| Instant::now().checked_add(seconds));
        let (sender, messages) = mpsc::sync_channel(EVENTS_AHEAD);
        if !self.strict && self.exec.is_none() {
            let sender = sender.clone();
            reader::notify_when_gone(move || drop(sender.send(Message::ReaderGone)));
        }
        for path in &self.paths {
            self.watch(client, path, &sender)?;
        }
        if self.exec.is_some() {
            let sender = sender.clone();
            signals::notify_first(move |signal| drop(sender.send(Message::Signal(signal))))
                .map_err(|error| CommandError::io("cannot handle signals", error))?;
        }
        let command = self.exec.as_deref();
        let mut runner = Runner::new(command, self.jobs.unwrap_or(1), self.exec_timeout, sender);
        let end = self.follow(client, &messages, deadline, &mut runner, output);
        runner.stop(&messages);
        if let End::Signal(signal) = end? {
            signals::die(signal);
        }
        Ok(true)
    }

    /// Handles messages until the number of events is reached and their commands have ended, or the
    /// deadline is reached.
    fn follow(
        &self,
        client: &Client,
        messages: &Receiver<Message>,
        deadline: Option<Instant>,
        runner: &mut Runner,
        output: &mut Output,
    ) -> CommandResult<End> {
        let show = Show::new(self);
        let needs_values = self.values || self.exec.is_some();
        let mut values = needs_values.then(|| Values::new(client, self.depth));
        let mut remaining = self.number;
        while remaining != Some(0) || runner.is_busy() {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                break;
            }
            runner.expire(now);
            let message = match deadline.into_iter().chain(runner.deadline()).min() {
                None => messages.recv().map_err(RecvTimeoutError::from),
                Some(at) => messages.recv_timeout(at.saturating_duration_since(now)),
            };
            let event = match message {
                // Only the end of the commands for earlier events is awaited.
                Ok(Message::Event(_)) if remaining == Some(0) => continue,
                Ok(Message::Event(event)) => event?,
                Ok(Message::Exited(id)) => {
                    runner.exited(id);
                    continue;
                }
                Ok(Message::Signal(signal)) => return Ok(End::Signal(signal)),
                Ok(Message::ReaderGone) => return Err(output.closed_by_reader().into()),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(CommandError::new("watch: all watches have been removed"));
                }
            };
            let kind = event.kind;
            report_special(&event);
            if !self.is_within_depth(&event) {
                continue;
            }
            let changes = match &mut values {
                None => vec![Change::without_values(&event)],
                Some(values) => match values.update(&event) {
                    // All nodes are read again at the first event of the next connection.
                    Err(error) if self.reconnect && error.code().is_none() => continue,
                    changes => changes?,
                },
            };
            if changes.is_empty() {
                continue;
            }
            for change in changes {
                if self.exec.is_some() {
                    if !change.is_start() {
                        runner.run(change);
                    }
                } else if kind != EventKind::Overflow || self.json || self.values {
                    show.print(&change, output)?;
                }
            }
            if output.is_closed() {
                break;
            }
            if kind != EventKind::Overflow {
                remaining = remaining.map(|remaining| remaining - 1);
            }
        }
        Ok(End::Done)
    }

    /// Sets a watch whose events go to `sender`.
    fn watch(
        &self,
        client: &Client,
        path: &str,
        sender: &SyncSender<Message>,
    ) -> CommandResult<()> {
        let set = |depth: Option<u32>| {
            let sender = sender.clone();
            let watch = client.watch_builder(path).depth(depth);
            watch.watch_with(move |event| drop(sender.send(Message::Event(event)))).map(drop)
        };
        match set(self.depth) {
            Err(error)
                if self.depth.is_some()
                    && !self.strict
                    && error.code() == Some(&ErrorCode::Invalid) =>
            {
                // An invalid path is refused again.
                set(None)?;
                output::warning(format_args!(
                    "this daemon cannot limit the depth of a watch, which needs Xen \
                     4.22: it reports all changes below {path}, and xs leaves out the deeper ones"
                ));
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Returns whether an event is within the depth. Some daemons and the kernel's device report
    /// all levels.
    fn is_within_depth(&self, event: &WatchEvent) -> bool {
        let Some(depth) = self.depth.filter(|_| !self.strict) else { return true };
        let below = subtree::below(&event.path, &event.watched).unwrap_or_default();
        below.matches('/').count() <= depth as usize
    }
}

/// Reports an event that is not a change of a node.
fn report_special(event: &WatchEvent) {
    match event.kind {
        EventKind::Overflow => {
            output::warning(format_args!("too many events for {event}; some were dropped"))
        }
        EventKind::Reconnected => output::message(format_args!(
            "xs: connected again; changes below {event} may have been missed"
        )),
        _ => {}
    }
}
