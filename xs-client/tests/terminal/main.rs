//! `xs` in a terminal: the shell, the live view, and output that depends on the terminal.

// The tests of `cli` use all of it.
#[allow(dead_code)]
#[path = "../cli/host.rs"]
mod host;
mod output;
mod pty;
mod shell;
mod top;
