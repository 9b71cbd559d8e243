//! The commands of `xs`.

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use xs_client::Client;

use crate::connect::Connect;
use crate::control::Control;
use crate::dump::{Dump, Restore};
use crate::extras::{Completions, InstallLinks, Man};
use crate::fail::{Fail, Outcome};
use crate::info::{Info, Ping};
use crate::serve::Serve;
use crate::transaction::TransactionCommand;
use crate::tree::TreeCommand;
use crate::watch::{Wait, Watch};

/// Xenstore on the command line
///
/// Paths are absolute (/local/domain/5/name) or relative to the home of the domain that this runs
/// in (name).
#[derive(Debug, Parser)]
#[command(name = "xs", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Tree(TreeCommand),
    Watch(Watch),
    Wait(Wait),
    Control(Control),
    Dump(Dump),
    Restore(Restore),
    Transaction(TransactionCommand),
    Serve(Serve),
    Ping(Ping),
    Info(Info),
    InstallLinks(InstallLinks),
    Completions(Completions),
    Man(Man),
}

/// Runs what the arguments say. Returns the exit status: 0 for done, 1 for failed or "no", 2 for
/// arguments that make no sense.
pub(crate) fn main(args: Vec<OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to be told if this fails.
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match run(&cli) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(fail) => fail.report("xs"),
    }
}

fn run(cli: &Cli) -> Outcome {
    let on = |run: &dyn Fn(&Client) -> Outcome| {
        let client = cli.connect.open()?;
        run(&client).map_err(|fail| fail.look_around(&client))
    };
    match &cli.command {
        Command::Tree(command) => on(&|client| command.run(client)),
        Command::Watch(command) => on(&|client| command.run(client)),
        Command::Wait(command) => on(&|client| command.run(client)),
        Command::Control(command) => on(&|client| command.run(client)),
        Command::Dump(command) => on(&|client| command.run(client)),
        Command::Restore(command) => on(&|client| command.run(client)),
        Command::Transaction(command) => on(&|client| command.run(client)),
        Command::Serve(command) => command.run(&cli.connect),
        Command::Ping(command) => on(&|client| command.run(client)),
        Command::Info(command) => command.run(&cli.connect).map_err(Fail::informed),
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
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }
}
