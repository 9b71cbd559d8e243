//! `xs shell`: a prompt for many commands on one connection.

mod editor;
mod language;
mod paths;
mod session;

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use rustyline::error::ReadlineError;
use xs_client::Client;

use self::editor::Editor;
use self::session::{Next, Session};
use crate::error::{CommandError, CommandResult};
use crate::output::{self, Output};
use crate::split_words::split_words;

/// Enter commands at a prompt, which shows the current node
///
/// Paths may be relative to the current node, which `cd` changes. Tab completes commands and
/// paths. A value in quotes may have several lines. `begin` starts a transaction, in which the next
/// commands run, and `commit` or `abort` ends it; the prompt shows it. `help` lists the commands.
/// Ctrl-D leaves.
///
/// If standard input is not a terminal, xs reads commands from it, and stops at the first that
/// fails.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// Path of the node to start at [default: the home of this domain]
    path: Option<String>,
}

impl Shell {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let mut session = Session::new(client, self.path.as_deref())?;
        match io::stdin().is_terminal() {
            true => interact(client, &mut session, output),
            false => run_script(&mut session, io::stdin().lock(), output),
        }
    }
}

/// Reads commands with the line editor until the user leaves.
fn interact(client: &Client, session: &mut Session<'_>, output: &mut Output) -> CommandResult {
    let mut editor = Editor::new(client)?;
    loop {
        let line = match editor.read(&session.prompt(), session.current()) {
            Ok(line) => line,
            // Ctrl-C gives up the line.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                return Err(CommandError::new(format!("shell: cannot read a line: {error}")));
            }
        };
        let result = match split_words(&line) {
            Some(words) => session.run(&words, output),
            None => Err(CommandError::new("unclosed quote")),
        };
        match result {
            Ok(Next::Leave) => break,
            Ok(Next::Continue) => {}
            Ok(Next::Negative) => output::message("no"),
            Err(error) if error.output_error().is_some() => return Err(error),
            Err(error) => error.report("xs"),
        }
        io::Write::flush(output)?;
    }
    Ok(true)
}

/// Runs the commands of a script, until one fails.
fn run_script(
    session: &mut Session<'_>,
    input: impl BufRead,
    output: &mut Output,
) -> CommandResult {
    // The lines of the current command so far. Open quotes continue a command on the next line.
    let mut text = String::new();
    let mut first = 1;
    for (number, line) in (1..).zip(input.lines()) {
        text += &line.map_err(|error| CommandError::io("cannot read standard input", error))?;
        let Some(words) = split_words(&text) else {
            text.push('\n');
            continue;
        };
        let is_comment = text.trim_start().starts_with('#');
        text.clear();
        let result = if is_comment { Ok(Next::Continue) } else { session.run(&words, output) };
        match result {
            Ok(Next::Continue) => {}
            Ok(Next::Leave) => return Ok(true),
            Ok(Next::Negative) => return Ok(false),
            Err(error) if error.output_error().is_some() => return Err(error),
            Err(error) => {
                output::message(format_args!("xs: standard input: line {first} failed"));
                return Err(error);
            }
        }
        first = number + 1;
    }
    if !text.is_empty() {
        return Err(CommandError::new(format!("standard input: line {first}: unclosed quote")));
    }
    if session.has_transaction() {
        return Err(CommandError::new("standard input ends before the transaction")
            .with_hint("nothing of it was changed; end it with `commit` or `abort`"));
    }
    Ok(true)
}
