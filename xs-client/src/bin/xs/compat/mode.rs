//! The tools that are modes of `xenstore`: `xenstore-read`, `xenstore-ls` and so on.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use xs_client::{Access, Client, DomId, Permission};

use super::getopt::{self, Parsed};
use crate::commands::chmod::Chmod;
use crate::commands::exists::Exists;
use crate::commands::list::List;
use crate::commands::ls::Ls;
use crate::commands::nodes::NodeCommand;
use crate::commands::read::Read;
use crate::commands::rm::Rm;
use crate::commands::watch::Watch;
use crate::commands::write::WriteValues;
use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};
use crate::exit;
use crate::output::{self, Output};

/// A mode, and how it is invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    name: &'static str,
    /// The letters of its options, apart from `-h`.
    options: &'static [u8],
    usage: &'static str,
    min_args: usize,
}

/// `-s` once selected the socket. All modes accept and ignore it.
const MODES: [Mode; 8] = [
    mode("chmod", b"urs", "[-h] [-u] [-r] key <mode [modes...]>", 1),
    mode("exists", b"s", "[-h] key", 1),
    mode("list", b"ps", "[-h] [-p] key [...]", 1),
    mode("ls", b"fps", "[-h] [-f] [-p] [path]", 0),
    mode("read", b"psR", "[-h] [-p] [-R] key [...]", 1),
    mode("rm", b"st", "[-h] [-t] key [...]", 1),
    mode("watch", b"snd", "[-h] [-n NR] key", 1),
    mode("write", b"sR", "[-h] [-R] key value [...]", 2),
];

const fn mode(
    name: &'static str,
    options: &'static [u8],
    usage: &'static str,
    min_args: usize,
) -> Mode {
    Mode { name, options, usage, min_args }
}

/// The options of all modes.
const OPTIONS: [getopt::Definition; 10] = [
    (b'h', "help", false),
    (b'f', "flat", false),
    (b'p', "prefix", false),
    (b's', "", false),
    (b't', "tidy", false),
    (b'u', "upto", false),
    (b'r', "recurse", false),
    (b'R', "raw", false),
    (b'n', "number", true),
    (b'd', "depth", true),
];

impl Mode {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        MODES.iter().find(|mode| mode.name == name).copied()
    }

    pub(super) fn names() -> Vec<&'static str> {
        MODES.iter().map(|mode| mode.name).collect()
    }

    /// Runs the mode in a tool named `name`. `invocation` is how the usage message shows it.
    /// Returns the exit status.
    pub(super) fn main(self, name: &str, invocation: &str, args: &[OsString]) -> u8 {
        let parsed = getopt::parse(args, &OPTIONS);
        for error in &parsed.errors {
            output::message(format_args!("{name}: {error}"));
        }
        if let Some(status) = self.usage_status(&parsed) {
            output::message(format_args!("{name}: Usage: {invocation} {}", self.usage));
            return status;
        }
        let mut output = Output::of_xenstore_tool();
        let result = self.run(&parsed, &mut output);
        exit::finish(name, result, output)
    }

    /// Returns the exit status if the tool only prints its usage: 0 for `-h`, and 1 for arguments
    /// that the mode does not accept. The first such option decides.
    fn usage_status(self, parsed: &Parsed) -> Option<u8> {
        let mut letters = parsed.options.iter().map(|(letter, _)| *letter);
        match letters.find(|letter| !self.options.contains(letter)) {
            Some(b'h') => return Some(0),
            Some(_) => return Some(1),
            None => {}
        }
        let lacks_value = self.name == "write" && parsed.operands.len() % 2 == 1;
        (parsed.operands.len() < self.min_args || lacks_value).then_some(1)
    }

    fn run(self, parsed: &Parsed, output: &mut Output) -> CommandResult {
        let client = ConnectionArgs::default().open()?;
        let mut paths = parsed.operands.iter().map(|path| path.to_string_lossy().into_owned());
        let command = match self.name {
            "read" => NodeCommand::Read(Read {
                prefix: parsed.has(b'p'),
                raw: parsed.has(b'R'),
                json: false,
                strict: true,
                paths: paths.collect(),
            }),
            "write" => NodeCommand::Write(WriteValues {
                raw: parsed.has(b'R'),
                from: None,
                content: None,
                pairs: parsed.operands.clone(),
            }),
            "exists" => NodeCommand::Exists(Exists { paths: paths.collect() }),
            "list" => NodeCommand::List(List {
                prefix: parsed.has(b'p'),
                json: false,
                paths: paths.collect(),
            }),
            "rm" => NodeCommand::Rm(Rm { tidy: parsed.has(b't'), paths: paths.collect() }),
            "chmod" => NodeCommand::Chmod(Chmod {
                upto: parsed.has(b'u'),
                recurse: parsed.has(b'r'),
                path: paths.next().unwrap_or_default(),
                perms: parsed.operands[1..]
                    .iter()
                    .map(parse_permission)
                    .collect::<CommandResult<_>>()?,
            }),
            "watch" => return watch(&client, parsed, output),
            _ => NodeCommand::Ls(Ls {
                flat: parsed.has(b'f'),
                perms: parsed.has(b'p'),
                depth: None,
                json: false,
                strict: true,
                paths: if parsed.operands.is_empty() { vec!["/".into()] } else { paths.collect() },
            }),
        };
        command.run(&client, output).map_err(|error| error.explain(&client))
    }
}

fn watch(client: &Client, parsed: &Parsed, output: &mut Output) -> CommandResult {
    let number_of = |wanted| {
        let last = parsed.options.iter().rev().find(|(letter, _)| *letter == wanted);
        last.map_or(-1, |(_, number)| getopt::leading_number(number))
    };
    let (number, depth) = (number_of(b'n'), number_of(b'd'));
    let paths: Vec<_> =
        parsed.operands.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    // The original uses one token for all watches. Daemons refuse a second watch with the same path
    // and token.
    let mut repeated = paths.iter().enumerate().filter(|(at, path)| paths[..*at].contains(path));
    if let Some((_, path)) = repeated.next() {
        return Err(CommandError::new(format!("cannot watch {path} twice")));
    }
    // -1 is no limit. The original exits before the first event for any other negative number.
    let number = if number == -1 { None } else { Some(u64::try_from(number).unwrap_or(0)) };
    // Negative numbers are no limit either.
    let depth = u32::try_from(depth).ok();
    Watch { number, depth, strict: true, paths, ..Watch::default() }.run(client, output)
}

/// Parses a permission as the original does: a missing domain ID is 0, and text after its digits is
/// ignored.
fn parse_permission(text: &OsString) -> CommandResult<Permission> {
    let invalid = || {
        CommandError::new(format!("invalid permission {text:?}"))
            .with_hint("a permission is a letter and a domain ID: n5, r5, w5 or b5")
    };
    let (letter, number) = text.as_bytes().split_first().ok_or_else(invalid)?;
    let access = Access::from_letter(*letter).ok_or_else(invalid)?;
    let domid = getopt::leading_number(OsStr::from_bytes(number));
    let domid = u16::try_from(domid).map_err(|_| invalid())?;
    Ok(Permission::new(DomId::new(domid), access))
}
