//! `xenstore-control live-update`: replaces the running daemon with another program.

use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use xs_client::Client;

use super::getopt;
use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};
use crate::escape::printable;

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LiveUpdate {
    /// The program of the new daemon.
    file: String,
    /// The arguments of the new daemon.
    arguments: Option<String>,
    /// Continue after the timeout even if transactions are open.
    force: bool,
    /// How long to wait until no transaction is open.
    timeout_seconds: u32,
}

/// The time between two attempts while the daemon is busy.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The daemon's reply while transactions are open.
const BUSY: &str = "BUSY";

impl LiveUpdate {
    /// Parses the arguments as the original does: the last one that is not an option is the file.
    ///
    /// # Errors
    /// A message that names a missing argument.
    pub(super) fn from_args(args: &[OsString]) -> Result<Self, &'static str> {
        let (mut file, mut arguments, mut force, mut timeout_seconds) = (None, None, false, 60);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("-c") => arguments = Some(args.next().ok_or("Missing command line value")?),
                Some("-t") => {
                    let value = args.next().ok_or("Missing timeout value")?;
                    timeout_seconds =
                        u32::try_from(getopt::leading_number(value)).unwrap_or(u32::MAX);
                }
                Some("-F") => force = true,
                _ => file = Some(arg),
            }
        }
        let file = file.ok_or("Missing binary specification")?.to_string_lossy().into_owned();
        let arguments = arguments.map(|text| text.to_string_lossy().into_owned());
        Ok(LiveUpdate { file, arguments, force, timeout_seconds })
    }

    pub(super) fn run(&self) -> CommandResult {
        // The daemon replies to the last command only when it has finished, or given up.
        let timeout =
            Duration::from_secs(self.timeout_seconds.into()).saturating_add(RETRY_INTERVAL * 30);
        let client =
            ConnectionArgs { timeout: Some(timeout), ..ConnectionArgs::default() }.open()?;
        if client.exists(STUBDOM_NODE).is_ok_and(|exists| exists) {
            return Err(CommandError::new(
                "live-update of a xenstore stub domain is not supported",
            )
            .with_hint("use the xenstore-control of the installed Xen"));
        }
        self.update(|words| send(&client, words), || thread::sleep(RETRY_INTERVAL))
    }

    fn update(
        &self,
        mut send: impl FnMut(&[&str]) -> CommandResult<String>,
        mut pause: impl FnMut(),
    ) -> CommandResult {
        check("set the program of the new daemon", send(&["-f", &self.file]))?;
        let mut start = || {
            if let Some(arguments) = &self.arguments {
                check("set the arguments of the new daemon", send(&["-c", arguments]))?;
            }
            let seconds = self.timeout_seconds.to_string();
            let mut words = vec!["-s", "-t", &seconds];
            words.extend(self.force.then_some("-F"));
            for _ in 0..self.timeout_seconds {
                match send(&words) {
                    Ok(reply) if reply == BUSY => pause(),
                    reply => return check("start the new daemon", reply),
                }
            }
            check("start the new daemon", Ok(BUSY.to_owned()))
        };
        start().inspect_err(|_| {
            // The first error is the one to report, even if aborting fails as well.
            let _ = send(&["-a"]);
        })
    }
}

/// The node that exists if the daemon runs in a stub domain.
const STUBDOM_NODE: &str = "/tool/xenstored/domid";

fn send(client: &Client, words: &[&str]) -> CommandResult<String> {
    Ok(client.control([&["live-update"], words].concat())?)
}

/// Returns an error unless the daemon has replied `OK`.
fn check(action: &str, reply: CommandResult<String>) -> CommandResult {
    let reply = reply?;
    if reply == "OK" {
        return Ok(true);
    }
    let hint = match &*reply {
        BUSY => "transactions are open; wait longer with -t, or ignore them with -F",
        _ => "nothing was changed",
    };
    let reply = printable(&reply);
    Err(CommandError::new(format!("live-update: cannot {action}: {reply}")).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<LiveUpdate, &'static str> {
        let args: Vec<OsString> = args.split_whitespace().map(OsString::from).collect();
        LiveUpdate::from_args(&args)
    }

    /// Runs an update with a daemon that sends `replies`, each once, and `OK` to other commands.
    /// Returns the commands sent, and whether the update succeeded.
    fn run(args: &str, replies: &[(&str, &str)]) -> (String, bool) {
        let mut sent = Vec::new();
        let mut replies = replies.to_vec();
        let send = |words: &[&str]| {
            sent.push(words.join(" "));
            let index = replies.iter().position(|(command, _)| *command == words[0]);
            Ok(index.map_or("OK", |index| replies.remove(index).1).to_owned())
        };
        let result = parsed(args).expect("valid arguments").update(send, || ());
        (sent.join("; "), result.is_ok())
    }

    #[test]
    fn arguments_are_parsed_as_by_the_original() {
        let all = parsed("-c x first -F -t 7 last").unwrap();
        let arguments = Some("x".into());
        assert_eq!(
            all,
            LiveUpdate { file: "last".into(), arguments, force: true, timeout_seconds: 7 }
        );
        assert_eq!(parsed("-Ft f").unwrap().timeout_seconds, 60);
        assert_eq!(parsed("f -c").unwrap_err(), "Missing command line value");
        assert_eq!(parsed("f -t").unwrap_err(), "Missing timeout value");
        assert_eq!(parsed("-F").unwrap_err(), "Missing binary specification");
    }

    #[test]
    fn commands_sent_match_the_original() {
        for (args, replies, wanted, succeeds) in [
            ("f", &[][..], "-f f; -s -t 60", true),
            ("-c x -F -t 7 f", &[], "-f f; -c x; -s -t 7 -F", true),
            ("-t 5 f", &[("-s", BUSY)], "-f f; -s -t 5; -s -t 5", true),
            ("-t 2 f", &[("-s", BUSY), ("-s", BUSY)], "-f f; -s -t 2; -s -t 2; -a", false),
            ("-t x f", &[], "-f f; -a", false),
            ("f", &[("-f", "no")], "-f f", false),
            ("-c x f", &[("-c", "no")], "-f f; -c x; -a", false),
            ("f", &[("-s", "no")], "-f f; -s -t 60; -a", false),
        ] {
            assert_eq!(run(args, replies), (wanted.to_owned(), succeeds), "{args}");
        }
    }
}
