//! `xenstore-control live-update`: has another xenstored take over, by several commands in turn.

use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use xs_client::Client;

use super::getopt;
use crate::connect::Connect;
use crate::fail::{Fail, Outcome};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LiveUpdate {
    file: String,
    /// The arguments of the new daemon.
    arguments: Option<String>,
    /// Go on although there are transactions open, when the time is up.
    force: bool,
    /// How long to wait for all transactions to end.
    seconds: u32,
}

/// Between two attempts while the daemon is busy.
const PAUSE: Duration = Duration::from_secs(1);

/// The daemon's answer as long as there are transactions open.
const BUSY: &str = "BUSY";

impl LiveUpdate {
    /// As the original reads them: what is no option is the file, and the last one counts.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn from_args(args: &[OsString]) -> Result<Self, &'static str> {
        let (mut file, mut arguments, mut force, mut seconds) = (None, None, false, 60);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("-c") => arguments = Some(args.next().ok_or("Missing command line value")?),
                Some("-t") => {
                    let value = args.next().ok_or("Missing timeout value")?;
                    seconds = u32::try_from(getopt::number(value)).unwrap_or(u32::MAX);
                }
                Some("-F") => force = true,
                _ => file = Some(arg),
            }
        }
        let file = file.ok_or("Missing binary specification")?.to_string_lossy().into_owned();
        let arguments = arguments.map(|text| text.to_string_lossy().into_owned());
        Ok(LiveUpdate { file, arguments, force, seconds })
    }

    pub(super) fn run(&self) -> Outcome {
        // The daemon may take all the time that it is given.
        let timeout = Duration::from_secs(self.seconds.into()).saturating_add(PAUSE * 30);
        let client = Connect { timeout: Some(timeout), ..Connect::default() }.open()?;
        if client.exists(STUBDOM).is_ok_and(|is_there| is_there) {
            return Err(Fail::other(
                "this xenstored runs in a domain of its own",
                "only the xenstore-control of its Xen can load another one into it",
            ));
        }
        self.update(|words| ask(&client, words), || thread::sleep(PAUSE))
    }

    fn update(
        &self,
        mut ask: impl FnMut(&[&str]) -> Outcome<String>,
        mut pause: impl FnMut(),
    ) -> Outcome {
        done("set the new daemon", ask(&["-f", &self.file]))?;
        let mut start = || {
            if let Some(arguments) = &self.arguments {
                done("set the new daemon's arguments", ask(&["-c", arguments]))?;
            }
            let seconds = self.seconds.to_string();
            let mut words = vec!["-s", "-t", &seconds];
            words.extend(self.force.then_some("-F"));
            for _ in 0..self.seconds {
                match ask(&words) {
                    Ok(answer) if answer == BUSY => pause(),
                    answer => return done("start the new daemon", answer),
                }
            }
            done("start the new daemon", Ok(BUSY.to_owned()))
        };
        start().inspect_err(|_| {
            // It failed already, for a reason that tells more.
            let _ = ask(&["-a"]);
        })
    }
}

/// Where a xenstored in a domain of its own says so.
const STUBDOM: &str = "/tool/xenstored/domid";

fn ask(client: &Client, words: &[&str]) -> Outcome<String> {
    Ok(client.control([&["live-update"], words].concat())?)
}

fn done(what: &str, answer: Outcome<String>) -> Outcome {
    match answer? {
        answer if answer == "OK" => Ok(true),
        answer => {
            let next = match &*answer {
                BUSY => {
                    "there are transactions open: -t gives more time, -F does not wait for them"
                }
                _ => "nothing has been changed",
            };
            Err(Fail::other(format!("live-update: cannot {what}: {answer}"), next))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<LiveUpdate, &'static str> {
        let args: Vec<OsString> = args.split_whitespace().map(OsString::from).collect();
        LiveUpdate::from_args(&args)
    }

    /// What is asked of a daemon that gives these answers, and `OK` to all else.
    fn asked(args: &str, answers: &[(&str, &str)]) -> (String, bool) {
        let mut asked = Vec::new();
        let mut answers = answers.to_vec();
        let ask = |words: &[&str]| {
            asked.push(words.join(" "));
            let known = answers.iter().position(|(word, _)| *word == words[0]);
            Ok(known.map_or("OK", |at| answers.remove(at).1).to_owned())
        };
        let done = parsed(args).expect("they are right").update(ask, || ());
        (asked.join("; "), done.is_ok())
    }

    #[test]
    fn arguments_are_read_as_the_original_reads_them() {
        let all = parsed("-c x first -F -t 7 last").unwrap();
        let arguments = Some("x".into());
        assert_eq!(all, LiveUpdate { file: "last".into(), arguments, force: true, seconds: 7 });
        assert_eq!(parsed("-Ft f").unwrap().seconds, 60);
        assert_eq!(parsed("f -c").unwrap_err(), "Missing command line value");
        assert_eq!(parsed("f -t").unwrap_err(), "Missing timeout value");
        assert_eq!(parsed("-F").unwrap_err(), "Missing binary specification");
    }

    #[test]
    fn the_daemon_is_asked_as_the_original_asks() {
        for (args, answers, wanted, is_done) in [
            ("f", &[][..], "-f f; -s -t 60", true),
            ("-c x -F -t 7 f", &[], "-f f; -c x; -s -t 7 -F", true),
            ("-t 5 f", &[("-s", BUSY)], "-f f; -s -t 5; -s -t 5", true),
            ("-t 2 f", &[("-s", BUSY), ("-s", BUSY)], "-f f; -s -t 2; -s -t 2; -a", false),
            ("-t x f", &[], "-f f; -a", false),
            ("f", &[("-f", "no")], "-f f", false),
            ("-c x f", &[("-c", "no")], "-f f; -c x; -a", false),
            ("f", &[("-s", "no")], "-f f; -s -t 60; -a", false),
        ] {
            assert_eq!(asked(args, answers), (wanted.to_owned(), is_done), "{args}");
        }
    }
}
