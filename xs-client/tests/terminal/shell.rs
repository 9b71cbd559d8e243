//! `xs shell`, typed at and as a script.

use crate::host::{Host, stderr, stdout};
use crate::pty::Terminal;

const TAB: &str = "\t";
const UP: &str = "\x1b[A";
const HOME: &str = "\x01";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

#[test]
fn commands_are_relative_to_the_node_in_the_prompt() {
    for columns in [40, 80, 200] {
        let host = Host::new("/tree/web/name = 1\n/tree/db");
        let mut shell = Terminal::start(&host, columns, "shell /");
        shell.wait_for("/> ");
        shell.type_text("cd tree/web\r");
        shell.wait_for("/tree/web> ");
        shell.type_text("write name new\rread name\rls ..\rpwd\r");
        shell.wait_for_screen(&[
            "/> cd tree/web",
            "/tree/web> write name new",
            "/tree/web> read name",
            "new",
            "/tree/web> ls ..",
            "web = \"\"",
            " name = \"new\"",
            "db = \"\"",
            "/tree/web> pwd",
            "/tree/web",
            "/tree/web>",
        ]);
        shell.type_text(CTRL_D);
        assert_eq!(shell.wait(), 0);
    }
}

#[test]
fn line_is_drawn_again_when_the_terminal_is_resized() {
    let host = Host::new("/a");
    let value = "0123456789".repeat(6);
    let line = format!("/> write a {value}");
    let mut shell = Terminal::start(&host, 80, "shell /");
    shell.wait_for("/> ");
    shell.type_text(&format!("write a {value}"));
    shell.wait_for_screen(&[&line, ""]);
    // In the last width, the cursor is where it was, and goes to the start and back.
    for columns in [40, 60, 200, 40] {
        shell.resize(columns);
        let (first, rest) = line.split_at(line.len().min(columns.into()));
        // The line editor misses a signal that comes just before it reads.
        shell.repeat_until_shown(&format!("{first}\n{rest}\n"), || shell.signal_resize());
    }
    shell.type_text(&format!("x{HOME} "));
    let changed = format!("/>  {}x", &line["/> ".len()..]);
    shell.wait_for_screen(&[&changed[..40], &changed[40..], ""]);
    shell.type_text("\r");
    shell.wait_for_screen(&[&changed[..40], &changed[40..], "/>", ""]);
    assert_eq!(host.ok("read /a"), format!("{value}x\n"));
}

#[test]
fn keys_and_commands_are_completed() {
    let host = Host::new("/tree/web/name = 1\n/tree/web/note = 2\n/other");
    let mut shell = Terminal::start(&host, 80, "shell /tree");
    shell.wait_for("/tree> ");
    shell.type_text(&format!("rea{TAB}we{TAB}nam{TAB}\r"));
    shell.wait_for_screen(&["/tree> read web/name", "1", "/tree>"]);
    shell.type_text(&format!("read /tree/web/n{TAB}"));
    // The common start is there already; a second key lists the candidates.
    shell.type_text(TAB);
    shell.wait_for("name  note");
    shell.type_text(CTRL_C);
    shell.wait_for("/tree> read /tree/web/n\n/tree>");
    shell.type_text(&format!("read ../ot{TAB}\r"));
    shell.wait_for("read ../other");
    shell.type_text("exit\r");
    assert_eq!(shell.wait(), 0);
}

#[test]
fn transactions_are_shown_in_the_prompt() {
    let host = Host::new("/tree/name = 1");
    let mut shell = Terminal::start(&host, 80, "shell /tree");
    shell.wait_for("/tree> ");
    shell.type_text("begin\rwrite name 2\r");
    shell.wait_for("/tree (transaction)> write name 2");
    shell.type_text("read name\r");
    shell.wait_for("\n2\n");
    assert_eq!(host.ok("read /tree/name"), "1\n");
    shell.type_text("commit\r");
    shell.wait_for("/tree (transaction)> commit\n/tree>");
    assert_eq!(host.ok("read /tree/name"), "2\n");
    shell.type_text("begin\rrm name\rabort\rexists name\rexists no\r");
    shell.wait_for("exists no\nno\n");
    shell.type_text("commit\r");
    shell.wait_for("commit: there is no transaction");
}

#[test]
fn values_may_have_several_lines_and_lines_are_kept_in_a_history() {
    let host = Host::new("/a");
    let mut shell = Terminal::start(&host, 80, "shell /");
    shell.wait_for("/> ");
    shell.type_text("write a 'one\rtwo'\r");
    shell.type_text("cat a\r");
    shell.wait_for("one\\ntwo");
    shell.type_text("read nothing\r");
    // Ctrl-D is a key of the editor only when there is a prompt.
    shell.wait_for("nodes\n/>");
    shell.type_text(CTRL_D);
    assert_eq!(shell.wait(), 0);
    assert_eq!(host.ok("read --raw /a"), "one\ntwo");
    let mut shell = Terminal::start(&host, 80, "shell /");
    shell.wait_for("/> ");
    shell.type_text(&format!("{UP}{UP}\r"));
    shell.wait_for_screen(&["/> cat a", "one\\ntwo", "/>"]);
}

#[test]
fn scripts_stop_at_the_first_command_that_fails() {
    for host in Host::on_every_daemon("/shell", "/shell = 1\n/shell/a = 2") {
        let script = "# about\ncd /shell\npwd\nwrite b 'x\ny'\ncat b\nbegin\nwrite c 3\nabort\nls -f\n\
                      begin\nmv a d\ncommit\nlist .\n";
        let output = host.ok_with("shell", script);
        let wanted = "/shell\nx\\ny\n/shell/a = \"2\"\n/shell/b = \"x\\ny\"\nb\nd\n";
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        // Daemons list children in orders of their own.
        assert_eq!(sorted(&output), sorted(wanted));
        for (script, message) in [
            ("cd /shell\nread no\nwrite b 4\n", "line 2 failed\nxs: read \"/shell/no\": ENOENT"),
            ("cd /shell/no\nwrite b 4\n", "line 1 failed"),
            ("fly\nwrite /shell/b 4\n", "unrecognized subcommand 'fly'"),
            ("begin\nwrite /shell/b 4\n", "standard input ends before the transaction"),
            ("write /shell/b '4\n", "line 1: unclosed quote"),
            ("exists /shell/no\nwrite /shell/b 4\n", ""),
        ] {
            let output = host.xs_with("shell", script);
            assert_eq!(output.status.code(), Some(1), "{script}");
            assert!(stderr(&output).contains(message), "{script}: {}", stderr(&output));
            assert_eq!(host.ok("read /shell/b"), "x\\ny\n", "{script}: {}", stdout(output));
        }
    }
}
