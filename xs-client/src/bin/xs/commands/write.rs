//! `xs write`: sets values.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use xs_client::{Result, Tree};

use crate::error::CommandResult;
use crate::escape::unescape;
use crate::input;

/// Set the values of nodes
///
/// Creates nodes and their parents as needed. Several values are set in one transaction: all or
/// none. VALUE may contain the escapes \n, \t, \r, \\, \x9c and \234 (octal). Negative numbers are
/// values; put -- before any other VALUE that starts with a hyphen.
#[derive(Debug, Args)]
#[command(override_usage = "xs write [OPTIONS] <PATH> <VALUE> [<PATH> <VALUE>]...\n       \
                            xs write --from <FILE> <PATH>")]
pub(crate) struct WriteValues {
    /// Do not interpret escapes in VALUE
    #[arg(short = 'R', long)]
    pub(crate) raw: bool,
    /// Read the value of a single PATH from a file, or from standard input for -. The bytes are
    /// written as they are: at most 4095 bytes together with the path, or 4079 through the kernel's
    /// device
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub(crate) from: Option<String>,
    /// The content of the file, once it is read.
    #[arg(skip)]
    pub(crate) content: Option<Vec<u8>>,
    /// Paths of nodes, each followed by its value
    #[arg(
        required = true,
        num_args = 1..,
        value_names = ["PATH", "VALUE"],
        allow_negative_numbers = true
    )]
    pub(crate) pairs: Vec<OsString>,
}

impl WriteValues {
    /// Returns an error in the number of arguments, if there is one.
    pub(super) fn usage_error(&self) -> Option<&'static str> {
        match (&self.from, self.pairs.len()) {
            (Some(_), 1) => None,
            (Some(_), _) => Some("--from needs a single <PATH>, without a <VALUE>"),
            (None, count) if count % 2 == 1 => Some("each <PATH> needs a <VALUE>"),
            (None, _) => None,
        }
    }

    /// Reads the file of `--from`, once: a transaction may run the command several times.
    pub(super) fn load(&mut self) -> CommandResult<()> {
        if let Some(path) = &self.from {
            self.content = Some(input::read_bytes(path)?);
        }
        Ok(())
    }

    pub(super) fn run(&self, tree: &Tree) -> Result<bool> {
        if let (Some(content), Some(path)) = (&self.content, self.pairs.first()) {
            tree.write(path.to_string_lossy(), content)?;
            return Ok(true);
        }
        let pairs = self.pairs.chunks(2).map(|pair| {
            let [path, value] = pair else {
                return (pair[0].to_string_lossy(), Vec::new());
            };
            let value = value.as_bytes();
            let value = if self.raw { value.to_vec() } else { unescape(value) };
            (path.to_string_lossy(), value)
        });
        tree.write_all(pairs)?;
        Ok(true)
    }
}
