//! The current node and the transaction of a shell.

use std::io::Write;

use clap::error::ErrorKind;
use xs_client::{Client, Transaction, Tree};

use super::language::{self, Cd, ShellCommand};
use super::paths::resolve;
use crate::error::{CommandError, CommandResult};
use crate::home;
use crate::output::Output;

pub(super) struct Session<'a> {
    client: &'a Client,
    home: String,
    current: String,
    transaction: Option<Transaction>,
}

/// The continuation after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    /// The command has a negative answer, such as that of `exists`.
    Negative,
    Leave,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a Client, path: Option<&str>) -> CommandResult<Self> {
        let home = home::path(client)?;
        let mut session = Session { client, home, current: String::new(), transaction: None };
        match path {
            Some(path) => session.enter(resolve(&session.home, path))?,
            // Dom0 need not have a home.
            None if client.exists(&session.home).unwrap_or(false) => {
                session.current.clone_from(&session.home);
            }
            None => session.current = "/".to_owned(),
        }
        Ok(session)
    }

    pub(super) fn current(&self) -> &str {
        &self.current
    }

    pub(super) fn has_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    pub(super) fn prompt(&self) -> String {
        let transaction = if self.has_transaction() { " (transaction)" } else { "" };
        format!("{}{transaction}> ", self.current)
    }

    /// Runs a command.
    pub(super) fn run(&mut self, words: &[String], output: &mut Output) -> CommandResult<Next> {
        if words.is_empty() {
            return Ok(Next::Continue);
        }
        let command = match language::parse(words, &self.current) {
            Ok(command) => command,
            Err(help) if !help.use_stderr() || help.kind() == ErrorKind::DisplayHelp => {
                write!(output, "{help}")?;
                return Ok(Next::Continue);
            }
            Err(error) => return Err(usage_error(&error)),
        };
        let answer = self.perform(command, output).map_err(|error| error.explain(self.client));
        output.flush()?;
        answer
    }

    fn perform(&mut self, command: ShellCommand, output: &mut Output) -> CommandResult<Next> {
        let is_positive = match command {
            ShellCommand::Exit => return Ok(Next::Leave),
            ShellCommand::Pwd => {
                writeln!(output, "{}", self.current)?;
                true
            }
            ShellCommand::Cd(Cd { path }) => {
                self.enter(path.unwrap_or_else(|| self.home.clone()))?;
                true
            }
            ShellCommand::Begin => {
                if self.has_transaction() {
                    return Err(CommandError::new("begin: there is a transaction already"));
                }
                self.transaction = Some(self.client.start_transaction()?);
                true
            }
            ShellCommand::Commit => {
                self.take_transaction("commit")?.commit()?;
                true
            }
            ShellCommand::Abort => {
                self.take_transaction("abort")?.abort()?;
                true
            }
            ShellCommand::Node(mut node) => {
                node.load()?;
                match &self.transaction {
                    None => node.run(self.client, output)?,
                    Some(transaction) => {
                        let mut text = Vec::new();
                        let answer = node.perform(transaction, &mut text);
                        output.write_all(&text)?;
                        answer?
                    }
                }
            }
            ShellCommand::Find(find) => find.run(self.tree(), output)?,
            ShellCommand::Cp(cp) => match &self.transaction {
                None => cp.run(self.client)?,
                Some(transaction) => cp.perform(self.client, transaction)?,
            },
            ShellCommand::Mv(mv) => match &self.transaction {
                None => mv.run(self.client)?,
                Some(transaction) => mv.perform(self.client, transaction)?,
            },
        };
        Ok(if is_positive { Next::Continue } else { Next::Negative })
    }

    /// Makes a node the current one, if it exists.
    fn enter(&mut self, path: String) -> CommandResult<()> {
        // A node that may not be read exists, too.
        match self.tree().directory(&path) {
            Err(error) if error.code() != Some(&xs_client::ErrorCode::Access) => {
                return Err(CommandError::from(error));
            }
            _ => {}
        }
        self.current = path;
        Ok(())
    }

    fn take_transaction(&mut self, command: &str) -> CommandResult<Transaction> {
        self.transaction.take().ok_or_else(|| {
            CommandError::new(format!("{command}: there is no transaction"))
                .with_hint("`begin` starts one")
        })
    }

    fn tree(&self) -> &Tree {
        match &self.transaction {
            Some(transaction) => transaction,
            None => self.client,
        }
    }
}

/// Returns the first paragraph of an error of clap, without its prefix.
fn usage_error(error: &clap::Error) -> CommandError {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or_default().trim_end();
    CommandError::new(message)
        .with_hint("`help` lists the commands, and `help COMMAND` explains one")
}
