//! `xs install-links`: links through which the program behaves as the xenstore tools.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use clap::Args;

use crate::error::{CommandError, CommandResult};
use crate::output::Output;

/// Create links with the names of the xenstore-* tools
///
/// Invoked through a link such as xenstore-read or xenstore-ls, xs behaves as that tool. Existing
/// symbolic links are replaced. Another file with such a name is an error.
#[derive(Debug, Args)]
pub(crate) struct InstallLinks {
    /// Directory for the links, such as /usr/local/bin
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

const LINKS: [&str; 10] = [
    "xenstore",
    "xenstore-chmod",
    "xenstore-control",
    "xenstore-exists",
    "xenstore-list",
    "xenstore-ls",
    "xenstore-read",
    "xenstore-rm",
    "xenstore-watch",
    "xenstore-write",
];

impl InstallLinks {
    pub(crate) fn run(&self, output: &mut Output) -> CommandResult {
        let program = env::current_exe()
            .map_err(|error| CommandError::io("cannot find the path of this program", error))?;
        let mut created = Vec::new();
        for name in LINKS {
            let link = self.dir.join(name);
            let failed =
                |error| CommandError::io(format!("cannot create link {}", link.display()), error);
            let is_link = fs::symlink_metadata(&link).is_ok_and(|file| file.is_symlink());
            if is_link {
                fs::remove_file(&link).map_err(failed)?;
            }
            symlink(&program, &link).map_err(failed)?;
            created.push(link);
        }
        print(&created, output).map_err(CommandError::output_after("links created"))?;
        Ok(true)
    }
}

fn print(links: &[PathBuf], output: &mut Output) -> io::Result<()> {
    for link in links {
        writeln!(output, "{}", link.display())?;
    }
    output.flush()
}
