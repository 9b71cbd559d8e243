//! `xs man`: the manual page.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_mangen::Man as ManPage;

use crate::cli;
use crate::error::CommandResult;
use crate::output::Output;

/// Print the manual page
#[derive(Debug, Args)]
pub(crate) struct Man {}

impl Man {
    pub(crate) fn run(&self, output: &mut Output) -> CommandResult {
        let mut command = cli::command();
        command.build();
        let mut page = Vec::new();
        let man = ManPage::new(command.clone());
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        page.extend(SYNOPSIS.bytes());
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        writeln!(page, ".SH COMMANDS")?;
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            render_subcommand(command, &mut page)?;
        }
        page.extend(FINAL_SECTIONS.bytes());
        output.write_all(&page)?;
        Ok(true)
    }
}

/// Appends a subsection about one command.
fn render_subcommand(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut sections = Vec::new();
    let name = command.get_name();
    // The global options have their own section of the page.
    let shown = command.clone().mut_args(|arg| {
        let is_hidden = arg.is_hide_set() || arg.is_global_set() || arg.get_id() == "help";
        arg.hide(is_hidden)
    });
    writeln!(page, ".SS \"xs {name}\"")?;
    let man = ManPage::new(shown.bin_name(format!("xs {name}")));
    man.render_synopsis_section(&mut sections)?;
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

const SYNOPSIS: &str = r".SH SYNOPSIS
\fBxs\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]
";

const FINAL_SECTIONS: &str = r#".SH "EXIT STATUS"
.TP
0
Success.
.TP
1
The command failed, \fBxs exists\fR found that a node does not exist, or the output is incomplete.
.TP
2
The arguments are invalid.
.PP
If the reader of the output closes it, SIGPIPE kills the program, and a shell reports the status 141.
If \fBxs\fR was started with SIGPIPE ignored, it fails with status 1 instead.
.SH ENVIRONMENT
.TP
XENSTORED_PATH
The socket or device of the daemon, unless \-\-socket or \-\-device is given.
.TP
XENSTORED_RUNDIR
The directory of the socket, unless XENSTORED_PATH is set.
.TP
NO_COLOR
If set, output has no colors.
.SH "XENSTORE TOOLS"
Invoked as xenstore\-read, xenstore\-write, xenstore\-list, xenstore\-ls, xenstore\-exists,
xenstore\-rm, xenstore\-chmod, xenstore\-watch, xenstore\-control or xenstore, the program has the
options, the output and the exit status of that tool, except that it fails if its output cannot be
written. If it was started with SIGPIPE ignored, it continues without a reader, as that tool does.
\fBxs install\-links\fR creates links with these names.
.SH EXAMPLES
.TP
xs ls \-p /local/domain/5
List the nodes of domain 5 with their values and permissions.
.TP
xs write data/os Debian data/cpus 4
Set two values in the home of this domain, in one transaction.
.TP
xs write /tool/offset \-5 /tool/name \-\- \-x
Write values that start with a hyphen. Only negative numbers may stand before the \-\-.
.TP
xs wait \-T 60 /local/domain/5/control/shutdown \(aq\(aq
Wait until domain 5 acknowledges a shutdown request, for at most a minute.
.TP
xs dump /vm > vm; xs restore vm
Save a subtree to a file, and restore it.
.TP
xs serve \-\-socket /tmp/xs \-\-guest 5=/tmp/xs\-5 & XENSTORED_PATH=/tmp/xs xs info
Run a daemon without Xen, and connect to it.
"#;
