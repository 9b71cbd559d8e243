//! What belongs to an installation: links in place of the xenstore tools, completions, a manual
//! page.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::compat;
use crate::fail::{Fail, Outcome};

/// Make links to this program that take the place of xenstore-read, xenstore-ls and so on
///
/// Links are replaced if they are there; other files never.
#[derive(Debug, Args)]
pub(crate) struct InstallLinks {
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Print completions for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
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
        clap_mangen::Man::new(C::command()).render(&mut io::stdout())?;
        Ok(true)
    }
}
