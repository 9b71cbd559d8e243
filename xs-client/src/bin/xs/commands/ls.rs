//! `xs ls`: a subtree in the layout of xenstore-ls, or as JSON.

use std::io::{self, Write};

use clap::Args;
use xs_client::{Error, Node, Permissions, Result, Tree};

use crate::error::describe;
use crate::escape::Form;
use crate::{json, output, terminal};

/// List all nodes below a node, with their values
///
/// On a terminal, long values are truncated to fit its width, and one with a UTF-8 locale shows
/// printable UTF-8 as text. If a node cannot be read, an error is
/// printed, and the exit status is 1.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print paths instead of indented names
    #[arg(short, long)]
    pub(crate) flat: bool,
    /// Print permissions
    #[arg(short, long)]
    pub(crate) perms: bool,
    /// List only this many levels below each PATH
    #[arg(short, long, value_name = "DEPTH")]
    pub(crate) depth: Option<usize>,
    /// Print a JSON object with the members "path", "value" ("base64" if the value is not UTF-8),
    /// "perms" and "children"
    #[arg(long, conflicts_with = "flat")]
    pub(crate) json: bool,
    /// Behave as xenstore-ls: print no colors, and stop at the first node that cannot be read.
    #[arg(skip)]
    pub(crate) strict: bool,
    /// Paths of the nodes to start at [default: /]
    #[arg(default_value = "/", hide_default_value = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl Ls {
    pub(crate) fn run(&self, tree: &Tree, output: &mut impl Write) -> Result<bool> {
        let layout = Layout {
            flat: self.flat,
            width: terminal::columns(),
            use_color: !self.strict && terminal::use_color(&io::stdout()),
            form: if self.strict { Form::Ascii } else { terminal::form() },
        };
        let mut line = Vec::new();
        let mut is_complete = true;
        for path in &self.paths {
            let walk = tree.walk(path).with_values().max_depth(self.depth.unwrap_or(usize::MAX));
            let walk = if self.perms || self.json { walk.with_perms() } else { walk };
            if self.json {
                is_complete &= json::write_tree(walk, output)?;
                continue;
            }
            for node in walk {
                if node.depth > 0 {
                    line.clear();
                    layout.line(&node, &mut line);
                    output.write_all(&line).map_err(Error::other)?;
                }
                let is_start = node.depth == 0;
                match node.children {
                    Err(error) if self.strict || is_start => return Err(error),
                    Err(error) => {
                        output.flush().map_err(Error::other)?;
                        output::message(format_args!("xs: {}", describe(&error)));
                        is_complete = false;
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(is_complete)
    }
}

/// The layout of lines.
///
/// The rules for truncated values and for the column of the permissions look strange with long
/// names or on narrow terminals. They are those of xenstore-ls, whose output scripts parse.
#[derive(Debug)]
struct Layout {
    flat: bool,
    /// The width of the terminal; `None` if the output is not a terminal.
    width: Option<u16>,
    use_color: bool,
    form: Form,
}

/// The columns available for a line if the output is not a terminal.
const DEFAULT_WIDTH: i64 = 80;

/// The column of the permissions, unless the value extends beyond it.
const PERMS_COLUMN: i64 = 60;

/// The characters around a truncated value, without the backslash.
const VALUE_OVERHEAD: i64 = " = \"...\"".len() as i64;

impl Layout {
    fn line(&self, node: &Node, line: &mut Vec<u8>) {
        let room = match self.width {
            // Nothing is truncated on a terminal with an unknown or useless width.
            Some(0 | 1) => i64::MAX,
            Some(width) => i64::from(width) - 2,
            None if self.flat => i64::MAX,
            None => DEFAULT_WIDTH,
        };

        let mut column = 0;
        let has_children = node.children.as_ref().is_ok_and(|children| !children.is_empty());
        self.paint(line, if has_children { "1;34" } else { "0" }, |line| {
            if self.flat {
                line.extend(node.path.bytes());
                return;
            }
            let name = node.path.rsplit('/').next().unwrap_or_default();
            let indent = node.depth - 1;
            let name =
                &name.as_bytes()[..truncate(name.len(), room - VALUE_OVERHEAD - indent as i64)];
            line.resize(line.len() + indent, b' ');
            line.extend(name);
            column = indent + name.len();
        });

        let Some(Ok(value)) = &node.value else {
            line.extend(b":\n\n");
            return;
        };
        let mut text = Vec::with_capacity(value.len());
        self.form.escape(value, &mut text);
        // In the original, the length of the unescaped value decides whether it is truncated.
        let used = column as i64 + VALUE_OVERHEAD;
        let length = if self.form == Form::Ascii { value.len() } else { width(&text) };
        let is_truncated = room < used.saturating_add(length as i64);
        line.extend(b" = \"");
        if is_truncated {
            line.extend(first_characters(&text, room - used));
            line.extend(b"\\...\"");
        } else {
            line.extend(&text);
            line.push(b'"');
        }
        if let Some(Ok(perms)) = &node.perms {
            if !is_truncated {
                column += " = \"\"".len() + width(&text);
                let end = match room {
                    _ if self.flat => 0,
                    // Without truncation, permissions are not aligned.
                    i64::MAX => 0,
                    room => room.min(PERMS_COLUMN),
                };
                self.paint(line, "2", |line| {
                    line.push(b' ');
                    let dots = column as i64 + 1..end;
                    line.extend(dots.map(|at| if at % 2 == 1 { b'.' } else { b' ' }));
                });
            }
            line.extend(b"  (");
            self.paint(line, "2", |line| line.extend(comma_separated(perms).bytes()));
            line.push(b')');
        }
        line.push(b'\n');
    }

    /// Appends text with a color, given by the parameters of the SGR escape sequence.
    fn paint(&self, line: &mut Vec<u8>, color: &str, append: impl FnOnce(&mut Vec<u8>)) {
        if !self.use_color || color == "0" {
            return append(line);
        }
        line.extend(format!("\x1b[{color}m").bytes());
        append(line);
        line.extend(b"\x1b[0m");
    }
}

/// Returns `len` truncated to `room`, or all of `len` if `room` is negative.
fn truncate(len: usize, room: i64) -> usize {
    usize::try_from(room).map_or(len, |room| len.min(room))
}

/// Returns the width of escaped text in columns, apart from characters that take none or two.
fn width(text: &[u8]) -> usize {
    text.iter().filter(|byte| !is_continuation(**byte)).count()
}

/// Returns as many characters as fit, or all if `room` is negative.
fn first_characters(text: &[u8], room: i64) -> &[u8] {
    let starts = text.iter().enumerate().filter(|(_, byte)| !is_continuation(**byte));
    let end = usize::try_from(room).ok().and_then(|room| starts.map(|(at, _)| at).nth(room));
    &text[..end.unwrap_or(text.len())]
}

/// Returns whether a byte continues a character in UTF-8. Other values are escaped in ASCII.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn comma_separated(perms: &Permissions) -> String {
    perms.to_string().replace(' ', ",")
}
