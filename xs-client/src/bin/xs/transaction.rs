//! `transaction`: several commands, all or none.

use std::error::Error as _;
use std::fmt;
use std::io::Write;

use clap::{Args, Parser};
use xs_client::{Client, Error};

use crate::dump::read_file;
use crate::fail::{Fail, Outcome};
use crate::terminal;
use crate::tree::TreeCommand;
use crate::words::words;

/// Run commands in one transaction: all of them or none
///
/// One command a line: read, write, exists, list, ls, rm, mkdir, chmod, get-perms, as on the
/// command line. Words with blanks stand in 'single' or "double" quotes; a line that starts with #
/// means nothing. If a command fails, or an `exists` says no, nothing is done and the exit status
/// is 1. If others have changed what was looked at, all of it is run again. Output comes at the
/// end.
#[derive(Debug, Args)]
pub(crate) struct TransactionCommand {
    /// What to read; standard input if there is none
    file: Option<String>,
}

#[derive(Debug, Parser)]
#[command(name = "transaction", no_binary_name = true, disable_help_flag = true)]
struct Line {
    #[command(subcommand)]
    command: TreeCommand,
}

/// A command said no.
#[derive(Debug)]
struct No;

impl TransactionCommand {
    pub(crate) fn run(&self, client: &Client) -> Outcome {
        let (name, text) = read_file(self.file.as_deref())?;
        let commands = parse(&text).map_err(|(line, error)| {
            Fail::other(format!("{name}: line {line}: {error}"), "nothing was done")
        })?;
        let mut output = Vec::new();
        // The line that was at work.
        let mut at = 0;
        let done = client.transaction(|tx| {
            output.clear();
            for (line, command) in &commands {
                at = *line;
                if !command.perform(tx, &mut output)? {
                    return Err(Error::other(No));
                }
            }
            at = 0;
            Ok(())
        });
        match done {
            Ok(()) => {
                let mut stdout = terminal::stdout();
                stdout.write_all(&output)?;
                stdout.flush()?;
                Ok(true)
            }
            Err(error) if error.source().is_some_and(|source| source.is::<No>()) => Ok(false),
            Err(error) => {
                if at > 0 {
                    eprintln!("xs: {name}: line {at} failed; nothing was done");
                }
                Err(error.into())
            }
        }
    }
}

/// The commands, each with the number of its line.
fn parse(text: &str) -> Result<Vec<(usize, TreeCommand)>, (usize, String)> {
    let numbered = (1..).zip(text.lines().map(str::trim));
    let lines = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parse = |(number, line): (usize, &str)| {
        let words = words(line).ok_or((number, "a quote has no end".to_owned()))?;
        let line = Line::try_parse_from(words).map_err(|error| (number, first_line(&error)))?;
        Ok((number, line.command))
    };
    lines.map(parse).collect()
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command said no")
    }
}

impl std::error::Error for No {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_number() {
        let commands = parse("# first\n\nwrite a 1\n  rm -t b c\n").unwrap();
        assert_eq!(commands.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(parse("read a\nfly b").unwrap_err().0, 2);
        assert_eq!(parse("read 'a").unwrap_err().0, 1);
    }
}
