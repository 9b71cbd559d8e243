//! The arrangement of the help: commands by task, and connection options only where they apply.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use crate::terminal;

/// The commands by task. Every command is in one group.
const GROUPS: &[(&str, &[&str])] = &[
    ("Look at nodes", &["ls", "read", "list", "find", "exists", "get-perms"]),
    ("Change nodes", &["write", "edit", "mkdir", "rm", "cp", "mv", "chmod", "transaction"]),
    ("Follow changes", &["watch", "wait"]),
    ("Save and compare", &["dump", "restore", "diff"]),
    ("Daemon and domains", &["info", "ping", "domain", "quota", "features", "control"]),
    ("Without Xen, and for tests", &["serve", "proxy"]),
    ("Set up", &["completions", "man", "install-links"]),
];

/// The commands that connect to no daemon.
const OFFLINE: &[&str] = &["completions", "man", "install-links"];

/// The ids of the options in `ConnectionArgs`.
const CONNECTION: &[&str] = &["socket", "device", "timeout"];

/// The columns of the name of a command, with the indents at both sides.
const NAME_WIDTH: usize = 17;

/// The width of the help if standard output is not a terminal, and the largest width otherwise.
const MAX_WIDTH: usize = 100;

/// Completes the definition of the command line.
pub(crate) fn arrange(mut command: Command) -> Command {
    for name in OFFLINE {
        command = command.mut_subcommand(name, |command| {
            // A global option does not replace an argument with the same id.
            command.args(
                CONNECTION
                    .iter()
                    .map(|id| Arg::new(*id).long(*id).action(ArgAction::Set).hide(true)),
            )
        });
    }
    let commands = grouped(&command);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{commands}{{options}}{{after-help}}"
    ))
}

/// Returns the list of commands, wrapped to the width of the terminal.
fn grouped(command: &Command) -> String {
    let width =
        terminal::columns().map_or(MAX_WIDTH, |columns| usize::from(columns).min(MAX_WIDTH));
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let mut text = String::new();
    let mut known = vec!["help"];
    let groups = GROUPS.iter().map(|(title, names)| (*title, names.to_vec()));
    for (title, names) in groups {
        let _ = writeln!(text, "{header}{title}:{header:#}");
        for name in names {
            known.push(name);
            let Some(command) = command.find_subcommand(name) else { continue };
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let lines = terminal::wrap(&about, width.saturating_sub(NAME_WIDTH).max(20));
            for (at, line) in lines.iter().enumerate() {
                let (shown, pad) = if at == 0 {
                    (name, NAME_WIDTH - 2 - name.len())
                } else {
                    ("", NAME_WIDTH - 2)
                };
                let _ = writeln!(text, "  {literal}{shown}{literal:#}{:pad$}{line}", "");
            }
        }
        text.push('\n');
    }
    debug_assert!(
        command.get_subcommands().all(|command| known.contains(&command.get_name())),
        "each command is in a group"
    );
    let options = "Options";
    let _ = writeln!(text, "{header}{options}:{header:#}");
    text
}
