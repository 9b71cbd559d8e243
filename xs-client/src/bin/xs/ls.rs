//! `ls`: a subtree for people, laid out as xenstore-ls does, or as JSON.

use std::io::Write;

use clap::Args;
use xs_client::{Error, Node, Permissions, Result, Tree};

use crate::escape::escape;
use crate::fail::InWords;
use crate::{json, terminal};

/// Print the nodes below a node, with their values
///
/// On a terminal, long values are cut to its width.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print whole paths, instead of indenting names
    #[arg(short, long)]
    pub(crate) flat: bool,
    /// Print the permissions, too
    #[arg(short, long)]
    pub(crate) perms: bool,
    /// Print one JSON object: "path", "value", "perms", and "children" by name. Values that are
    /// no UTF-8 come as "base64"
    #[arg(long, conflicts_with = "flat")]
    pub(crate) json: bool,
    /// As xenstore-ls: no colours, and the first node that may not be read ends it.
    #[arg(skip)]
    pub(crate) strict: bool,
    /// Where to start; at the root if there is none
    #[arg(default_value = "/", hide_default_value = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

impl Ls {
    pub(crate) fn run(&self, tree: &Tree, output: &mut impl Write) -> Result<bool> {
        let layout = Layout {
            flat: self.flat,
            width: terminal::columns(),
            colours: !self.strict && terminal::has_colours(),
        };
        let mut line = Vec::new();
        let mut complete = true;
        for key in &self.keys {
            let walk = tree.walk(key).with_values();
            let walk = if self.perms || self.json { walk.with_perms() } else { walk };
            if self.json {
                complete &= json::write_tree(walk, output)?;
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
                        eprintln!("xs: {}", InWords(&error));
                        complete = false;
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(complete)
    }
}

/// How lines are laid out.
///
/// Values are cut, and permissions lined up at the right, by rules that look odd where names are
/// long or terminals narrow. They are those of xenstore-ls, whose output many scripts parse.
#[derive(Debug)]
struct Layout {
    flat: bool,
    /// Of the terminal; `None` if the output goes elsewhere.
    width: Option<u16>,
    colours: bool,
}

/// The room for a line where there is no terminal, in columns.
const DEFAULT_ROOM: i64 = 80;

/// Where permissions start at the latest, if the value leaves room.
const PERMS_COLUMN: i64 = 60;

/// What stands around a value that is cut, not counting the backslash.
const AROUND_VALUE: i64 = " = \"...\"".len() as i64;

impl Layout {
    fn line(&self, node: &Node, line: &mut Vec<u8>) {
        let room = match self.width {
            // A terminal of no width, or hardly any, cuts nothing.
            Some(0 | 1) => i64::MAX,
            Some(width) => i64::from(width) - 2,
            None if self.flat => i64::MAX,
            None => DEFAULT_ROOM,
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
            let name = &name.as_bytes()[..cut(name.len(), room - AROUND_VALUE - indent as i64)];
            line.resize(line.len() + indent, b' ');
            line.extend(name);
            column = indent + name.len();
        });

        let Some(Ok(value)) = &node.value else {
            line.extend(b":\n\n");
            return;
        };
        let mut text = Vec::with_capacity(value.len());
        escape(value, &mut text);
        // The value as it is decides, and its escaped form is cut.
        let used = column as i64 + AROUND_VALUE;
        let is_cut = room < used.saturating_add(value.len() as i64);
        line.extend(b" = \"");
        if is_cut {
            line.extend(&text[..cut(text.len(), room - used)]);
            line.extend(b"\\...\"");
        } else {
            line.extend(&text);
            line.push(b'"');
        }
        if let Some(Ok(perms)) = &node.perms {
            if !is_cut {
                column += " = \"\"".len() + text.len();
                let until = match room {
                    _ if self.flat => 0,
                    // Where nothing is cut, nothing is lined up either.
                    i64::MAX => 0,
                    room => room.min(PERMS_COLUMN),
                };
                self.paint(line, "2", |line| {
                    line.push(b' ');
                    let dots = column as i64 + 1..until;
                    line.extend(dots.map(|at| if at % 2 == 1 { b'.' } else { b' ' }));
                });
            }
            line.extend(b"  (");
            self.paint(line, "2", |line| line.extend(commas(perms).bytes()));
            line.push(b')');
        }
        line.push(b'\n');
    }

    /// Appends something in a colour, given by the numbers of SGR.
    fn paint(&self, line: &mut Vec<u8>, colour: &str, append: impl FnOnce(&mut Vec<u8>)) {
        if !self.colours || colour == "0" {
            return append(line);
        }
        line.extend(format!("\x1b[{colour}m").bytes());
        append(line);
        line.extend(b"\x1b[0m");
    }
}

/// How much of `len` is left where there is so much room; all of it where there is less than
/// none.
fn cut(len: usize, room: i64) -> usize {
    usize::try_from(room).map_or(len, |room| len.min(room))
}

fn commas(perms: &Permissions) -> String {
    perms.to_string().replace(' ', ",")
}
