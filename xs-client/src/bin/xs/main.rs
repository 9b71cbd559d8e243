//! `xs`: Xenstore on the command line.
//!
//! Under its own name it has the commands that [`cli`] defines. Called as `xenstore-read` and so
//! on it takes the place of the xenstore tools: see [`compat`].
#![forbid(unsafe_code)]

mod cli;
mod compat;
mod connect;
mod control;
mod dump;
mod escape;
mod extras;
mod fail;
mod info;
mod json;
mod ls;
mod progress;
mod serve;
mod terminal;
mod transaction;
mod tree;
mod watch;
mod words;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    let name = args.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let status = match compat::Tool::from_name(&name) {
        Some(tool) => tool.main(&name, args.get(1..).unwrap_or_default()),
        None => cli::main(args),
    };
    ExitCode::from(status)
}
