//! `watch` and `wait`: to be told of changes.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use xs_client::{Client, EventKind, Result, WatchEvent};

use crate::connect::seconds;
use crate::escape::unescape;
use crate::fail::{Fail, Outcome};

/// Print the path of each node that changes
///
/// The first line for each key comes at once, also if there is no such node. Ends with an error
/// when the daemon goes away.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// End after so many lines
    #[arg(short, long, value_name = "N")]
    pub(crate) number: Option<u64>,
    /// Look at so many levels below each key only (daemons since Xen 4.22)
    #[arg(short, long, value_name = "DEPTH")]
    pub(crate) depth: Option<u32>,
    /// End after so much time
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Nodes, or @introduceDomain and @releaseDomain
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Wait until a node exists, or has a value
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Give up after so much time, with exit status 1
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Wait until the node does not exist
    #[arg(short, long, conflicts_with = "value")]
    gone: bool,
    /// The path of the node
    key: String,
    /// The value to wait for, with escapes as for `write`; else any will do
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
}

impl Watch {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        let deadline = self.seconds.and_then(|seconds| Instant::now().checked_add(seconds));
        let (sender, events) = mpsc::channel();
        for key in &self.keys {
            self.set(client, key, sender.clone())?;
        }
        let mut left = self.number;
        let mut stdout = std::io::stdout();
        while left != Some(0) {
            let event = match deadline {
                None => events.recv().map_err(RecvTimeoutError::from),
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(event) => {
                    let event = event?;
                    if event.kind == EventKind::Overflow {
                        eprintln!("xs: too many changes below {event}: some are not shown");
                        continue;
                    }
                    writeln!(stdout, "{event}")?;
                    stdout.flush()?;
                    left = left.map(|left| left - 1);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(true),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fail::other("the watches have ended", ""));
                }
            }
        }
        Ok(true)
    }

    fn set(
        &self,
        client: &Client,
        key: &str,
        sender: mpsc::Sender<Result<WatchEvent>>,
    ) -> Result<()> {
        let Some(depth) = self.depth else {
            // The receiver lives as long as anybody cares.
            return client.watch_with(key, move |event| drop(sender.send(event))).map(drop);
        };
        let watch = client.watch_depth(key, depth)?;
        thread::spawn(move || watch.into_iter().try_for_each(|event| sender.send(event)));
        Ok(())
    }
}

impl Wait {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        let wanted = self.value.as_ref().map(|value| unescape(value.as_bytes()));
        let mut last = None;
        let met = client.wait_for(&self.key, self.seconds, |value| {
            last = value.map(<[u8]>::to_vec);
            match (&wanted, value) {
                _ if self.gone => value.is_none(),
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(wanted), Some(value)) => wanted == value,
            }
        });
        match met {
            Ok(_) => Ok(true),
            Err(error) if error.is_timeout() && error.operation() == "wait_for" => {
                let now = last.map_or("does not exist".to_owned(), |value| {
                    format!("is \"{}\"", value.escape_ascii())
                });
                Err(Fail::other(format!("waited in vain: {} {now}", self.key), ""))
            }
            Err(error) => Err(error.into()),
        }
    }
}
