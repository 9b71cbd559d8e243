//! The command line of `xs`: its options and subcommands.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use xs_client::Client;

use crate::commands::completions::Completions;
use crate::commands::control::Control;
use crate::commands::cp::{Cp, Mv};
use crate::commands::diff::Diff;
use crate::commands::domain::Domain;
use crate::commands::dump::Dump;
use crate::commands::edit::Edit;
use crate::commands::features::Features;
use crate::commands::find::Find;
use crate::commands::info::Info;
use crate::commands::man::Man;
use crate::commands::nodes::NodeCommand;
use crate::commands::ping::Ping;
use crate::commands::proxy::Proxy;
use crate::commands::quota::Quota;
use crate::commands::restore::Restore;
use crate::commands::serve::Serve;
#[cfg(feature = "shell")]
use crate::commands::shell::Shell;
#[cfg(feature = "top")]
use crate::commands::top::Top;
use crate::commands::transaction::Transaction;
use crate::commands::wait::Wait;
use crate::commands::watch::Watch;
use crate::compat::install_links::InstallLinks;
use crate::connection::ConnectionArgs;
use crate::error::CommandResult;
use crate::output::{self, Output};
use crate::{exit, help, terminal};

/// Command-line client for Xenstore
///
/// A PATH is absolute, such as /local/domain/5/name, or relative to the home of the domain that xs
/// runs in, such as name.
#[derive(Debug, Parser)]
#[command(name = "xs", version, max_term_width = 100, subcommand_value_name = "COMMAND")]
struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Node(NodeCommand),
    Find(Find),
    Cp(Cp),
    Mv(Mv),
    Diff(Diff),
    Edit(Edit),
    Watch(Watch),
    Wait(Wait),
    Control(Control),
    Domain(Domain),
    Features(Features),
    Quota(Quota),
    Dump(Dump),
    Restore(Restore),
    Transaction(Transaction),
    #[cfg(feature = "shell")]
    Shell(Shell),
    #[cfg(feature = "top")]
    Top(Top),
    Serve(Serve),
    Proxy(Proxy),
    Ping(Ping),
    Info(Info),
    InstallLinks(InstallLinks),
    Completions(Completions),
    Man(Man),
}

/// The exit status if the arguments are invalid.
const USAGE_STATUS: u8 = 2;

/// Runs the command that `args` name, and returns the exit status.
///
/// The status is 0 on success, 1 if the command fails or its answer is negative, and 2 if the
/// arguments are invalid.
pub(crate) fn main(args: Vec<OsString>) -> u8 {
    let mut output = Output::new();
    let result = match parse(args) {
        Ok(mut cli) => run(&mut cli, &mut output),
        Err(error) if error.use_stderr() => {
            output::message(styled(&error, &io::stderr()).trim_end());
            return USAGE_STATUS;
        }
        // Not an error: the text that --help or --version asks for.
        Err(help) => print(&styled(&help, &io::stdout()), &mut output),
    };
    exit::finish("xs", result, output)
}

/// Returns the definition of the command line.
pub(crate) fn command() -> clap::Command {
    help::arrange(Cli::command())
}

fn parse(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(args)?;
    if let Some((option, name)) = help::unusable_option(&matches) {
        let message = format!("the option '--{option}' cannot be used with 'xs {name}'");
        return Err(usage_error(&mut command, name, ErrorKind::ArgumentConflict, message));
    }
    let cli = Cli::from_arg_matches(&matches)?;
    let (name, message) = match &cli.command {
        Command::Node(node) => ("write", node.usage_error()),
        Command::Diff(diff) => ("diff", diff.usage_error()),
        _ => ("", None),
    };
    match message {
        Some(message) => {
            Err(usage_error(&mut command, name, ErrorKind::WrongNumberOfValues, message))
        }
        None => Ok(cli),
    }
}

/// Returns an error that ends with the usage of the subcommand `name`.
fn usage_error(
    command: &mut clap::Command,
    name: &str,
    kind: ErrorKind,
    message: impl Display,
) -> clap::Error {
    match command.find_subcommand_mut(name) {
        Some(command) => command.error(kind, message),
        None => command.error(kind, message),
    }
}

fn print(text: &str, output: &mut Output) -> CommandResult {
    output.write_all(text.as_bytes())?;
    Ok(true)
}

/// Returns the text of an error of clap, with colors if `stream` shows them.
fn styled(error: &clap::Error, stream: &impl IsTerminal) -> String {
    let text = error.render();
    if terminal::use_color(stream) { text.ansi().to_string() } else { text.to_string() }
}

fn run(cli: &mut Cli, output: &mut Output) -> CommandResult {
    if let Command::Node(command) = &mut cli.command {
        command.load()?;
    }
    let reconnects = match &cli.command {
        Command::Watch(watch) => watch.reconnect,
        #[cfg(feature = "shell")]
        Command::Shell(_) => true,
        #[cfg(feature = "top")]
        Command::Top(_) => true,
        _ => false,
    };
    let mut with_client = |run: &dyn Fn(&Client, &mut Output) -> CommandResult| {
        let client = cli.connection.open_with(cli.connection.builder().reconnect(reconnects))?;
        run(&client, output).map_err(|error| error.explain(&client))
    };
    match &cli.command {
        Command::Node(command) => with_client(&|client, output| command.run(client, output)),
        Command::Find(command) => with_client(&|client, output| command.run(client, output)),
        Command::Cp(command) => with_client(&|client, _| command.run(client)),
        Command::Mv(command) => with_client(&|client, _| command.run(client)),
        Command::Diff(command) if command.is_offline() => command.run(None, output),
        Command::Diff(command) => with_client(&|client, output| command.run(Some(client), output)),
        Command::Edit(command) => with_client(&|client, output| command.run(client, output)),
        Command::Watch(command) => with_client(&|client, output| command.run(client, output)),
        Command::Wait(command) => with_client(&|client, _| command.run(client)),
        Command::Control(command) => with_client(&|client, output| command.run(client, output)),
        Command::Domain(command) => with_client(&|client, output| command.run(client, output)),
        Command::Features(command) => with_client(&|client, output| command.run(client, output)),
        Command::Quota(command) => with_client(&|client, output| command.run(client, output)),
        Command::Dump(command) => with_client(&|client, output| command.run(client, output)),
        Command::Restore(command) => with_client(&|client, _| command.run(client)),
        Command::Transaction(command) => with_client(&|client, output| command.run(client, output)),
        #[cfg(feature = "shell")]
        Command::Shell(command) => with_client(&|client, output| command.run(client, output)),
        #[cfg(feature = "top")]
        Command::Top(command) => with_client(&|client, _| command.run(client)),
        Command::Serve(command) => command.run(&cli.connection, output),
        Command::Proxy(command) => command.run(&cli.connection, output),
        Command::Ping(command) => with_client(&|client, output| command.run(client, output)),
        Command::Info(command) => command.run(&cli.connection, output),
        Command::InstallLinks(command) => command.run(output),
        Command::Completions(command) => command.run(output),
        Command::Man(page) => page.run(command(), output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_definitions_are_consistent() {
        command().debug_assert();
    }
}
