//! The line editor, with a history and completion.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use rustyline::completion::{Completer, Pair};
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use xs_client::Client;

use super::language;
use super::paths::resolve;
use crate::completion::paths_of;
use crate::error::{CommandError, CommandResult};
use crate::split_words::split_words;

pub(super) struct Editor {
    editor: rustyline::Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
}

/// Completes words, and continues a line whose quotes are not closed.
struct Assistant {
    client: Client,
    commands: Vec<String>,
    current: String,
}

/// The longest time for which a completion waits for the daemon.
const DEADLINE: Duration = Duration::from_millis(200);

/// The number of lines that the history keeps.
const HISTORY: usize = 1000;

impl Editor {
    pub(super) fn new(client: &Client) -> CommandResult<Self> {
        let failed =
            |error: ReadlineError| CommandError::new(format!("cannot edit lines: {error}"));
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(HISTORY)
            .map_err(failed)?
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistant {
            client: client.with_timeout(DEADLINE),
            commands: language::names(),
            current: String::new(),
        }));
        let history = history_file();
        if let Some(path) = &history {
            // The file does not exist at first.
            let _ = editor.load_history(path);
        }
        Ok(Editor { editor, history })
    }

    /// Reads a command, which may have several lines.
    pub(super) fn read(&mut self, prompt: &str, current: &str) -> Result<String, ReadlineError> {
        if let Some(assistant) = self.editor.helper_mut() {
            current.clone_into(&mut assistant.current);
        }
        let line = self.editor.readline(prompt)?;
        if !line.trim().is_empty() {
            self.editor.add_history_entry(line.as_str())?;
            if let Some(path) = &self.history {
                // The shell also works without a history.
                let _ = self.editor.append_history(path);
            }
        }
        Ok(line)
    }
}

/// Returns the file of the history, in a directory of this user.
fn history_file() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    let directory = state.join("xs");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    Some(directory.join("history"))
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> Result<(usize, Vec<Pair>), ReadlineError> {
        let before = &line[..position];
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &before[start..];
        if before[..start].trim().is_empty() {
            let names = self.commands.iter().filter(|name| name.starts_with(word));
            let pairs =
                names.map(|name| Pair { display: name.clone(), replacement: format!("{name} ") });
            return Ok((start, pairs.collect()));
        }
        Ok((start, self.paths(word)))
    }
}

impl Assistant {
    /// Returns the nodes whose paths, relative to the current node, begin with `word`.
    fn paths(&self, word: &str) -> Vec<Pair> {
        // The part after the last slash is the incomplete name of a node.
        let (parent, name) = word.rsplit_once('/').map_or(("", word), |(parent, name)| {
            (if parent.is_empty() { "/" } else { parent }, name)
        });
        let absolute = resolve(&self.current, parent);
        let absolute = if absolute == "/" { absolute } else { absolute + "/" };
        let paths = paths_of(&self.client, &format!("{absolute}{name}")).unwrap_or_default();
        let kept = &word[..word.len() - name.len()];
        let has_slash = |path: &String| paths.contains(&format!("{path}/"));
        // `paths_of` returns a node with children twice. The path with the slash is the candidate.
        let shown = paths.iter().filter(|path| !has_slash(path));
        let pairs = shown.filter_map(|path| {
            let rest = path.strip_prefix(&absolute)?;
            Some(Pair { display: rest.to_owned(), replacement: format!("{kept}{rest}") })
        });
        pairs.collect()
    }
}

impl Validator for Assistant {
    fn validate(
        &self,
        context: &mut ValidationContext<'_>,
    ) -> Result<ValidationResult, ReadlineError> {
        Ok(match split_words(context.input()) {
            Some(_) => ValidationResult::Valid(None),
            None => ValidationResult::Incomplete,
        })
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}
