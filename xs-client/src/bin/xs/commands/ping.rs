//! `xs ping`: tests whether the daemon replies.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use xs_client::{Client, DomId, Result};

use crate::error::CommandResult;
use crate::json::Object;
use crate::output::Output;

/// Test whether the daemon replies, and print the time of a round trip
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Number of requests to send
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    number: u32,
    /// Print a JSON object per request, with the member "round_trip_us", in microseconds
    #[arg(long)]
    json: bool,
}

impl Ping {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        for _ in 0..self.number {
            let time = round_trip(client)?;
            if self.json {
                let object = Object::new().raw("round_trip_us", time.as_micros());
                output.write_all(object.line().as_bytes())?;
            } else {
                writeln!(output, "reply from {} in {time:.0?}", client.transport_name())?;
            }
            output.flush()?;
        }
        Ok(true)
    }
}

/// Returns the time that a request takes. Every daemon answers this request to every domain.
pub(super) fn round_trip(client: &Client) -> Result<Duration> {
    let start = Instant::now();
    client.get_domain_path(DomId::DOM0)?;
    Ok(start.elapsed())
}
