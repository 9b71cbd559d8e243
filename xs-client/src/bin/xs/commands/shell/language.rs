//! The commands of the shell.

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::paths::resolve;
use crate::commands::cp::{Cp, Mv};
use crate::commands::find::Find;
use crate::commands::nodes::NodeCommand;

/// A line of the shell: a command and its arguments.
#[derive(Debug, Parser)]
#[command(
    name = "xs",
    no_binary_name = true,
    disable_help_flag = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    help_template = "{subcommands}",
    max_term_width = 100
)]
struct Line {
    #[command(subcommand)]
    command: ShellCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ShellCommand {
    /// Change the current node; without PATH, to the home of this domain
    Cd(Cd),
    /// Print the path of the current node
    Pwd,
    #[command(flatten)]
    Node(NodeCommand),
    Find(Find),
    Cp(Cp),
    Mv(Mv),
    /// Start a transaction
    Begin,
    /// Make the changes of the transaction
    Commit,
    /// Forget the changes of the transaction
    Abort,
    /// Leave
    #[command(alias = "quit")]
    Exit,
}

#[derive(Debug, Args)]
pub(super) struct Cd {
    /// Path of the node
    pub(super) path: Option<String>,
}

/// Parses a line, whose paths are relative to `current`.
pub(super) fn parse(words: &[String], current: &str) -> Result<ShellCommand, clap::Error> {
    let words = words.iter().map(|word| if word == "cat" { "read" } else { word.as_str() });
    let matches = Line::command().try_get_matches_from(words)?;
    let mut command = Line::from_arg_matches(&matches)?.command;
    // In the shell, commands that list a subtree start at the current node by default.
    let is_default = match matches.subcommand() {
        Some(("ls" | "find", matches)) => {
            matches.value_source("paths") == Some(ValueSource::DefaultValue)
        }
        _ => false,
    };
    let absolute = |path: &mut String| {
        *path = if is_default { current.to_owned() } else { resolve(current, path) };
    };
    match &mut command {
        ShellCommand::Node(node) => node.for_each_path(absolute),
        ShellCommand::Find(find) => find.for_each_path(absolute),
        ShellCommand::Cp(cp) => cp.for_each_path(absolute),
        ShellCommand::Mv(mv) => mv.for_each_path(absolute),
        ShellCommand::Cd(Cd { path: Some(path) }) => absolute(path),
        _ => {}
    }
    if let ShellCommand::Node(node) = &command {
        if let Some(message) = node.usage_error() {
            let kind = clap::error::ErrorKind::WrongNumberOfValues;
            return Err(Line::command().error(kind, message));
        }
    }
    Ok(command)
}

/// Returns the names of all commands.
pub(super) fn names() -> Vec<String> {
    let command = Line::command();
    let names = command.get_subcommands().map(|command| command.get_name().to_owned());
    names.chain(["cat".to_owned(), "help".to_owned()]).collect()
}
