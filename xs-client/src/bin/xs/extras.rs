//! What belongs to an installation: links in place of the xenstore tools, completions, a manual
//! page.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Manual;

use crate::compat;
use crate::fail::{Fail, Outcome};

/// Make links that take the place of the xenstore tools
///
/// xenstore-read, xenstore-ls and so on: through them this program behaves as these do. Links are replaced if they are there; other files never.
#[derive(Debug, Args)]
pub(crate) struct InstallLinks {
    /// Where to make them, such as /usr/local/bin
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Print completions for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which one
    shell: Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
pub(crate) struct Man {}

impl InstallLinks {
    pub(crate) fn run(&self) -> Outcome {
        let program = env::current_exe()
            .map_err(|error| Fail::Io("cannot tell where this program is".into(), error))?;
        for name in compat::LINKS {
            let link = self.dir.join(name);
            let failed = |error| Fail::Io(format!("link {}", link.display()), error);
            let is_link = fs::symlink_metadata(&link).is_ok_and(|file| file.is_symlink());
            if is_link {
                fs::remove_file(&link).map_err(failed)?;
            }
            symlink(&program, &link).map_err(failed)?;
            println!("{}", link.display());
        }
        Ok(true)
    }
}

impl Completions {
    pub(crate) fn run<C: CommandFactory>(&self) -> Outcome {
        clap_complete::generate(self.shell, &mut C::command(), "xs", &mut io::stdout());
        Ok(true)
    }
}

impl Man {
    pub(crate) fn run<C: CommandFactory>(&self) -> Outcome {
        let mut command = C::command();
        command.build();
        let mut page = Vec::new();
        let man = Manual::new(command.clone());
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            section(command, &mut page)?;
        }
        page.extend(LAST_SECTIONS.bytes());
        io::stdout().write_all(&page)?;
        Ok(true)
    }
}

/// One command, as a section of the page.
fn section(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut of_its_own = Vec::new();
    let name = command.get_name();
    // What all commands share is told once.
    let shown = command.clone().mut_args(|arg| {
        let is_hidden = arg.is_hide_set() || arg.is_global_set() || arg.get_id() == "help";
        arg.hide(is_hidden)
    });
    writeln!(page, ".SH \"xs {name}\"")?;
    let man = Manual::new(shown.bin_name(format!("xs {name}")));
    man.render_synopsis_section(&mut of_its_own)?;
    man.render_description_section(&mut of_its_own)?;
    man.render_options_section(&mut of_its_own)?;
    // Sections of a section have no headings.
    let text = with_dots(command, String::from_utf8_lossy(&of_its_own).into_owned());
    for line in text.lines() {
        page.extend(if line.starts_with(".SH") { ".PP" } else { line }.bytes());
        page.push(b'\n');
    }
    Ok(())
}

/// Shows which arguments may be repeated, as the help does.
fn with_dots(command: &Command, mut text: String) -> String {
    for arg in command.get_positionals() {
        if arg.get_num_args().is_none_or(|numbers| numbers.max_values() <= 1) {
            continue;
        }
        let names = arg.get_value_names().unwrap_or_default().join(" ");
        for (before, behind) in [("<", ">"), ("[", "]")] {
            let shown = format!(r"{before}\fI{names}\fR{behind}");
            text = text.replace(&shown, &format!("{shown}..."));
        }
    }
    text
}

const LAST_SECTIONS: &str = r#".SH "EXIT STATUS"
0: done. 1: failed, or "no" from exists. 2: the arguments make no sense.
.SH ENVIRONMENT
.TP
XENSTORED_PATH, XENSTORED_RUNDIR
Where the daemon's socket is, or its directory, unless \-\-socket or \-\-device says so.
.TP
NO_COLOR
If it is set, no colours are used.
.SH "IN PLACE OF THE XENSTORE TOOLS"
Called as xenstore\-read, xenstore\-write, xenstore\-list, xenstore\-ls, xenstore\-exists,
xenstore\-rm, xenstore\-chmod, xenstore\-watch, xenstore\-control or xenstore, it takes the
options of these tools, and gives their output and exit status. See install\-links.
.SH EXAMPLES
.TP
xs ls \-p /local/domain/5
What there is of domain 5, with the permissions.
.TP
xs write data/os Debian data/cpus 4
Both values or none, below one's own home.
.TP
xs write /tool/offset \-5 /tool/name \-\- \-x
A value that is a number may be negative; before others that start with a minus stands \-\-.
.TP
xs wait \-T 60 /local/domain/5/control/shutdown \(aq\(aq
Waits until the guest has taken notice, for a minute at most.
.TP
xs dump /vm > vm; xs restore vm
Keeps a part of the tree, and brings it back.
.TP
xs serve \-\-socket /tmp/xs \-\-guest 5=/tmp/xs\-5 & XENSTORED_PATH=/tmp/xs xs info
A xenstored for trying things out, without Xen.
"#;
