//! Which xenstored to use, and how patiently.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use xs_client::{Builder, Client, Result};

/// How to find the daemon.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connect {
    /// The daemon's socket [default: $XENSTORED_PATH, $XENSTORED_RUNDIR/socket,
    /// /run/xenstored/socket]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The kernel's device; tried by default where there is no socket
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "socket")]
    pub(crate) device: Option<PathBuf>,
    /// How long to wait for the daemon, in each operation [default: 30]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

impl Connect {
    pub(crate) fn open(&self) -> Result<Client> {
        let builder = self.builder();
        match self.path() {
            Some(path) => builder.open_at(path),
            None => builder.open(),
        }
    }

    /// What the caller named.
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

/// Seconds, with a fraction if need be.
pub(crate) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "this is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
