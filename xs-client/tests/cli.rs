//! What `xs` has beyond the xenstore tools, against its own `xs serve`.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn a_failed_write_of_several_leaves_nothing_behind() {
    let host = Host::new("");
    host.ok("write /a 1");
    let output = host.xs("write /b 2 /a 3 /c//d 4");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("write \"/c//d\"") && said.contains("empty component"), "{said}");
    assert_eq!(host.ok("ls /"), host.ok("ls"));
    assert_eq!(host.ok("read /a"), "1\n");
    assert_eq!(host.xs("exists /b").status.code(), Some(1));
}

#[test]
fn errors_tell_what_was_tried_what_was_said_and_what_to_do() {
    let host = Host::new("/closed [n0] = 1");
    let guest = |args: &str| stderr(&host.xs(&format!("--socket {} {args}", host.guest())));
    let said = guest("read /closed");
    for part in ["xs: read \"/closed\"", "EACCES", "permission denied", "xs get-perms /closed"] {
        assert!(said.contains(part), "{said}");
    }
    let said = stderr(&host.xs("read /closed/missing"));
    assert!(said.contains("ENOENT") && said.contains("xs list /closed"), "{said}");

    // The advice is to look at what exists.
    for (missing, advice) in [
        ("/closed/a/b/c", "`xs list /closed` shows"),
        ("/a/b/c", "`xs list /` shows"),
        ("a/b", "the home of the domain"),
    ] {
        let said = stderr(&host.xs(&format!("read {missing}")));
        assert!(said.contains(advice), "{said}");
    }
    let said = guest("read data/a/b");
    assert!(said.contains("`xs list data` shows"), "{said}");

    let said = stderr(&host.xs("--socket /nowhere/at/all read a"));
    for part in ["/nowhere/at/all", "No such file", "xs info"] {
        assert!(said.contains(part), "{said}");
    }
    let output = host.xs("write /a");
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&host.xs("control nothing"));
    assert!(said.contains("nothing"), "{said}");
}

#[test]
fn errors_speak_of_commands() {
    let host = Host::new("");
    for (command, said) in [
        ("ls /nope", "xs: list \"/nope\": ENOENT"),
        ("get-perms /nope", "xs: get-perms \"/nope\": ENOENT"),
        ("chmod /nope n0", "xs: chmod \"/nope\": ENOENT"),
        ("wait //", "xs: watch \"//\": "),
    ] {
        let error = stderr(&host.xs(command));
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn what_is_dumped_is_restored() {
    let seed = "/a [n0 r5] = \"x\\n\\xff\\\"\"\n/a/b [n5]\n/a/b/c [b5 n0] = 1";
    let host = Host::new(seed);
    let dump = host.ok("dump /a");
    assert_eq!(dump, "/a [n0 r5] = \"x\\n\\xff\\\"\"\n/a/b [n5] = \"\"\n/a/b/c [b5 n0] = \"1\"\n");
    host.ok("rm /a");
    host.ok("write /a/b old");
    host.ok_with("restore", &dump);
    assert_eq!(host.ok("dump /a"), dump);
    // A mistake at the end, and nothing is done at the start.
    host.ok("rm /a");
    let output = host.xs_with("restore", &format!("{dump}/x [wrong]\n"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standard input: line 4: "), "{}", stderr(&output));
    assert_eq!(host.xs("exists /a").status.code(), Some(1));
}

#[test]
fn many_nodes_are_dumped_and_restored_as_a_stream() {
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
fn transactions_are_all_or_nothing() {
    let host = Host::new("/from = x");
    let script = "read /from\nwrite /to/new 'with blanks' /to/two \"a\\tb\"\nrm /from\nls -f /to\n";
    assert_eq!(
        host.ok_with("transaction", script),
        "x\n/to/new = \"with blanks\"\n/to/two = \"a\\tb\"\n"
    );
    for (script, said) in [
        ("rm /to\nread /from\n", "line 2 failed; nothing was done"),
        ("rm /to\nexists /from\n", ""),
        ("rm /to\nfly\n", "line 2: unrecognized subcommand 'fly'"),
    ] {
        let output = host.xs_with("transaction", script);
        assert_eq!(output.status.code(), Some(1), "{script}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert_eq!(host.ok("list /to"), "new\ntwo\n");
    }
}

#[test]
fn wait_ends_when_the_value_comes_or_time_is_up() {
    let host = Host::new("/state = 1");
    host.ok("wait /state");
    host.ok(r"wait /state \61");
    host.ok("wait --gone /other");
    let mut outputs = TIMES.iter().map(|time| host.xs(&format!("wait -T {time} /state 4")));
    let output = outputs.find(|output| !stderr(output).contains("did not answer")).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/state is \"1\""), "{}", stderr(&output));

    let mut waiting = host.command("wait -T 60 /state 4").spawn().unwrap();
    host.ok("write /state 3 /state 4");
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn a_value_may_be_a_negative_number() {
    let host = Host::new("");
    host.ok("write /a -5 /b -0.5 -R");
    assert_eq!(host.ok("read /a /b"), "-5\n-0.5\n");
    host.ok("wait /a -5");
    host.ok_with("transaction", "write /a -6\n");
    assert_eq!(host.ok("read /a"), "-6\n");
    // What could be an option is none only behind the mark.
    assert_eq!(host.xs("write /a -x").status.code(), Some(2));
    host.ok("write /a -- -R");
    assert_eq!(host.ok("read /a"), "-R\n");
}

#[test]
fn a_watch_ends_with_a_message_when_the_daemon_goes_away() {
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
    assert!(stderr(&output).contains("the connection is lost"), "{}", stderr(&output));
    assert!(lines.next().is_none());
}

#[test]
fn a_watch_looks_as_deep_as_it_is_told_and_ends_in_time() {
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
    let mut seen = TIMES.iter().map(|time| host.ok(&format!("watch -T {time} /a")));
    assert_eq!(seen.find(|seen| !seen.is_empty()).unwrap(), "/a\n");
}

#[test]
fn the_daemon_is_described() {
    let host = Host::new("");
    let info = host.ok("info");
    for part in [&host.socket(), "$XENSTORED_PATH", "opened", "watch-depth", "dom0", "a round trip"]
    {
        assert!(info.contains(part), "{info}");
    }
    let info = host.ok(&format!("--socket {} info", host.guest()));
    assert!(info.contains("domain 5, a guest"), "{info}");
    assert_eq!(host.ok("ping -n 3").lines().count(), 3);

    let output = host.xs("--socket /nowhere info");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("/nowhere (named by option): No such file"), "{said}");
    // Who runs this need not be told to.
    let advice = stderr(&output);
    assert!(advice.contains("xs serve") && !advice.contains("xs info"), "{advice}");
}

#[test]
fn permissions_are_printed_and_set() {
    let host = Host::new("/a [n0]\n/a/b [n0]");
    host.ok("chmod -r /a n5 r0");
    assert_eq!(host.ok("get-perms -p /a /a/b"), "/a: n5 r0\n/a/b: n5 r0\n");
    assert_eq!(host.xs("chmod /a x5").status.code(), Some(2));
}

/// What the first program in README.md does, as the guest of an `xs serve`.
#[test]
fn a_guest_that_is_served_has_a_home() {
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
fn serve_loads_traces_and_cleans_up() {
    let mut host = Host::with("/a [n0] = loaded", &["--trace"]);
    assert_eq!(host.ok("read /a"), "loaded\n");
    let trace = host.stop();
    assert!(trace.contains("-> READ /a") && trace.contains("<- READ loaded"), "{trace}");
    assert!(!PathBuf::from(host.socket()).exists() && !PathBuf::from(host.guest()).exists());

    let file = host.dir.join("seed");
    fs::write(&file, "# fine\n/a [n0\n").unwrap();
    let output = host.xs(&format!("serve --socket /nowhere/at/all --load {}", file.display()));
    assert!(stderr(&output).contains("seed: line 2: "), "{}", stderr(&output));
}

#[test]
fn the_help_of_serve_is_about_the_sockets_that_it_makes() {
    let host = Host::new("");
    let help = host.ok("serve --help");
    assert!(help.contains("The socket to make") && help.contains("--guest"), "{help}");
    for other in ["--device", "--timeout", "default: $XENSTORED_PATH"] {
        assert!(!help.contains(other), "{help}");
    }
    let manual = host.ok("man");
    let section = manual.split(".SH ").find(|section| section.starts_with("\"xs serve\""));
    assert!(!section.unwrap().contains("device"), "{manual}");
}

#[test]
fn links_replace_links_and_nothing_else() {
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
    fs::write(&file, "mine").unwrap();
    let output = host.xs(&format!("install-links {}", bin.display()));
    assert!(stderr(&output).contains("xenstore-ls: File exists"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn manual_and_completions_know_all_commands() {
    let host = Host::new("");
    let man = host.ok("man");
    let help = host.ok("--help");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        // What is indented further goes on from the line before.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 15, "{help}");
    for command in commands {
        assert!(man.contains(&format!(".SH \"xs {command}\"")), "{command}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(
                host.ok(&format!("completions {shell}")).contains(command),
                "{shell} {command}"
            );
        }
    }
}

#[test]
fn the_manual_shows_what_may_be_repeated_and_examples() {
    let man = Host::new("").ok("man");
    for repeated in [r"<\fIKEY\fR>...", r"<\fIKEY VALUE\fR>...", r"[\fIKEY\fR]..."] {
        assert!(man.contains(repeated), "{repeated}");
    }
    let wait = man.lines().find(|line| line.starts_with(r"\fBxs wait")).unwrap();
    assert!(!wait.contains("..."), "{wait}");
    let examples = man.split(".SH EXAMPLES\n").nth(1).unwrap();
    // Each is of a command that there is.
    let commands = examples.lines().filter_map(|line| line.strip_prefix("xs ")?.split(' ').next());
    let commands: Vec<_> = commands.collect();
    for command in commands {
        assert!(man.contains(&format!(".SH \"xs {command}\"")), "{command}");
    }
}

/// For what ends when the time is up. On a busy machine a short time is over before the daemon has
/// answered.
const TIMES: [&str; 5] = ["0.01", "0.1", "1", "10", "100"];

/// An `xs serve` with a directory of its own.
struct Host {
    dir: PathBuf,
    daemon: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Host {
    fn new(seed: &str) -> Self {
        Host::with(seed, &[])
    }

    fn with(seed: &str, more: &[&str]) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("xs-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        fs::write(dir.join("load"), seed).expect("the temporary directory is writable");
        let mut daemon = xs()
            .args(["serve", "--socket"])
            .arg(dir.join("socket"))
            .arg("--guest")
            .arg(format!("5={}", dir.join("guest").display()))
            .arg("--load")
            .arg(dir.join("load"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xs starts");
        let mut stdout = BufReader::new(daemon.stdout.take().expect("it is piped"));
        for name in ["socket", "guest"] {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it is text");
            assert_eq!(line.trim_end(), dir.join(name).to_str().expect("it is text"));
        }
        Host { dir, daemon, _stdout: stdout }
    }

    fn socket(&self) -> String {
        self.dir.join("socket").display().to_string()
    }

    fn guest(&self) -> String {
        self.dir.join("guest").display().to_string()
    }

    fn command(&self, args: &str) -> Command {
        let mut command = xs();
        command.args(args.split(' ')).env("XENSTORED_PATH", self.socket());
        command
    }

    fn xs(&self, args: &str) -> Output {
        self.xs_with(args, "")
    }

    fn xs_with(&self, args: &str, stdin: &str) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xs starts");
        // It need not read what it does not want.
        let _ = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
        child.wait_with_output().expect("xs ends")
    }

    fn ok(&self, args: &str) -> String {
        self.ok_with(args, "")
    }

    fn ok_with(&self, args: &str, stdin: &str) -> String {
        let output = self.xs_with(args, stdin);
        assert!(output.status.success(), "{args}: {}", stderr(&output));
        stdout(output)
    }

    /// Stops the daemon as a person would. Returns what it said on standard error.
    fn stop(&mut self) -> String {
        let pid = self.daemon.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("there is a kill");
        assert!(killed.success());
        assert!(self.daemon.wait().expect("it ends").success());
        let mut said = String::new();
        let mut stderr = self.daemon.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).expect("it is text");
        said
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have been stopped, and what is left behind harms nobody.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn xs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xs"));
    for name in ["XENSTORED_PATH", "XENSTORED_RUNDIR"] {
        command.env_remove(name);
    }
    command
}

fn stdout(output: Output) -> String {
    String::from_utf8(output.stdout).expect("it is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
