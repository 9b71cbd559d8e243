//! `xs watch` with its options, on the in-memory and on genuine daemons.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use xs_proto::{Header, MessageType, ReqId, TxId};

use crate::host::{Host, stderr};
use crate::messages::next_message;
use crate::wait_until::wait_until;

/// Runs a test on every daemon, with nodes below `/NAME`.
fn on_every_daemon(name: &str, test: impl Fn(&Host)) {
    let seed = format!("/{name} = 0\n/{name}/a = 1\n/{name}/a/b = 2");
    for host in Host::on_every_daemon(&format!("/{name}"), &seed) {
        test(&host);
    }
}

/// A running `xs watch`.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(host: &Host, args: &str) -> Self {
        let mut command = host.command(&format!("watch {args}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("the command prints a line").expect("output is UTF-8")
    }

    /// Returns the other lines and the messages, once the command has ended by itself.
    fn finish(self) -> (Vec<String>, String) {
        let rest = self.lines.map(Result::unwrap).collect();
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        (rest, stderr(&output))
    }
}

#[test]
fn values_before_and_after_each_change_are_printed() {
    on_every_daemon("watch-values", |host| {
        let mut watch = Watch::start(host, "-n 6 --values /watch-values");
        assert_eq!(watch.next(), "/watch-values: \"0\"");
        for (command, line) in [
            ("write /watch-values/a 3", "/watch-values/a: \"1\" -> \"3\""),
            ("chmod /watch-values/a n0 r5", "/watch-values/a: \"3\" (unchanged)"),
            ("write /watch-values/c x", "/watch-values/c: (none) -> \"x\""),
            ("rm /watch-values/a", "/watch-values/a: \"3\" -> (none)"),
            ("write /watch-values/a/b 4", "/watch-values/a/b: (none) -> \"4\""),
        ] {
            host.ok(command);
            assert_eq!(watch.next(), line);
        }
        watch.finish();
    });
}

#[test]
fn changes_are_json_objects_with_times() {
    on_every_daemon("watch-json", |host| {
        let mut watch = Watch::start(host, "-n 2 --json --timestamps --values /watch-json/a");
        let mut next = || {
            let line = watch.next();
            let (time, rest) = line.split_once("\", ").unwrap();
            assert!(time.starts_with("{\"time\": \"20") && time.ends_with('Z'), "{line}");
            rest.to_owned()
        };
        let start =
            r#""event": "start", "path": "/watch-json/a", "watched": "/watch-json/a", "new": "1"}"#;
        assert_eq!(next(), start);
        host.ok("rm /watch-json/a");
        let removed = r#""event": "change", "path": "/watch-json/a", "watched": "/watch-json/a", "old": "1", "new": null}"#;
        assert_eq!(next(), removed);
        let mut plain = Watch::start(host, "-n 1 --json /watch-json");
        let line = r#"{"event": "change", "path": "/watch-json", "watched": "/watch-json"}"#;
        assert_eq!(plain.next(), line);
    });
}

#[test]
fn depth_is_limited_on_daemons_that_cannot() {
    on_every_daemon("watch-depth", |host| {
        let mut watch = Watch::start(host, "-n 3 -d 1 /watch-depth");
        assert_eq!(watch.next(), "/watch-depth");
        host.ok("write /watch-depth/a/b 5");
        host.ok("write /watch-depth/a 5");
        assert_eq!(watch.next(), "/watch-depth/a");
        host.ok("write /watch-depth 5");
        assert_eq!(watch.next(), "/watch-depth");
        let (_, messages) = watch.finish();
        assert!(messages.is_empty() || messages.contains("which needs Xen 4.22"), "{messages}");
    });
    let host = Host::with("/a/b/c = 1", &["--like", "c417"]);
    let mut watch = Watch::start(&host, "-n 1 -d 1 /a");
    assert_eq!(watch.next(), "/a");
    assert!(watch.finish().1.contains("it reports all changes below /a"));
    let bad = host.xs("watch -d 1 //");
    assert!(stderr(&bad).starts_with("xs: watch \"//\": "), "{}", stderr(&bad));
}

#[test]
fn commands_get_the_change_in_their_environment() {
    on_every_daemon("watch-exec", |host| {
        let log = host.dir.join("log");
        let ready = host.dir.join("ready");
        // The first command starts when the watch is set, so the test need not guess when that is.
        let script = format!(
            "echo \"$XS_KEY ${{XS_OLD-none}} ${{XS_NEW-none}}\" >> {}; echo x > {}",
            log.display(),
            ready.display()
        );
        let mut command = host.command("watch -n 4 /watch-exec --exec");
        let mut child = command.arg(&script).spawn().unwrap();
        // The value changes until the command runs for the first time.
        let mut number = 10;
        while !ready.exists() {
            number += 1;
            host.ok(&format!("write /watch-exec/a {number}"));
        }
        while child.try_wait().unwrap().is_none() {
            number += 1;
            host.ok(&format!("write /watch-exec/a {number}"));
        }
        assert!(child.wait().unwrap().success());
        let text = fs::read_to_string(&log).unwrap();
        let words: Vec<Vec<_>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert!(words.iter().all(|words| words[0] == "/watch-exec/a"), "{text}");
        // Each old value is the new one of the run before it: no change is lost.
        for pair in words.windows(2) {
            assert_eq!(pair[0][2], pair[1][1], "{text}");
        }
    });
}

#[test]
fn commands_do_not_overlap_unless_asked() {
    let host = Host::new("/a = 1");
    let marker = host.dir.join("marker");
    let path = marker.display();
    let script = format!("mkdir {path} || exit 9; sleep 0.05; rmdir {path}");
    let mut command = host.command("watch -n 6 /a --exec");
    let child = command.arg(&script).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = child;
    let mut number = 0;
    while child.try_wait().unwrap().is_none() {
        number += 1;
        host.ok(&format!("write /a/{} 1", number % 7));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn failed_commands_are_reported() {
    let host = Host::new("/a = 1");
    let mut command = host.command("watch -n 2 /a --exec");
    let mut child = command.arg("exit 7").stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        host.ok("write /a 2");
    }
    let messages = stderr(&child.wait_with_output().unwrap());
    assert_eq!(messages, "xs: warning: the command for /a failed: exit status: 7\n");
}

#[test]
fn watch_ends_without_an_event_when_its_reader_is_gone() {
    on_every_daemon("watch-reader", |host| {
        let mut watch = Watch::start(host, "/watch-reader");
        assert_eq!(watch.next(), "/watch-reader");
        drop(watch.lines);
        let output = watch.child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(13), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    });
}

#[test]
fn watch_goes_on_when_the_daemon_is_back() {
    let mut host = Host::new("/a = 1");
    let mut watch = Watch::start(&host, "-n 3 --values --reconnect /a");
    assert_eq!(watch.next(), "/a: \"1\"");
    host.stop();
    host.start_again("/a = 2\n/a/b = 3");
    // The state is told first, then the differences.
    assert_eq!(watch.next(), "/a: \"2\"");
    assert_eq!(watch.next(), "/a: \"1\" -> \"2\"");
    assert_eq!(watch.next(), "/a/b: (none) -> \"3\"");
    host.ok("write /a/b 4");
    assert_eq!(watch.next(), "/a/b: \"3\" -> \"4\"");
    let (_, messages) = watch.finish();
    assert!(messages.contains("xs: connected again; changes below /a"), "{messages}");
}

/// A running `xs watch --exec`, and the file in which its commands write lines.
struct Exec {
    host: Host,
    child: Child,
    log: PathBuf,
}

/// A script that notes the process id of a process that runs for long, and waits for it.
const LONG: &str = "sleep 1000 & echo $! >> $LOG; wait";

impl Exec {
    /// Starts a watch of `/a`, whose first command has written a line when this returns.
    fn start(args: &str, script: &str) -> Self {
        let exec = Exec::spawn(args, script);
        // The watch is set at some time.
        exec.repeat_until(|lines| !lines.is_empty());
        exec
    }

    fn spawn(args: &str, script: &str) -> Self {
        let host = Host::new("/a = 0");
        let log = host.dir.join("log");
        let mut command = host.command(&format!("watch {args} --exec"));
        let child = command.arg(script).env("LOG", &log).stderr(Stdio::piped()).spawn().unwrap();
        Exec { host, child, log }
    }

    /// Changes the node until the commands have written such lines.
    fn repeat_until(&self, is_reached: impl Fn(&[String]) -> bool) {
        let is_reached = || {
            let lines = self.lines();
            is_reached(&lines) || {
                self.host.ok(&format!("write /a {}", lines.len()));
                false
            }
        };
        wait_until(is_reached, || format!("{:?}", self.lines()));
    }

    /// Returns the complete lines.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.map(str::to_owned).collect()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end of `xs`.
    fn wait(&mut self) -> ExitStatus {
        wait_until(|| self.child.try_wait().unwrap().is_some(), || "xs does not end".to_owned());
        self.child.wait().unwrap()
    }

    /// Waits for the end. Returns the status and the messages, once no process of a command is left.
    fn finish(mut self) -> (ExitStatus, String) {
        let pids = self.lines();
        self.wait();
        let output = self.child.wait_with_output().unwrap();
        let is_alive = |pid: &String| {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state
                .rsplit(") ")
                .next()
                .is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
        };
        wait_until(|| !pids.iter().any(is_alive), || format!("left: {pids:?}"));
        (output.status, stderr(&output))
    }
}

#[test]
fn commands_that_take_too_long_are_ended() {
    let exec = Exec::start("/a --exec-timeout 0.1", LONG);
    // More commands run although none ends by itself.
    exec.repeat_until(|lines| lines.len() >= 3);
    exec.signal("-TERM");
    let (_, messages) = exec.finish();
    assert!(
        messages.contains("xs: warning: the command for /a has run for 100ms and is terminated\n"),
        "{messages}"
    );
}

#[test]
fn commands_that_ignore_sigterm_are_killed() {
    let script = "trap '' TERM; echo $$ >> $LOG; while :; do sleep 0.1; done";
    let exec = Exec::start("/a --exec-timeout 0.1", script);
    let first = exec.lines();
    // The next command starts only when the first has ended.
    exec.repeat_until(|lines| lines.len() > first.len());
    exec.signal("-TERM");
    assert_eq!(exec.finish().0.signal(), Some(15));
}

#[test]
fn signals_end_the_commands_too() {
    for (name, number) in [("-TERM", 15), ("-INT", 2), ("-HUP", 1)] {
        let exec = Exec::start("/a", LONG);
        exec.signal(name);
        let (status, messages) = exec.finish();
        assert_eq!((status.signal(), messages.as_str()), (Some(number), ""), "{name}");
    }
}

#[test]
fn commands_end_at_the_deadline_and_with_the_daemon() {
    let mut exec = Exec::spawn("/a -T 1", LONG);
    while exec.child.try_wait().unwrap().is_none() {
        exec.host.ok("write /a 1");
    }
    let (status, messages) = exec.finish();
    assert!(status.success() && messages.is_empty(), "{messages}");
    let mut exec = Exec::start("/a", LONG);
    exec.host.stop();
    let (status, messages) = exec.finish();
    assert_eq!(status.code(), Some(1));
    assert!(messages.contains("the connection is lost"), "{messages}");
}

#[test]
fn ignored_signals_stay_ignored() {
    let host = Host::new("/a = 0");
    let log = host.dir.join("log");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_xs")]);
    command.args(["watch", "/a", "--exec", "echo x >> $LOG"]).env("LOG", &log);
    let child = command.env("XENSTORED_PATH", host.socket()).stderr(Stdio::piped()).spawn();
    let mut exec = Exec { host, child: child.unwrap(), log };
    exec.repeat_until(|lines| !lines.is_empty());
    exec.signal("-HUP");
    let before = exec.lines().len();
    // Commands run after the signal.
    exec.repeat_until(|lines| lines.len() > before + 1);
    exec.signal("-TERM");
    assert_eq!(exec.wait().signal(), Some(15));
}

/// Confirms a watch, reports its first event, and answers no other request. Tells when there is one.
fn answer_watches_only(mut stream: &UnixStream, asked: &mpsc::Sender<()>) {
    while let Some((header, payload)) = next_message(stream) {
        if header.msg_type != MessageType::Watch as u32 {
            let _ = asked.send(());
            continue;
        }
        let confirmation = Header { len: 3, ..header };
        let event = Header {
            msg_type: MessageType::WatchEvent as u32,
            req_id: ReqId(0),
            tx_id: TxId::NONE,
            ..header
        };
        let messages = [&confirmation.encode()[..], b"OK\0", &event.encode(), &payload];
        stream.write_all(&messages.concat()).unwrap();
    }
}

#[test]
fn second_signal_does_not_wait_for_the_daemon() {
    let mut host = Host::new("");
    host.stop();
    let listener = UnixListener::bind(host.socket()).unwrap();
    let (sender, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || answer_watches_only(&stream.unwrap(), &sender));
        }
    });
    let mut command = host.command("--timeout 1000 watch /a --exec true");
    let mut exec = Exec { child: command.spawn().unwrap(), log: host.dir.join("log"), host };
    asked.recv().unwrap();
    // Signals of the same number could merge.
    exec.signal("-TERM");
    exec.signal("-INT");
    let status = exec.wait();
    assert!(matches!(status.signal(), Some(2 | 15)), "{status}");
}
