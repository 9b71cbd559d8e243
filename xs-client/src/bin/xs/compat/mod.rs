//! Compatibility with the xenstore tools: their names, options, output and exit statuses.
//!
//! The tools share the commands of `xs`. Messages on standard error are not those of the originals.

mod control;
mod getopt;
pub(crate) mod install_links;
mod live_update;
mod mode;

use std::ffi::OsString;

use self::mode::Mode;
use crate::output;

/// One of the xenstore tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `xenstore`, whose first argument names a mode.
    Xenstore,
    /// `xenstore-read`, `xenstore-ls` and so on.
    Mode(Mode),
    /// `xenstore-control`.
    Control,
}

impl Tool {
    /// Returns the tool with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix("xenstore")?.strip_prefix('-') {
            None if name == "xenstore" => Some(Tool::Xenstore),
            None => None,
            Some("control") => Some(Tool::Control),
            Some(mode) => Mode::from_name(mode).map(Tool::Mode),
        }
    }

    /// Runs the tool, invoked as `name`. Returns the exit status.
    pub(crate) fn main(self, name: &str, args: &[OsString]) -> u8 {
        match self {
            Tool::Mode(mode) => mode.main(name, name, args),
            Tool::Control => control::main(name, args),
            Tool::Xenstore => {
                let Some((first, rest)) = args.split_first() else {
                    output::message(format_args!("{name}: Usage: {name} <mode> [-h] [...]"));
                    return 1;
                };
                let first = first.to_string_lossy();
                match Mode::from_name(&first) {
                    Some(mode) => mode.main(name, &format!("{name} {first}"), rest),
                    None => {
                        let modes = Mode::names().join(", ");
                        output::message(format_args!(
                            "{name}: unknown mode {first:?}, expected one of {modes}"
                        ));
                        1
                    }
                }
            }
        }
    }
}
