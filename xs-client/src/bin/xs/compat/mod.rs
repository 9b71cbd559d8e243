//! In place of the xenstore tools: their names, options, output and exit statuses.
//!
//! The commands themselves are those of `xs`; here is only what differs in how they are called.
//! What the tools print on standard error is for people, and is not copied.

mod getopt;
mod live_update;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use xs_client::{Access, Client, DomId, Permission};

use self::live_update::LiveUpdate;
use crate::connect::Connect;
use crate::control::Control;
use crate::fail::{Fail, Outcome};
use crate::ls::Ls;
use crate::tree::{Chmod, Exists, List, Read, Rm, TreeCommand, WriteValues};
use crate::watch::Watch;

/// One of the xenstore tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `xenstore`, whose first argument names the mode.
    Any,
    Mode(Mode),
    /// `xenstore-control`, which is a program of its own.
    Control,
}

/// What a tool does, and how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    name: &'static str,
    /// The letters of its options.
    options: &'static [u8],
    usage: &'static str,
    /// How many arguments it needs.
    least: usize,
}

/// All tools that there are links for.
pub(crate) const LINKS: [&str; 10] = [
    "xenstore",
    "xenstore-chmod",
    "xenstore-control",
    "xenstore-exists",
    "xenstore-list",
    "xenstore-ls",
    "xenstore-read",
    "xenstore-rm",
    "xenstore-watch",
    "xenstore-write",
];

const MODES: [Mode; 8] = [
    mode("chmod", b"hurs", "[-h] [-u] [-r] [-s] key <mode [modes...]>", 1),
    mode("exists", b"hs", "[-h] [-s] key [...]", 1),
    mode("list", b"hps", "[-h] [-p] [-s] key [...]", 1),
    mode("ls", b"hfps", "[-h] [-f] [-p] [-s] [path]", 0),
    mode("read", b"hpsR", "[-h] [-p] [-s] [-R] key [...]", 1),
    mode("rm", b"hst", "[-h] [-s] [-t] key [...]", 1),
    mode("watch", b"hsn", "[-h] [-n NR] key", 1),
    mode("write", b"hsR", "[-h] [-s] [-R] key value [...]", 2),
];

const fn mode(
    name: &'static str,
    options: &'static [u8],
    usage: &'static str,
    least: usize,
) -> Mode {
    Mode { name, options, usage, least }
}

/// The options of all modes; `-s` says something about sockets that has no meaning any more.
const OPTIONS: [getopt::Definition; 9] = [
    (b'h', "help", false),
    (b'f', "flat", false),
    (b'p', "prefix", false),
    (b's', "", false),
    (b't', "tidy", false),
    (b'u', "upto", false),
    (b'r', "recurse", false),
    (b'R', "raw", false),
    (b'n', "number", true),
];

impl Tool {
    /// The tool that has this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix("xenstore")?.strip_prefix('-') {
            None if name == "xenstore" => Some(Tool::Any),
            None => None,
            Some("control") => Some(Tool::Control),
            Some(mode) => Mode::from_name(mode).map(Tool::Mode),
        }
    }

    /// Runs it, as `name`. Returns the exit status.
    pub(crate) fn main(self, name: &str, args: &[OsString]) -> u8 {
        match self {
            Tool::Mode(mode) => mode.main(name, name, args),
            Tool::Control => control(name, args),
            Tool::Any => {
                let Some((first, rest)) = args.split_first() else {
                    eprintln!("{name}: Usage: {name} <mode> [-h] [...]");
                    return 1;
                };
                let first = first.to_string_lossy();
                match Mode::from_name(&first) {
                    Some(mode) => mode.main(name, &format!("{name} {first}"), rest),
                    None => {
                        let modes: Vec<_> = MODES.iter().map(|mode| mode.name).collect();
                        eprintln!("{name}: unknown mode {first}; there are {}", modes.join(", "));
                        1
                    }
                }
            }
        }
    }
}

impl Mode {
    fn from_name(name: &str) -> Option<Self> {
        MODES.iter().find(|mode| mode.name == name).copied()
    }

    fn main(self, name: &str, called: &str, args: &[OsString]) -> u8 {
        let parsed = getopt::parse(args, &OPTIONS);
        for complaint in &parsed.complaints {
            eprintln!("{name}: {complaint}");
        }
        let has = |letter| parsed.options.iter().any(|(option, _)| *option == letter);
        let is_fit = parsed.options.iter().all(|(option, _)| self.options.contains(option));
        let is_odd = self.name == "write" && parsed.rest.len() % 2 == 1;
        if !is_fit || has(b'h') || parsed.rest.len() < self.least || is_odd {
            eprintln!("{name}: Usage: {called} {}", self.usage);
            return 1;
        }
        match self.run(has, &parsed) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(fail) => fail.report(name),
        }
    }

    fn run(self, has: impl Fn(u8) -> bool, parsed: &getopt::Parsed) -> Outcome {
        let client = Connect::default().open()?;
        let mut keys = parsed.rest.iter().map(|key| key.to_string_lossy().into_owned());
        let command = match self.name {
            "read" => {
                TreeCommand::Read(Read { prefix: has(b'p'), raw: has(b'R'), keys: keys.collect() })
            }
            "write" => {
                TreeCommand::Write(WriteValues { raw: has(b'R'), pairs: parsed.rest.clone() })
            }
            "exists" => TreeCommand::Exists(Exists { keys: keys.collect() }),
            "list" => TreeCommand::List(List { prefix: has(b'p'), keys: keys.collect() }),
            "rm" => TreeCommand::Rm(Rm { tidy: has(b't'), keys: keys.collect() }),
            "chmod" => TreeCommand::Chmod(Chmod {
                upto: has(b'u'),
                recurse: has(b'r'),
                key: keys.next().unwrap_or_default(),
                perms: parsed.rest[1..].iter().map(permission).collect::<Outcome<_>>()?,
            }),
            "watch" => return watch(&client, parsed),
            _ => TreeCommand::Ls(Ls {
                flat: has(b'f'),
                perms: has(b'p'),
                json: false,
                strict: true,
                keys: if parsed.rest.is_empty() { vec!["/".into()] } else { keys.collect() },
            }),
        };
        command.run(&client).map_err(|fail| fail.look_around(&client))
    }
}

fn watch(client: &Client, parsed: &getopt::Parsed) -> Outcome {
    let number = parsed.options.iter().rev().find(|(letter, _)| *letter == b'n');
    let number = number.map_or(-1, |(_, number)| getopt::number(number));
    let keys: Vec<_> = parsed.rest.iter().map(|key| key.to_string_lossy().into_owned()).collect();
    // The tools watch all with one token, which daemons refuse.
    if let Some(twice) = keys.iter().enumerate().find(|(at, key)| keys[..*at].contains(key)) {
        return Err(Fail::other(format!("{} is watched twice", twice.1), ""));
    }
    // All negative numbers but this one are less than the first event.
    let number = if number == -1 { None } else { Some(u64::try_from(number).unwrap_or(0)) };
    Watch { number, depth: None, seconds: None, keys }.run(client)
}

/// A letter and a number; where there is no number it is 0, and what follows it is left out.
fn permission(text: &OsString) -> Outcome<Permission> {
    let wrong = || {
        let what = format!("{text:?} is no permission");
        Fail::other(what, "give a letter and a domain id: n5, r5, w5 or b5")
    };
    let (letter, number) = text.as_bytes().split_first().ok_or_else(wrong)?;
    let access = Access::from_letter(*letter).ok_or_else(wrong)?;
    let domid = getopt::number(OsStr::from_bytes(number));
    let domid = u16::try_from(domid).map_err(|_| wrong())?;
    Ok(Permission::new(DomId::new(domid), access))
}

fn control(name: &str, args: &[OsString]) -> u8 {
    if args.is_empty() {
        eprintln!("Usage:\n{name} <command> [<arg>...]");
        return 2;
    }
    let done = if args[0] == "live-update" {
        match LiveUpdate::from_args(&args[1..]) {
            Ok(update) => update.run(),
            Err(what) => {
                eprintln!("{name}: {what}");
                return 2;
            }
        }
    } else {
        let words = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Connect::default()
            .open()
            .map_err(Fail::from)
            .and_then(|client| Control { words }.run(&client))
    };
    match done {
        Ok(_) => 0,
        Err(fail) => {
            fail.report(name);
            3
        }
    }
}
