//! `control`: commands to the daemon itself.

use clap::Args;
use xs_client::{Client, Error, ErrorCode};

use crate::fail::{Fail, Outcome};

/// Give a command to the daemon, such as `check`, `log on` or `quota`
///
/// `xs control help` prints what this daemon knows. For dom0.
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// The command and its parameters
    #[arg(required = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

impl Control {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        match client.control(&self.words) {
            Ok(answer) => println!("{answer}"),
            Err(error) => return Err(self.explain(error, client)),
        }
        Ok(true)
    }

    /// Daemons answer EINVAL to commands that they do not know.
    fn explain(&self, error: Error, client: &Client) -> Fail {
        let is_unknown = error.code() == Some(&ErrorCode::Invalid);
        match client.control(["help"]) {
            Ok(known) if is_unknown => {
                let what = format!("{error}: {:?}", self.words.join(" "));
                Fail::other(what, format!("this daemon knows:\n{}", known.trim_end()))
            }
            _ => error.into(),
        }
    }
}
