//! The arrangement of the help: commands by task, and connection options only where they apply.

use std::fmt::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{completion, examples, terminal};

/// The commands by task. Every command is in one group.
const GROUPS: &[(&str, &[&str])] = &[
    ("Explore interactively", &["shell", "top"]),
    ("Read nodes", &["ls", "read", "list", "find", "exists", "get-perms"]),
    ("Change nodes", &["write", "edit", "mkdir", "rm", "cp", "mv", "chmod", "transaction"]),
    ("Follow changes", &["watch", "wait"]),
    ("Save and compare", &["dump", "restore", "diff"]),
    ("Daemon and domains", &["info", "ping", "domain", "quota", "features", "control"]),
    ("Without Xen, and for tests", &["serve", "proxy"]),
    ("Set up", &["completions", "man", "install-links"]),
];

/// The options in `ConnectionArgs` that a command cannot use: most of these commands connect to no
/// daemon.
const UNUSABLE: &[(&str, &[&str])] = &[
    ("completions", &["socket", "device", "timeout"]),
    ("man", &["socket", "device", "timeout"]),
    ("install-links", &["socket", "device", "timeout"]),
    // Its --socket is the one to create.
    ("serve", &["device", "timeout"]),
];

/// The number of columns for the name of a command, including the spaces on both sides.
const NAME_WIDTH: usize = 17;

/// The width of the help if standard output is not a terminal, and the largest width otherwise.
const MAX_WIDTH: usize = 100;

/// Completes the definition of the command line.
pub(crate) fn arrange(command: Command) -> Command {
    let command = completion::add_completers(command).mut_subcommands(|command| {
        let examples = examples_of(&command);
        // Only an argument with the same id keeps a global option out of the help.
        let hidden = |id: &&'static str| Arg::new(*id).long(*id).action(ArgAction::Set).hide(true);
        let hidden: Vec<_> = unusable(command.get_name()).iter().map(hidden).collect();
        let command = command.mut_args(|arg| match arg.get_id().as_str() {
            "path" | "paths" | "source" | "destination" => arg.value_parser(parse_path),
            _ => arg,
        });
        command.args(hidden).after_long_help(examples)
    });
    let commands = grouped(&command);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{commands}{{options}}{{after-help}}"
    ))
}

/// Returns the ids of the connection options that a command cannot use.
fn unusable(command: &str) -> &'static [&'static str] {
    UNUSABLE.iter().find(|(name, _)| *name == command).map_or(&[], |(_, options)| options)
}

/// Returns a connection option on the command line that its command cannot use, and the command.
///
/// Such an option has no value that `ConnectionArgs` could take.
pub(crate) fn unusable_option(matches: &ArgMatches) -> Option<(&'static str, &str)> {
    let name = matches.subcommand_name()?;
    let is_given = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    Some((unusable(name).iter().find(is_given)?, name))
}

/// Returns a path from the command line without the slash at its end, which completion adds.
fn parse_path(text: &str) -> Result<String, std::convert::Infallible> {
    let path = match text.strip_suffix('/') {
        Some(path) if !path.is_empty() && !path.ends_with('/') => path,
        _ => text,
    };
    Ok(path.to_owned())
}

/// Returns the examples of a command, for the end of its help.
fn examples_of(command: &Command) -> String {
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let mut text = String::new();
    for example in examples::of(command.get_name()) {
        if text.is_empty() {
            let _ = writeln!(text, "{header}Examples:{header:#}");
        }
        let _ = writeln!(text, "  {literal}{}{literal:#}", example.line);
        for line in terminal::wrap(example.text, width() - 10) {
            let _ = writeln!(text, "          {line}");
        }
    }
    text.trim_end().to_owned()
}

/// Returns the width of the help.
fn width() -> usize {
    terminal::columns().map_or(MAX_WIDTH, |columns| usize::from(columns).clamp(40, MAX_WIDTH))
}

/// Returns the list of commands, wrapped to the width of the terminal.
fn grouped(command: &Command) -> String {
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let mut text = String::new();
    let mut known = vec!["help"];
    let groups = GROUPS.iter().map(|(title, names)| (*title, names.to_vec()));
    for (title, names) in groups {
        // Some commands are features of their own.
        let names: Vec<_> =
            names.into_iter().filter(|name| command.find_subcommand(name).is_some()).collect();
        if names.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{header}{title}:{header:#}");
        for name in names {
            known.push(name);
            let Some(command) = command.find_subcommand(name) else { continue };
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let lines = terminal::wrap(&about, width() - NAME_WIDTH);
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
