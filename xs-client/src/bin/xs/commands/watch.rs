//! `xs watch`: prints changes of nodes as they happen.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;
use xs_client::{Client, EventKind, Result, WatchEvent};

use crate::connection::parse_seconds;
use crate::error::{CommandError, CommandResult};
use crate::output::{self, Output};

/// Print the path of each node that changes
///
/// Watches each PATH and all nodes below it. Prints each PATH once at the start, whether or not the
/// node exists. Fails when the connection to the daemon is lost.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Exit after printing N paths
    #[arg(short, long, value_name = "N")]
    pub(crate) number: Option<u64>,
    /// Watch only this many levels below each PATH (requires Xen 4.22)
    #[arg(short, long, value_name = "DEPTH")]
    pub(crate) depth: Option<u32>,
    /// Exit after this time
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Paths of nodes, or the special paths @introduceDomain and @releaseDomain
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl Watch {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let deadline = self.seconds.and_then(|seconds| Instant::now().checked_add(seconds));
        let (sender, events) = mpsc::channel();
        for path in &self.paths {
            self.watch(client, path, sender.clone())?;
        }
        let mut remaining = self.number;
        while remaining != Some(0) {
            let event = match deadline {
                None => events.recv().map_err(RecvTimeoutError::from),
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(event) => {
                    let event = event?;
                    if event.kind == EventKind::Overflow {
                        output::message(format_args!(
                            "xs: warning: too many events for {event}; some were dropped"
                        ));
                        continue;
                    }
                    writeln!(output, "{event}")?;
                    output.flush()?;
                    if output.is_closed() {
                        return Ok(true);
                    }
                    remaining = remaining.map(|remaining| remaining - 1);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(true),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(CommandError::new("watch: all watches have been removed"));
                }
            }
        }
        Ok(true)
    }

    /// Sets a watch whose events go to `sender`.
    fn watch(
        &self,
        client: &Client,
        path: &str,
        sender: mpsc::Sender<Result<WatchEvent>>,
    ) -> Result<()> {
        let watch = client.watch_builder(path).depth(self.depth);
        watch.watch_with(move |event| drop(sender.send(event))).map(drop)
    }
}
