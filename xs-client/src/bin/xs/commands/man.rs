//! `xs man`: the manual pages.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man as ManPage;

use crate::error::{CommandError, CommandResult};
use crate::examples::{self, Example};
use crate::output::Output;

/// Print a manual page
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write the pages of xs and of all its commands to a directory, and print their names
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    directory: Option<PathBuf>,
    /// Command whose page to print [default: the page of xs, with all commands]
    command: Option<String>,
}

impl Man {
    /// Prints pages of the command line `xs`.
    pub(crate) fn run(&self, mut xs: Command, output: &mut Output) -> CommandResult {
        xs.build();
        let commands = || xs.get_subcommands().filter(|command| command.get_name() != "help");
        if let Some(directory) = &self.directory {
            for (name, page) in std::iter::once(("xs".to_owned(), main_page(&xs)?)).chain(
                commands().map(|command| {
                    (format!("xs-{}", command.get_name()), page_of(command).unwrap_or_default())
                }),
            ) {
                let path = directory.join(name + ".1");
                fs::write(&path, page).map_err(|error| {
                    CommandError::io(format!("cannot write {}", path.display()), error)
                })?;
                writeln!(output, "{}", path.display())?;
            }
            return Ok(true);
        }
        let page = match &self.command {
            None => main_page(&xs)?,
            Some(name) => match commands().find(|command| command.get_name() == name) {
                Some(command) => page_of(command)?,
                None => {
                    return Err(CommandError::new(format!("man: there is no command {name:?}"))
                        .with_hint("`xs --help` lists the commands"));
                }
            },
        };
        output.write_all(&page)?;
        Ok(true)
    }
}

/// Returns the page of the program, with a section for each command.
fn main_page(xs: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = ManPage::new(xs.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.extend(SYNOPSIS.bytes());
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    let commands = || xs.get_subcommands().filter(|command| command.get_name() != "help");
    for command in commands() {
        render_subcommand(command, &mut page)?;
    }
    page.extend(EXIT_STATUS.bytes());
    page.extend(ENVIRONMENT.bytes());
    page.extend(TOOLS.bytes());
    let all = commands().flat_map(|command| examples::of(command.get_name()));
    page.extend(examples_section(all).bytes());
    let pages: Vec<_> = commands().map(|command| format!("xs-{}", command.get_name())).collect();
    page.extend(see_also(pages.iter().map(String::as_str)).bytes());
    Ok(page)
}

/// Returns the page of a command.
fn page_of(command: &Command) -> io::Result<Vec<u8>> {
    let name = command.get_name().to_owned();
    let connects =
        command.get_arguments().any(|arg| arg.get_id() == "socket" && !arg.is_hide_set());
    let shown = command.clone().after_help("").after_long_help("").mut_args(|arg| {
        let is_hidden = arg.is_hide_set();
        arg.hide(is_hidden)
    });
    let shown = shown.display_name(format!("xs-{name}")).bin_name(format!("xs {name}"));
    let man = ManPage::new(shown).source(concat!("xs ", env!("CARGO_PKG_VERSION")));
    let mut sections = Vec::new();
    man.render_title(&mut sections)?;
    man.render_name_section(&mut sections)?;
    write!(sections, ".SH SYNOPSIS\n{}", usage(command))?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    let mut text = mark_repeated(command, String::from_utf8_lossy(&sections).into_owned());
    let subcommands = command.get_subcommands().filter(|command| command.get_name() != "help");
    for (at, subcommand) in subcommands.enumerate() {
        if at == 0 {
            text += ".SH COMMANDS\n";
        }
        let mut section = Vec::new();
        render_subcommand_of(&format!("xs {name}"), subcommand, &mut section)?;
        text += &String::from_utf8_lossy(&section);
    }
    text += EXIT_STATUS;
    if connects {
        text += ENVIRONMENT;
    }
    text += &examples_section(examples::of(&name));
    text += &see_also(std::iter::once("xs"));
    Ok(text.into_bytes())
}

/// Appends a subsection about one command of `xs`.
fn render_subcommand(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    render_subcommand_of("xs", command, page)
}

/// Appends a subsection about one command of `parent`, such as `xs` or `xs domain`.
fn render_subcommand_of(parent: &str, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut sections = Vec::new();
    let name = command.get_name();
    // The global options have their own section of the page.
    let shown = command.clone().mut_args(|arg| {
        let is_hidden = arg.is_hide_set() || arg.is_global_set() || arg.get_id() == "help";
        arg.hide(is_hidden)
    });
    writeln!(page, ".SS \"{parent} {name}\"")?;
    let man = ManPage::new(shown.bin_name(format!("{parent} {name}")));
    write!(sections, ".PP\n{}", usage(command))?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    let text = mark_repeated(command, String::from_utf8_lossy(&sections).into_owned());
    // Paragraphs take the place of the section headings.
    for line in text.lines() {
        page.extend(if line.starts_with(".SH") { ".PP" } else { line }.bytes());
        page.push(b'\n');
    }
    Ok(())
}

/// Returns the lines of the usage.
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let lines = usage.trim_start_matches("Usage:").lines().map(|line| roff(line.trim()));
    lines.collect::<Vec<_>>().join("\n.br\n") + "\n"
}

/// Appends `...` to arguments that may be repeated, as `--help` does.
fn mark_repeated(command: &Command, mut text: String) -> String {
    for arg in command.get_positionals() {
        if arg.get_num_args().is_none_or(|numbers| numbers.max_values() <= 1) {
            continue;
        }
        let names = arg.get_value_names().unwrap_or_default().join(" ");
        for (open, close) in [("<", ">"), ("[", "]")] {
            let shown = format!(r"{open}\fI{names}\fR{close}");
            text = text.replace(&shown, &format!("{shown}..."));
        }
    }
    text
}

fn examples_section<'a>(examples: impl Iterator<Item = &'a Example>) -> String {
    let mut section = String::from(".SH EXAMPLES\n");
    for Example { line, text, .. } in examples {
        let _ = writeln!(section, ".TP\n{}\n{}", roff(line), roff(text));
    }
    section
}

fn see_also<'a>(pages: impl Iterator<Item = &'a str>) -> String {
    let mut section = String::from(".SH \"SEE ALSO\"\n");
    for page in pages {
        let _ = writeln!(section, ".BR {} (1),", roff(page));
    }
    section
        + ".BR xenstore (1),\n.BR xl (1),\ndocs/misc/xenstore.txt and xenstore\\-paths.pandoc in Xen\n"
}

/// Escapes text for roff, which takes some characters at the start of a line for requests.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', r"\e").replace('-', r"\-").replace('\'', r"\(aq");
    if escaped.starts_with('.') { format!(r"\&{escaped}") } else { escaped }
}

const SYNOPSIS: &str = r".SH SYNOPSIS
\fBxs\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]
";

const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
0
Success.
.TP
1
The command failed, its answer is negative (\fBexists\fR: a node does not exist; \fBfind\fR: no node
is found; \fBdiff\fR: the sides differ), or the output is incomplete.
.TP
2
The arguments are invalid.
.PP
If the reader of the output closes it, SIGPIPE kills the program, and a shell reports the status 141.
If \fBxs\fR was started with SIGPIPE ignored, it fails with status 1 instead.
"#;

const ENVIRONMENT: &str = r#".SH ENVIRONMENT
.TP
XENSTORED_PATH
The socket or device of the daemon, unless \-\-socket or \-\-device is given.
.TP
XENSTORED_RUNDIR
The directory of the socket, unless XENSTORED_PATH is set.
.TP
NO_COLOR
If set, output has no colors.
.TP
LC_ALL, LC_CTYPE, LANG
The encoding of the terminal. With UTF\-8, values are shown as text.
.TP
VISUAL, EDITOR
The editor of \fBxs edit\fR.
"#;

const TOOLS: &str = r#".SH "XENSTORE TOOLS"
Invoked as xenstore\-read, xenstore\-write, xenstore\-list, xenstore\-ls, xenstore\-exists,
xenstore\-rm, xenstore\-chmod, xenstore\-watch, xenstore\-control or xenstore, the program has the
options, the output and the exit status of that tool, except that it fails if its output cannot be
written. If it was started with SIGPIPE ignored, it continues without a reader, as that tool does.
\fBxs install\-links\fR creates links with these names.
"#;
