//! `xs transaction`: a script of commands that takes effect as a whole or not at all.

use std::fmt;
use std::io::Write;

use clap::{Args, Parser};
use xs_client::{Client, Error, ErrorKind};

use super::nodes::NodeCommand;
use crate::error::{CommandError, CommandResult};
use crate::input;
use crate::output::{self, Output};
use crate::split_words::split_words;

/// Run several commands in one transaction: all or none
///
/// Each line of the input is a command with its arguments, as on the command line: read, write,
/// exists, list, ls, rm, mkdir, chmod or get-perms. Arguments with spaces need 'single' or "double"
/// quotes. Empty lines and lines that start with # are ignored.
///
/// If a command fails, or `exists` finds that a node does not exist, the transaction is aborted and
/// the exit status is 1. If another client has changed a node that the transaction uses, all
/// commands run again. The output is printed after the transaction has been committed.
#[derive(Debug, Args)]
pub(crate) struct Transaction {
    /// File to read [default: standard input]
    file: Option<String>,
}

#[derive(Debug, Parser)]
#[command(name = "transaction", no_binary_name = true, disable_help_flag = true)]
struct Line {
    #[command(subcommand)]
    command: NodeCommand,
}

/// The error that aborts a transaction after a command with a negative answer.
#[derive(Debug)]
struct Negative;

impl Transaction {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let (name, script) = input::read(self.file.as_deref())?;
        let commands = parse(&script).map_err(|(line, error)| {
            CommandError::new(format!("{name}: line {line}: {error}"))
                .with_hint("nothing was changed; `xs transaction --help` lists the commands")
        })?;
        let mut text = Vec::new();
        // The line of the command that runs; `None` while none does.
        let mut current = None;
        let result = client.transaction(|tx| {
            text.clear();
            for (line, command) in &commands {
                current = Some(*line);
                if !command.perform(tx, &mut text)? {
                    return Err(Error::other(Negative));
                }
            }
            current = None;
            Ok(())
        });
        match result {
            Ok(()) => {
                output
                    .write_all(&text)
                    .and_then(|()| output.flush())
                    .map_err(CommandError::output_after("transaction committed"))?;
                Ok(true)
            }
            Err(error) if is_negative(&error) => Ok(false),
            Err(error) => {
                if let Some(line) = current {
                    output::message(format_args!(
                        "xs: {name}: line {line} failed; nothing was changed"
                    ));
                }
                Err(error.into())
            }
        }
    }
}

fn is_negative(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Other(source) if source.is::<Negative>())
}

/// Returns the commands, each with the number of its line.
fn parse(text: &str) -> Result<Vec<(usize, NodeCommand)>, (usize, String)> {
    let numbered = (1..).zip(text.lines().map(str::trim));
    let lines = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parse = |(number, line): (usize, &str)| {
        let words = split_words(line).ok_or((number, "unclosed quote".to_owned()))?;
        let line = Line::try_parse_from(words).map_err(|error| (number, summary(&error)))?;
        let mut command = line.command;
        if let Some(error) = command.usage_error() {
            return Err((number, error.to_owned()));
        }
        command.load().map_err(|error| (number, error.to_string()))?;
        Ok((number, command))
    };
    lines.map(parse).collect()
}

/// Returns the first line of an error of clap, without its prefix.
fn summary(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl fmt::Display for Negative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command has a negative answer")
    }
}

impl std::error::Error for Negative {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_errors_have_line_numbers() {
        let commands = parse("# first\n\nwrite a 1\n  rm -t b c\n").unwrap();
        assert_eq!(commands.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(parse("read a\nfly b").unwrap_err().0, 2);
        assert_eq!(parse("read 'a").unwrap_err().0, 1);
    }
}
