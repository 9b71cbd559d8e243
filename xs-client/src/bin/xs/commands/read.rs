//! `xs read`: the values of nodes.

use clap::Args;
use xs_client::{Result, Tree};

use crate::escape::Form;
use crate::json::Object;
use crate::terminal;

/// Print the values of nodes
///
/// Bytes other than printable ASCII are escaped: \n, \t, \\, \x9c. A terminal with a UTF-8 locale
/// shows printable UTF-8 as text.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Print the path of each node before its value
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// Print the bytes of the values, without escapes and newlines
    #[arg(short = 'R', long)]
    pub(crate) raw: bool,
    /// Print a JSON object per node, with the members "path" and "value" ("base64" if the value is
    /// not UTF-8)
    #[arg(long, conflicts_with_all = ["prefix", "raw"])]
    pub(crate) json: bool,
    /// Behave as xenstore-read: escape UTF-8 on terminals, too.
    #[arg(skip)]
    pub(crate) strict: bool,
    /// Paths of nodes
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl Read {
    pub(super) fn run(&self, tree: &Tree, output: &mut Vec<u8>) -> Result<bool> {
        let form = if self.strict { Form::Ascii } else { terminal::form() };
        for (path, value) in self.paths.iter().zip(tree.read_many(&self.paths)) {
            let value = value?;
            if self.json {
                output.extend(Object::new().node(path, Some(&value), None).line().bytes());
                continue;
            }
            if self.prefix {
                output.extend(path.bytes());
                output.extend(b": ");
            }
            if self.raw {
                output.extend(value);
            } else {
                form.escape(&value, output);
                output.push(b'\n');
            }
        }
        Ok(true)
    }
}
