//! The options that select a xenstored, and the connection to it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use xs_client::{Builder, Client, Result};

/// Options that all commands share.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Connect to the socket of a daemon [default: $XENSTORED_PATH, or $XENSTORED_RUNDIR/socket, or
    /// /run/xenstored/socket]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,
    /// Connect through the kernel's Xenstore device, such as /dev/xen/xenbus [default: the device
    /// of this system, if no socket can be opened]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) device: Option<PathBuf>,
    /// Give up on an operation after this time [default: 30]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
}

impl ConnectionArgs {
    pub(crate) fn open(&self) -> Result<Client> {
        self.open_with(self.builder())
    }

    /// Connects with the options of `builder`.
    pub(crate) fn open_with(&self, builder: Builder) -> Result<Client> {
        match self.path() {
            Some(path) => builder.open_at(path),
            None => builder.open(),
        }
    }

    /// Returns the socket or device named on the command line.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        self.socket.as_ref().or(self.device.as_ref())
    }

    pub(crate) fn builder(&self) -> Builder {
        match self.timeout {
            Some(timeout) => Client::builder().timeout(timeout).connect_timeout(timeout),
            None => Client::builder(),
        }
    }
}

/// Parses a duration in seconds, such as `2` or `0.5`.
pub(crate) fn parse_seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a valid number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
