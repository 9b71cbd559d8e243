//! `xs top`, by its screens.

use crate::host::Host;
use crate::pty::Terminal;

const SEED: &str = "/view/web/name = needle\n/view/web/state = 1\n/view/db\n/view/db/memory = 1024";

/// Returns all daemons with the nodes of [`SEED`] below a root of the test's own: tests run at the same
/// time.
fn hosts(root: &str) -> Vec<Host> {
    Host::on_every_daemon(root, &SEED.replace("/view", root))
}

const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";
const ESC: &str = "\x1b";

#[test]
fn screens_fit_the_width_of_the_terminal() {
    for host in hosts("/view") {
        let mut top = Terminal::start(&host, 80, "top /view");
        top.wait_for_screen(&[
            "xs top /view  0.0 events/s  3 nodes read  …",
            " ▾ /view",
            "   ▸ db",
            "   ▸ web",
            "",
            "",
            "",
            "",
            "/view = \"\"",
            "belongs to domain 0, which may read and write; other guests may neither read…",
        ]);
        top.type_text(&format!("{DOWN}{DOWN}{RIGHT}"));
        let tree =
            [" ▾ /view", "   ▸ db", "   ▾ web", "       name = \"needle\"", "       state = \"1\""];
        let with_heading = |heading| [&[heading][..], &tree].concat();
        top.wait_for_screen(&with_heading("xs top /view  0.0 events/s  5 nodes read…"));
        for columns in [40, 200, 80] {
            top.resize(columns);
            let with_perms = tree.map(|line| format!("{line:176} n0"));
            match columns {
                40 => top.wait_for_screen(&with_heading("xs top /view  0.0 events/s  5 nodes read…")),
                200 => top.wait_for_screen(&[
                    "xs top /view  0.0 events/s  5 nodes read…",
                    with_perms[0].as_str(),
                    with_perms[1].as_str(),
                ]),
                _ => top.wait_for("arrows move, open, close   / filter   e edit   p permissions   r reload   q quit"),
            }
        }
        top.type_text("p");
        top.wait_for(&format!("{:56} n0", " ▾ /view"));
        top.type_text(&format!("{LEFT}{LEFT}"));
        top.wait_for_screen(&["xs top…", " ▾ /view…", "   ▸ db…", "   ▸ web…", ""]);
        top.type_text("q");
        assert_eq!(top.wait(), 0);
        assert!(!top.is_alternate());
    }
}

#[test]
fn changes_are_marked_as_they_happen() {
    for host in hosts("/live") {
        let mut top = Terminal::start(&host, 80, "top /live");
        top.wait_for("   ▸ web");
        top.type_text(&format!("{DOWN}{DOWN}{RIGHT}"));
        top.wait_for("       state = \"1\"");
        host.ok("rm /live/web/name");
        let write = || drop(host.ok("write /live/web/state 2 /live/web/zone eu"));
        let changed = "   ▾ web\n*      state = \"2\"\n*      zone = \"eu\"\n";
        top.repeat_until_shown(changed, write);
        top.type_text("q");
        assert_eq!(top.wait(), 0);
    }
}

#[test]
fn quotas_and_events_are_shown_by_domain() {
    let host = Host::new("");
    let mut top = Terminal::start(&host, 80, "top /local/domain");
    top.wait_for("   ▸ 5");
    top.type_text(DOWN);
    top.wait_for("domain 5: nodes 11/1000  watches 0/128  transactions 0/10  outstanding 0/20");
    // The rate is that of the last seconds, and depends on the speed of the machine.
    let socket = host.guest();
    let write = || drop(host.ok(&format!("--socket {socket} write data/a 1")));
    top.repeat_until_shown(" events/s (domain 5 ", write);
    top.wait_for("domain 5: nodes 12/1000");
    top.type_text("q");
    assert_eq!(top.wait(), 0);
}

#[test]
fn filter_shows_matching_nodes_of_the_whole_tree() {
    for host in hosts("/sift") {
        let mut top = Terminal::start(&host, 80, "top /sift");
        top.wait_for("   ▸ web");
        top.type_text("/NEED");
        top.wait_for_screen(&["xs top…", " ▾ /sift", "   ▸ web", "       name = \"needle\"", ""]);
        top.wait_for("filter: NEED");
        top.type_text(&format!("\r{DOWN}{DOWN}"));
        top.wait_for("/sift/web/name = \"needle\"");
        top.type_text(ESC);
        top.wait_for("   ▸ db");
        top.type_text("q");
        assert_eq!(top.wait(), 0);
    }
}

#[test]
fn values_are_edited_in_place() {
    for host in hosts("/edit") {
        let mut top = Terminal::start(&host, 80, "top /edit/db");
        top.wait_for("memory = \"1024\"");
        top.type_text(&format!("{DOWN}e"));
        top.wait_for("new value: 1024");
        top.type_text("\x7f\x7fa\\n\r");
        top.wait_for("/edit/db/memory is written");
        top.wait_for("memory = \"10a\\n\"");
        assert_eq!(host.ok("read /edit/db/memory"), "10a\\n\n");
        // Escape leaves the value as it is.
        top.type_text("ex");
        top.wait_for("new value: 10a\\nx");
        top.type_text(ESC);
        top.wait_for("arrows move");
        assert_eq!(host.ok("read /edit/db/memory"), "10a\\n\n");
        top.type_text("\x03");
        assert_eq!(top.wait(), 0);
    }
}

#[test]
fn view_goes_on_when_the_daemon_is_back() {
    let mut host = Host::new("/view/name = 1");
    let mut top = Terminal::start(&host, 80, "top /view");
    top.wait_for("name = \"1\"");
    host.stop();
    host.start_again("/view/name = 2");
    top.wait_for("connected again");
    top.wait_for("name = \"2\"");
    top.type_text("q");
    assert_eq!(top.wait(), 0);
}

#[test]
fn view_needs_a_terminal_and_a_node() {
    let host = Host::new("");
    let output = host.xs("top");
    assert!(crate::host::stderr(&output).contains("must be a terminal"));
    let mut top = Terminal::start(&host, 80, "top /no");
    top.wait_for("xs: list \"/no\": ENOENT");
    assert_eq!(top.wait(), 1);
    assert!(!top.is_alternate());
}
