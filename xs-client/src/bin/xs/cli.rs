//! The command line of `xs`: its options and subcommands.

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use xs_client::Client;

use crate::commands::completions::Completions;
use crate::commands::control::Control;
use crate::commands::dump::Dump;
use crate::commands::info::Info;
use crate::commands::man::Man;
use crate::commands::nodes::NodeCommand;
use crate::commands::ping::Ping;
use crate::commands::restore::Restore;
use crate::commands::serve::Serve;
use crate::commands::transaction::Transaction;
use crate::commands::wait::Wait;
use crate::commands::watch::Watch;
use crate::compat::install_links::InstallLinks;
use crate::connection::ConnectionArgs;
use crate::error::CommandResult;

/// Command-line client for Xenstore
///
/// Paths are absolute (/local/domain/5/name), or relative to the home of the domain that xs runs in
/// (name).
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
    Watch(Watch),
    Wait(Wait),
    Control(Control),
    Dump(Dump),
    Restore(Restore),
    Transaction(Transaction),
    Serve(Serve),
    Ping(Ping),
    Info(Info),
    InstallLinks(InstallLinks),
    Completions(Completions),
    Man(Man),
}

/// Runs the command that `args` name, and returns the exit status.
///
/// The status is 0 on success, 1 if the command fails or its answer is negative, and 2 if the
/// arguments are invalid.
pub(crate) fn main(args: Vec<OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // A failure to print cannot be reported anywhere.
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match run(&cli) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => error.report("xs"),
    }
}

fn run(cli: &Cli) -> CommandResult {
    let with_client = |run: &dyn Fn(&Client) -> CommandResult| {
        let client = cli.connection.open()?;
        run(&client).map_err(|error| error.suggest_existing_node(&client))
    };
    match &cli.command {
        Command::Node(command) => with_client(&|client| command.run(client)),
        Command::Watch(command) => with_client(&|client| command.run(client)),
        Command::Wait(command) => with_client(&|client| command.run(client)),
        Command::Control(command) => with_client(&|client| command.run(client)),
        Command::Dump(command) => with_client(&|client| command.run(client)),
        Command::Restore(command) => with_client(&|client| command.run(client)),
        Command::Transaction(command) => with_client(&|client| command.run(client)),
        Command::Serve(command) => command.run(&cli.connection),
        Command::Ping(command) => with_client(&|client| command.run(client)),
        Command::Info(command) => command.run(&cli.connection),
        Command::InstallLinks(command) => command.run(),
        Command::Completions(command) => command.run::<Cli>(),
        Command::Man(command) => command.run::<Cli>(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
