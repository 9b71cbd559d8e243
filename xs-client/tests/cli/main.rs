//! Tests of `xs` against its own `xs serve`. The `side_by_side` test compares it with the xenstore
//! tools.

mod help;
mod host;
mod messages;
mod on_daemons;
mod output;
mod proxying;
mod wait_until;
mod watching;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use self::host::{Host, stderr, stdout};

#[test]
fn failed_write_of_several_values_changes_nothing() {
    let host = Host::new("");
    host.ok("write /a 1");
    let output = host.xs("write /b 2 /a 3 /c//d 4");
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.starts_with("xs: write \"/c//d\": "), "{error}");
    assert_eq!(host.ok("ls /"), host.ok("ls"));
    assert_eq!(host.ok("read /a"), "1\n");
    assert_eq!(host.xs("exists /b").status.code(), Some(1));
}

#[test]
fn errors_name_command_path_and_code_with_a_hint() {
    let host = Host::new("/closed [n0] = 1");
    let guest = |args: &str| stderr(&host.xs(&format!("--socket {} {args}", host.guest())));
    let error = guest("read /closed");
    for part in ["xs: read \"/closed\": EACCES", "in dom0, `xs get-perms --long /closed`"] {
        assert!(error.contains(part), "{error}");
    }
    let error = stderr(&host.xs("--socket /nowhere/at/all read a"));
    for part in ["xs: cannot connect to /nowhere/at/all: No such file", "`xs info`"] {
        assert!(error.contains(part), "{error}");
    }
    let error = stderr(&host.xs("control nothing"));
    for part in ["xs: control \"nothing\": EINVAL", "memreport"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn hint_for_a_missing_node_names_the_nearest_existing_ancestor() {
    let host = Host::new("/closed [n0] = 1");
    for (missing, hint) in [
        ("/closed/missing", "hint: `xs list /closed` shows"),
        ("/closed/a/b/c", "hint: `xs list /closed` shows"),
        ("/a/b/c", "hint: `xs list /` shows"),
        ("a/b", "relative to the home of the domain"),
    ] {
        let error = stderr(&host.xs(&format!("read {missing}")));
        assert!(error.contains(hint), "{error}");
    }
    let error = stderr(&host.xs(&format!("--socket {} read data/a/b", host.guest())));
    assert!(error.contains("hint: `xs list data` shows"), "{error}");
}

#[test]
fn invalid_arguments_exit_with_status_2() {
    let host = Host::new("");
    for args in ["write /a", "chmod /a x5", "write /a -x", "fly", "wait -T soon /a"] {
        assert_eq!(host.xs(args).status.code(), Some(2), "{args}");
    }
}

#[test]
fn errors_name_commands_instead_of_methods() {
    let host = Host::new("");
    for (command, start) in [
        ("ls /nope", "xs: list \"/nope\": ENOENT"),
        ("get-perms /nope", "xs: get-perms \"/nope\": ENOENT"),
        ("chmod /nope n0", "xs: chmod \"/nope\": ENOENT"),
        ("wait //", "xs: watch \"//\": "),
    ] {
        let error = stderr(&host.xs(command));
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn restore_recreates_dumped_nodes() {
    let seed = "/a [n0 r5] = \"x\\n\\xff\\\"\"\n/a/b [n5]\n/a/b/c [b5 n0] = 1";
    let host = Host::new(seed);
    let dump = host.ok("dump /a");
    assert_eq!(dump, "/a [n0 r5] = \"x\\n\\xff\\\"\"\n/a/b [n5] = \"\"\n/a/b/c [b5 n0] = \"1\"\n");
    host.ok("rm /a");
    host.ok("write /a/b old");
    host.ok_with("restore", &dump);
    assert_eq!(host.ok("dump /a"), dump);
    // An invalid last line prevents all changes.
    host.ok("rm /a");
    let output = host.xs_with("restore", &format!("{dump}/x [wrong]\n"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standard input: line 4: "), "{}", stderr(&output));
    assert_eq!(host.xs("exists /a").status.code(), Some(1));
}

#[test]
fn large_subtrees_are_dumped_and_restored() {
    let host = Host::new("");
    let many: String =
        (0..2500).map(|at| format!("/many/{}/{} [n0 r5] = \"v{at}\"\n", at % 7, at)).collect();
    host.ok_with("restore", &many);
    let dump = host.ok("dump /many");
    assert!(dump.starts_with("# More than 1000 nodes"), "{}", &dump[..80]);
    assert_eq!(dump.lines().count(), 1 + 1 + 7 + 2500);
    let mut lines: Vec<_> = many.lines().collect();
    lines.sort_unstable();
    let mut dumped: Vec<_> = dump.lines().filter(|line| line.ends_with('"')).collect();
    dumped.retain(|line| line.matches('/').count() == 3);
    dumped.sort_unstable();
    assert_eq!(dumped, lines);
}

#[test]
fn failed_transactions_change_nothing() {
    let host = Host::new("/from = x");
    let script = "read /from\nwrite /to/new 'with blanks' /to/two \"a\\tb\"\nrm /from\nls -f /to\n";
    assert_eq!(
        host.ok_with("transaction", script),
        "x\n/to/new = \"with blanks\"\n/to/two = \"a\\tb\"\n"
    );
    for (script, message) in [
        ("rm /to\nread /from\n", "line 2 failed; nothing was changed"),
        ("rm /to\nexists /from\n", ""),
        ("rm /to\nfly\n", "line 2: unrecognized subcommand 'fly'"),
    ] {
        let output = host.xs_with("transaction", script);
        assert_eq!(output.status.code(), Some(1), "{script}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
        assert_eq!(stderr(&output).is_empty(), message.is_empty());
        assert_eq!(host.ok("list /to"), "new\ntwo\n");
    }
}

#[test]
fn copies_onto_themselves_are_refused_in_relative_and_absolute_form() {
    for (domid, is_guest) in [(0, false), (5, true)] {
        let home = format!("/local/domain/{domid}");
        let host = Host::new(&format!("{home}/data [n5] = 1\n{home}/data/x [n5] = 2"));
        let before = host.ok("dump /");
        let socket = if is_guest { host.guest() } else { host.socket() };
        for (one, other) in [
            ("data".to_owned(), format!("{home}/data")),
            ("data".to_owned(), format!("{home}/data/x")),
            ("data/x".to_owned(), format!("{home}/data")),
            ("data/x".to_owned(), home.clone()),
            ("data".to_owned(), "/".to_owned()),
        ] {
            for command in ["mv", "mv -f", "cp -f"] {
                for (from, to) in [(&one, &other), (&other, &one)] {
                    let args = format!("{command} {from} {to}");
                    let output = host.xs(&format!("--socket {socket} {args}"));
                    let message = format!("{from} and {to} are the same node, or one is below");
                    assert!(stderr(&output).contains(&message), "{args}: {}", stderr(&output));
                    assert_eq!(host.ok("dump /"), before, "{args}");
                }
            }
        }
        // Other relative paths are copied.
        host.ok(&format!("--socket {socket} cp data/x {home}/data/y"));
        host.ok(&format!("--socket {socket} mv {home}/data/y data/z"));
        assert_eq!(host.ok(&format!("read {home}/data/x {home}/data/z")), "2\n2\n");
    }
}

#[test]
fn nothing_is_moved_if_the_home_is_not_known() {
    let host = Host::new("/local/domain/5/data/x [n5] = 1\n/local/domain/5/domid [n0] = 5");
    let args = format!("--socket {} mv data /local/domain/5/data/x/y", host.guest());
    let output = host.xs(&args);
    assert!(stderr(&output).contains("read \"domid\": EACCES"), "{}", stderr(&output));
    assert_eq!(host.ok("read /local/domain/5/data/x"), "1\n");
}

#[test]
fn wait_ends_at_the_value_or_the_timeout() {
    let host = Host::new("/state = 1");
    host.ok("wait /state");
    host.ok(r"wait /state \61");
    host.ok("wait --gone /other");
    let message = "xs: timed out: /state still has the value \"1\"\n";
    let mut outputs = TIMEOUTS.iter().map(|time| host.xs(&format!("wait -T {time} /state 4")));
    let output = outputs.find(|output| stderr(output) == message).unwrap();
    assert_eq!(output.status.code(), Some(1));

    let mut waiting = host.command("wait -T 60 /state 4").spawn().unwrap();
    host.ok("write /state 3 /state 4");
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn negative_numbers_are_values() {
    let host = Host::new("");
    host.ok("write /a -5 /b -0.5 -R");
    assert_eq!(host.ok("read /a /b"), "-5\n-0.5\n");
    host.ok("wait /a -5");
    host.ok_with("transaction", "write /a -6\n");
    assert_eq!(host.ok("read /a"), "-6\n");
    // Any other value with a leading hyphen needs `--`.
    assert_eq!(host.xs("write /a -x").status.code(), Some(2));
    host.ok("write /a -- -R");
    assert_eq!(host.ok("read /a"), "-R\n");
}

#[test]
fn watch_fails_when_the_daemon_stops() {
    let mut host = Host::new("");
    let mut watch =
        host.command("watch /a /b").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut first = [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()];
    first.sort();
    assert_eq!(first, ["/a", "/b"]);
    host.ok("write /b/c 1");
    assert_eq!(lines.next().unwrap().unwrap(), "/b/c");
    host.stop();
    let output = watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.starts_with("xs: watch \"/") && error.contains("hint: "), "{error}");
    assert!(lines.next().is_none());
}

#[test]
fn watch_obeys_depth_number_and_seconds() {
    let host = Host::new("/a/b/c = 1");
    let mut watch = host.command("watch -n 3 -d 1 /a").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "/a");
    host.ok("write /a/b/c 2");
    host.ok("write /a/b 2");
    assert_eq!(lines.next().unwrap().unwrap(), "/a/b");
    host.ok("write /a 2");
    assert_eq!(lines.next().unwrap().unwrap(), "/a");
    assert!(watch.wait().unwrap().success());
    let mut outputs = TIMEOUTS.iter().map(|time| host.ok(&format!("watch -T {time} /a")));
    assert_eq!(outputs.find(|output| !output.is_empty()).unwrap(), "/a\n");
}

#[test]
fn info_describes_daemon_and_connection() {
    let host = Host::new("");
    let info = host.ok("info");
    for part in
        [&host.socket(), "($XENSTORED_PATH): connected", "watch-depth", "dom0", "per round trip"]
    {
        assert!(info.contains(part), "{info}");
    }
    let info = host.ok(&format!("--socket {} info", host.guest()));
    assert!(info.contains("guest, domain 5"), "{info}");
    assert_eq!(host.ok("ping -n 3").lines().count(), 3);

    let output = host.xs("--socket /nowhere info");
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(stdout(output).contains("/nowhere (--socket): No such file"));
    // The hint is not to run `xs info` again.
    assert!(error.contains("xs serve") && !error.contains("xs info"), "{error}");
}

#[test]
fn chmod_changes_a_subtree() {
    let host = Host::new("/a [n0]\n/a/b [n0]");
    host.ok("chmod -r /a n5 r0");
    assert_eq!(host.ok("get-perms -p /a /a/b"), "/a: n5 r0\n/a/b: n5 r0\n");
}

/// Performs the operations of the first program in README.md.
#[test]
fn served_guests_have_the_nodes_of_libxl() {
    let host = Host::new("");
    let guest = |args: &str| host.ok(&format!("--socket {} {args}", host.guest()));
    assert_eq!(guest("read domid name"), "5\nguest-5\n");
    assert!(guest("read vm").starts_with("/vm/"));
    guest("write data/greeting hello");
    host.ok("write /local/domain/5/control/shutdown poweroff");
    guest("wait control/shutdown poweroff");
    assert_eq!(host.ok("read /local/domain/5/data/greeting"), "hello\n");
}

#[test]
fn serve_loads_nodes_traces_requests_and_removes_its_sockets() {
    let mut host = Host::with("/a [n0] = loaded", &["--trace"]);
    assert_eq!(host.ok("read /a"), "loaded\n");
    let trace = host.stop();
    assert!(trace.contains("-> READ /a") && trace.contains("<- READ loaded"), "{trace}");
    assert!(!PathBuf::from(host.socket()).exists() && !PathBuf::from(host.guest()).exists());

    let file = host.dir.join("seed");
    fs::write(&file, "# valid\n/a [n0\n").unwrap();
    let output = host.xs(&format!("serve --socket /nowhere/at/all --load {}", file.display()));
    assert!(stderr(&output).contains("seed: line 2: "), "{}", stderr(&output));
}

#[test]
fn help_of_serve_omits_connection_options() {
    let host = Host::new("");
    let help = host.ok("serve --help");
    assert!(help.contains("Socket to create") && help.contains("--guest"), "{help}");
    for other in ["--device", "--timeout", "default: $XENSTORED_PATH"] {
        assert!(!help.contains(other), "{help}");
    }
    let manual = host.ok("man");
    let section = manual.split(".SS ").find(|section| section.starts_with("\"xs serve\""));
    assert!(!section.unwrap().contains("device"), "{manual}");
}

#[test]
fn install_links_replaces_only_links() {
    let host = Host::new("/a = 1");
    let bin = host.dir.join("bin");
    fs::create_dir(&bin).unwrap();
    for _ in 0..2 {
        assert_eq!(host.ok(&format!("install-links {}", bin.display())).lines().count(), 10);
    }
    let mut read = Command::new(bin.join("xenstore-read"));
    let output = read.arg("/a").env("XENSTORED_PATH", host.socket()).output().unwrap();
    assert_eq!(stdout(output), "1\n");
    let mut read = Command::new(bin.join("xenstore-read"));
    let output = read.arg("/no/such").env("XENSTORED_PATH", host.socket()).output().unwrap();
    assert!(stderr(&output).contains("`xs list /` shows"), "{}", stderr(&output));
    let file = bin.join("xenstore-ls");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "not a link").unwrap();
    let output = host.xs(&format!("install-links {}", bin.display()));
    assert!(stderr(&output).contains("xenstore-ls: File exists"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a link");
}

#[test]
fn xenstore_tools_follow_the_newest_release() {
    let host = Host::new("/a = 1");
    let bin = host.dir.join("bin");
    fs::create_dir(&bin).unwrap();
    host.ok(&format!("install-links {}", bin.display()));
    let run = |tool: &str, args: &str| {
        let mut command = Command::new(bin.join(tool));
        command.args(args.split(' ')).env("XENSTORED_PATH", host.socket()).output().unwrap()
    };
    for args in ["-h", "--help /a", "-h -f"] {
        let output = run("xenstore-read", args);
        assert_eq!(output.status.code(), Some(0), "{args}");
        assert!(stderr(&output).contains("[-h] [-p] [-R] key [...]"), "{}", stderr(&output));
    }
    for args in ["-f -h", "-d 1 /a"] {
        assert_eq!(run("xenstore-read", args).status.code(), Some(1), "{args}");
    }
    let paths = stdout(run("xenstore-list", "-p /"));
    assert!(paths.lines().any(|path| path == "/a"), "{paths}");
    assert_eq!(stdout(run("xenstore-watch", "-n 1 -d 0 /a")), "/a\n");
}

/// Timeouts to try in turn. On a busy machine a short one may expire before the daemon has replied.
const TIMEOUTS: [&str; 5] = ["0.01", "0.1", "1", "10", "100"];
