//! `xs edit`: changes a subtree in a text editor.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{self, Command};

use clap::Args;
use xs_client::{Client, Error, Tree};
use xs_transport::mock::text::Line;

use super::diff::{Difference, differences};
use crate::error::{CommandError, CommandResult};
use crate::output::Output;
use crate::{input, subtree};

/// Edit nodes in a text editor
///
/// Opens $VISUAL, $EDITOR or vi with the nodes in the form of `dump`. A changed line changes the
/// value or the permissions of a node, a new line creates a node, and a removed line removes one.
/// The changes are made in one transaction: all or none.
///
/// If another client has changed one of the same nodes meanwhile, nothing is changed, and the
/// edited file is kept.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Path of the node to edit, with all nodes below it
    path: String,
}

impl Edit {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let nodes = subtree::read(client, std::slice::from_ref(&self.path), |tree, _| {
            subtree::complete(tree, &self.path)
        })?;
        let file = EditedFile::create(&nodes)?;
        file.edit()?;
        let kept = |error: CommandError| {
            error.with_hint(format!(
                "nothing was changed; the edited text is in {file}, and `VISUAL='cp {file}' xs edit {}` \
                 applies it once it is corrected",
                self.path,
                file = file.0.display()
            ))
        };
        let text = fs::read_to_string(&file.0).map_err(|error| {
            CommandError::io(format!("cannot read {}", file.0.display()), error)
        })?;
        let name = file.0.display().to_string();
        let edited = input::parse_dump(&name, &text).map_err(kept)?;
        let old = by_path(nodes);
        let new = by_path(edited);
        let changes = differences(&old, &new, true);
        self.check(&changes, &new).map_err(kept)?;
        if !changes.is_empty() {
            client.transaction(|tx| apply(tx, &changes)).map_err(|error| kept(error.into()))?;
        }
        file.remove();
        let result = match changes.len() {
            0 => return Ok(writeln!(output, "no changes").map(|()| true)?),
            1 => writeln!(output, "1 node changed"),
            count => writeln!(output, "{count} nodes changed"),
        };
        result.and_then(|()| output.flush()).map_err(CommandError::output_after("nodes edited"))?;
        Ok(true)
    }

    /// Refuses nodes outside the subtree, and removed nodes with descendants that are not removed.
    fn check(&self, changes: &[Difference<'_>], new: &BTreeMap<String, Line>) -> CommandResult<()> {
        for Difference { below: path, old, new: edited } in changes {
            if subtree::below(path, &self.path).is_none() {
                return Err(CommandError::new(format!("edit: {path} is not below {}", self.path)));
            }
            let is_removed = old.is_some() && edited.is_none();
            let mut others = new.keys().filter(|other| subtree::below(other, path).is_some());
            if let Some(child) = others.find(|_| is_removed) {
                return Err(CommandError::new(format!(
                    "edit: {path} is removed, but {child} below it is not"
                )));
            }
        }
        Ok(())
    }
}

/// Makes the changes, unless one of the nodes is no longer as it was.
fn apply(tx: &Tree, changes: &[Difference<'_>]) -> xs_client::Result<()> {
    for Difference { below: path, old, .. } in changes {
        let (value, perms) = (tx.read_opt(path)?, old.and_then(|old| old.perms.clone()));
        let is_same = match (&value, old) {
            (None, None) => true,
            (Some(value), Some(old)) => {
                Some(value) == old.value.as_ref()
                    && perms.is_none_or(|perms| {
                        tx.get_perms(path).is_ok_and(|now| now.to_string() == perms.to_string())
                    })
            }
            _ => false,
        };
        if !is_same {
            return Err(Error::other(format!("edit: another client has changed {path} meanwhile")));
        }
    }
    for Difference { below: path, old, new } in changes {
        match new {
            // Its parent may have been removed before.
            None => tx.rm_if_exists(path)?,
            Some(Line { perms, value, .. }) => {
                let has_new_value = old.is_none_or(|old| old.value != *value);
                if has_new_value {
                    tx.write(path, value.clone().unwrap_or_default())?;
                }
                // Unchanged permissions are not set: only the owner may do so, even if they are
                // equal.
                let has_new_perms = old.is_none_or(|old| old.perms != *perms);
                if let Some(perms) = perms.as_ref().filter(|_| has_new_perms) {
                    tx.set_perms(path, perms)?;
                }
            }
        }
    }
    Ok(())
}

fn by_path(lines: Vec<Line>) -> BTreeMap<String, Line> {
    lines.into_iter().map(|line| (line.path.clone(), line)).collect()
}

/// A file with the nodes, which only this user can read.
struct EditedFile(PathBuf);

impl EditedFile {
    fn create(nodes: &[Line]) -> CommandResult<Self> {
        let mut text =
            String::from("# PATH [PERMS] = \"VALUE\". The first permission names the owner.\n");
        for line in nodes {
            text += &format!("{line}\n");
        }
        for number in 0.. {
            let name = format!("xs-edit-{}-{number}", process::id());
            let path = env::temp_dir().join(name);
            let result = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match result.and_then(|mut file| file.write_all(text.as_bytes())) {
                Ok(()) => return Ok(EditedFile(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(CommandError::io(
                        format!("cannot write {}", path.display()),
                        error,
                    ));
                }
            }
        }
        unreachable!("some number is free")
    }

    /// Runs the editor until it exits.
    fn edit(&self) -> CommandResult<()> {
        let set = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
        // The variable may contain options. A shell splits them, as git does.
        let script = format!("{editor} \"$@\"");
        let status = Command::new("sh").args(["-c", &script, &editor]).arg(&self.0).status();
        let failed = |reason: String| {
            self.remove();
            CommandError::new(format!("edit: the editor {editor:?} {reason}"))
                .with_hint("nothing was changed; $VISUAL or $EDITOR selects another editor")
        };
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("failed: {status}"))),
            Err(error) => Err(failed(format!("cannot be started: {error}"))),
        }
    }

    fn remove(&self) {
        // A file that remains in the temporary directory does no harm.
        let _ = fs::remove_file(&self.0);
    }
}
