//! `xs`, the command-line client for Xenstore.
//!
//! Under its own name, the program has the commands defined in [`cli`]. Invoked as `xenstore-read`,
//! `xenstore-ls` and so on, it behaves as that tool; see [`compat`].
#![deny(unsafe_code)]
// Both panic if a write fails; see the module `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod ancestors;
mod cli;
mod commands;
mod compat;
mod completion;
mod connection;
mod error;
mod escape;
mod examples;
mod exit;
mod glob;
mod help;
mod hint;
mod home;
mod in_words;
mod input;
mod json;
mod output;
mod progress;
mod quotas;
mod sigpipe;
mod similar;
mod split_words;
mod subtree;
mod table;
mod terminal;

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
        None => {
            completion::answer_shell(cli::command);
            cli::main(args)
        }
    };
    ExitCode::from(status)
}
