//! Output that depends on the terminal.

use std::fs;

use crate::host::Host;
use crate::pty::Terminal;

/// `grüße`.
const SEED: &str = "/a = \"gr\\xc3\\xbc\\xc3\\x9fe\"";

fn shown(host: &Host, program: &str, args: &str, locale: &str, wanted: &str) {
    let mut terminal = Terminal::start_with(host, 80, program, args, locale);
    terminal.wait_for(wanted);
    terminal.wait();
}

#[test]
fn terminals_with_utf8_show_values_as_text() {
    let host = Host::new(SEED);
    let xs = env!("CARGO_BIN_EXE_xs");
    shown(&host, xs, "read /a", "en_US.UTF-8", "grüße");
    shown(&host, xs, "read /a", "C", r"gr\xc3\xbc\xc3\x9fe");
    shown(&host, xs, "ls -p", "C.UTF-8", "a = \"grüße\"  . . . ");
    shown(&host, xs, "find /a -l", "C.UTF-8", "/a [n0] = \"grüße\"");
    // Pipes get what they always got, and so do users of the xenstore tools.
    assert_eq!(host.ok("read /a"), "gr\\xc3\\xbc\\xc3\\x9fe\n");
    let bin = host.dir.join("bin");
    fs::create_dir(&bin).unwrap();
    host.ok(&format!("install-links {}", bin.display()));
    let read = bin.join("xenstore-read");
    shown(&host, read.to_str().unwrap(), "/a", "C.UTF-8", r"gr\xc3\xbc\xc3\x9fe");
    let ls = bin.join("xenstore-ls");
    shown(&host, ls.to_str().unwrap(), "", "C.UTF-8", r#"a = "gr\xc3\xbc\xc3\x9fe""#);
}

#[test]
fn tables_and_help_are_wrapped_to_the_terminal() {
    let host = Host::new("");
    shown(&host, env!("CARGO_BIN_EXE_xs"), "quota outstanding", "C", "taken");
    let mut terminal = Terminal::start(&host, 60, "quota outstanding");
    terminal.wait_for_screen(&[
        "QUOTA        LIMIT  UNIT      MEANING",
        "outstanding     20  requests  requests whose replies or",
        "                              events the domain has not",
        "                              taken",
    ]);
    terminal.wait();
}

#[test]
fn errors_have_the_colors_of_clap() {
    let host = Host::new("");
    let mut terminal = Terminal::start(&host, 80, "read /a");
    terminal.wait_for("hint: ");
    assert_eq!(terminal.color_at(0, 0), vt100::Color::Idx(1));
    assert_eq!(terminal.color_at(1, 0), vt100::Color::Idx(2));
    assert_eq!(terminal.color_at(0, 5), vt100::Color::Default);
    assert_eq!(terminal.wait(), 1);
}
