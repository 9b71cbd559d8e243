//! `xs wait`: waits until a node has a value, exists, or does not exist.

use std::time::Duration;

use clap::Args;
use xs_client::Client;

use crate::connection::parse_seconds;
use crate::error::{CommandError, CommandResult};
use crate::escape::unescape;

/// Wait until a node exists, has a given value, or does not exist
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Give up after this time, with exit status 1
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Wait until the node does not exist
    #[arg(short, long, conflicts_with = "value")]
    gone: bool,
    /// Path of the node
    path: String,
    /// Value to wait for, with escapes as in `write` [default: any value]
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
}

impl Wait {
    pub(crate) fn run(&self, client: &Client) -> CommandResult {
        let wanted = self.value.as_ref().map(|value| unescape(value.as_bytes()));
        let mut last = None;
        let result = client.wait_for(&self.path, self.seconds, |value| {
            last = value.map(<[u8]>::to_vec);
            match (&wanted, value) {
                _ if self.gone => value.is_none(),
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(wanted), Some(value)) => wanted == value,
            }
        });
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.is_timeout() && error.operation() == "wait_for" => {
                let state = match last {
                    None => "does not exist".to_owned(),
                    Some(value) => format!("has the value \"{}\"", value.escape_ascii()),
                };
                Err(CommandError::new(format!("timed out: {} still {state}", self.path)))
            }
            Err(error) => Err(error.into()),
        }
    }
}
