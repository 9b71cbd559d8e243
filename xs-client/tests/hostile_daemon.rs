//! `xs` against a daemon that puts control characters wherever it may put text, or lists a tree
//! without end.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::{Header, MessageType, ReqId, TxId};

/// Text that clears the screen, sets the title, moves the cursor and deletes characters.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\rover\u{8}\u{9b}31m\u{7f}\u{85}end";

#[test]
fn control_characters_of_replies_are_not_printed() {
    let daemon = Daemon::new(reply_with_text);
    daemon.assert_output_is_printable();
}

#[test]
fn control_characters_of_error_names_are_not_printed() {
    let daemon = Daemon::new(|request| (MessageType::Error, request.hostile()));
    daemon.assert_output_is_printable();
}

#[test]
fn control_characters_of_error_names_inside_transactions_are_not_printed() {
    let daemon = Daemon::new(|request| match request.msg_type {
        MessageType::TransactionStart => (request.msg_type, b"1\0".to_vec()),
        _ => (MessageType::Error, request.hostile()),
    });
    daemon.assert_output_is_printable();
}

#[test]
fn commands_of_a_daemon_are_listed_without_control_characters() {
    let daemon = Daemon::new(|request| match request.payload.starts_with(b"help") {
        true => (request.msg_type, format!("one\ntwo\t{HOSTILE}\n\0").into_bytes()),
        false => (MessageType::Error, b"EINVAL\0".to_vec()),
    });
    for (program, args) in [("xs", "control nothing"), ("xenstore-control", "nothing")] {
        let output = daemon.run(program, args);
        assert_is_printable(&output, args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("one\ntwo\t\\u{1b}[2J"), "{error:?}");
    }
}

#[test]
fn output_of_control_keeps_line_breaks_tabs_and_other_text() {
    let text = "first \"quoted\"\n\tsecond \\ ä\n";
    let daemon = Daemon::new(move |request| (request.msg_type, format!("{text}\0").into_bytes()));
    for program in ["xs", "xenstore-control"] {
        let args = if program == "xs" { "control help" } else { "help" };
        let output = daemon.run(program, args);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{text}\n"));
    }
}

#[test]
fn ls_of_an_endless_tree_prints_nodes_with_bounded_memory() {
    let names: Vec<u8> = (100..600).flat_map(|n| format!("{n}\0").into_bytes()).collect();
    let daemon = Daemon::new(move |request| match request.msg_type {
        MessageType::Directory => (request.msg_type, names.clone()),
        MessageType::GetPerms => (request.msg_type, b"n0\0".to_vec()),
        _ => (request.msg_type, vec![b'v'; 2000]),
    });
    for args in ["ls /a", "ls -f /a", "ls --json /a", "dump /a"] {
        let mut child = daemon.command("xs", args).stderr(Stdio::null()).spawn().unwrap();
        let (sender, receiver) = mpsc::channel();
        let mut stdout = child.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut output = vec![0; 1 << 22];
            let is_whole = stdout.read_exact(&mut output).is_ok();
            // The test may have given up.
            let _ = sender.send(is_whole);
            // Without a reader, the program would end before its memory is looked at.
            stdout
        });
        let has_printed = receiver.recv_timeout(Duration::from_secs(20));
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        assert_eq!(has_printed, Ok(true), "{args}");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u32 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(peak < 64 << 10, "{args}: {peak} kB");
    }
}

#[test]
fn output_appears_while_a_slow_daemon_lists_a_tree() {
    let daemon = Daemon::new(|request| {
        if request.msg_type == MessageType::Directory && request.payload.starts_with(b"/a/last") {
            thread::sleep(Duration::from_secs(60));
        }
        match request.msg_type {
            MessageType::Directory if request.payload == b"/a\0" => {
                let names = (0..1000).map(|n| format!("{n}\0")).chain(["last\0".into()]);
                (request.msg_type, names.collect::<String>().into_bytes())
            }
            MessageType::Directory => {
                thread::sleep(Duration::from_millis(1));
                (request.msg_type, Vec::new())
            }
            _ => (request.msg_type, b"value".to_vec()),
        }
    });
    let mut child = daemon.command("xs", "ls /a").spawn().unwrap();
    let mut output = vec![0; 4096];
    let start = Instant::now();
    child.stdout.take().unwrap().read_exact(&mut output).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Answers each request with success, and with hostile text where the protocol permits text.
fn reply_with_text(request: &Request) -> (MessageType, Vec<u8>) {
    let payload = match request.msg_type {
        MessageType::Directory if request.payload == b"/list\0" => b"name\0".to_vec(),
        MessageType::Directory if request.payload == b"/many\0" => {
            return (MessageType::Error, b"E2BIG\0".to_vec());
        }
        MessageType::DirectoryPart => [b"1\0", &*request.hostile(), b"\0"].concat(),
        MessageType::Directory
        | MessageType::Read
        | MessageType::Control
        | MessageType::GetQuota
        | MessageType::GetDomainPath => request.hostile(),
        MessageType::GetPerms => [b"n99999\0r", HOSTILE.as_bytes(), b"\0"].concat(),
        MessageType::TransactionStart => b"1\0".to_vec(),
        MessageType::GetFeature => b"15\0".to_vec(),
        MessageType::IsDomainIntroduced => b"T\0".to_vec(),
        _ => b"OK\0".to_vec(),
    };
    (request.msg_type, payload)
}

/// A request that the daemon has received.
struct Request {
    msg_type: MessageType,
    payload: Vec<u8>,
}

impl Request {
    fn hostile(&self) -> Vec<u8> {
        format!("{HOSTILE}\0").into_bytes()
    }
}

/// A socket whose connections are served by a function.
struct Daemon {
    dir: PathBuf,
}

impl Daemon {
    fn new(answer: impl Fn(&Request) -> (MessageType, Vec<u8>) + Clone + Send + 'static) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("xs-hostile-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        // The threads end with the process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = answer.clone();
                thread::spawn(move || serve(stream, answer));
            }
        });
        Daemon { dir }
    }

    fn command(&self, program: &str, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xs"));
        command
            .arg0(program)
            .args(args.split(' '))
            .env("XENSTORED_PATH", self.dir.join("socket"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `program`, which is a name of `xs`, with arguments that blanks separate.
    fn run(&self, program: &str, args: &str) -> Output {
        let mut child = self.command(program, args).stdin(Stdio::piped()).spawn().unwrap();
        // The program may exit without reading its input.
        let _ = child.stdin.take().unwrap().write_all(b"ls /a\nlist /b\nread /c\n");
        child.wait_with_output().unwrap()
    }

    /// Runs every command that prints something of the daemon.
    fn assert_output_is_printable(&self) {
        for args in [
            "read /a",
            "read -p /a /b",
            "list /a",
            "list -p /a /b",
            "list /many",
            "ls /a",
            "ls -fp /list",
            "ls --json /list",
            "ls /many",
            "exists /a",
            "rm /a",
            "rm -t /a/b",
            "mkdir /a",
            "chmod -r /list n0",
            "chmod -u /a/b n0",
            "get-perms /a",
            "get-perms -p /a /b",
            "dump /a",
            "dump /list /many",
            "restore",
            "transaction",
            "watch -n 2 /w",
            "wait -T 0.1 /a other",
            "control help",
            "info",
            "ping -n 1",
        ] {
            assert_is_printable(&self.run("xs", args), args);
        }
        for (tool, args) in [
            ("xenstore-read", "-p /a"),
            ("xenstore-list", "/a"),
            ("xenstore-list", "/many"),
            ("xenstore-ls", "-fp /list"),
            ("xenstore-ls", "/a"),
            ("xenstore-watch", "-n 2 /w"),
            ("xenstore-chmod", "-r /list n0"),
            ("xenstore-rm", "-t /a/b"),
            ("xenstore-control", "help"),
            ("xenstore-control", "live-update -t 1 file"),
        ] {
            assert_is_printable(&self.run(tool, args), &format!("{tool} {args}"));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[track_caller]
fn assert_is_printable(output: &Output, command: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        let is_printable = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        assert!(text.chars().all(is_printable), "{command}: {text:?}");
    }
}

/// Answers requests until the client closes the connection. Each WATCH is followed by two events.
fn serve(mut stream: UnixStream, answer: impl Fn(&Request) -> (MessageType, Vec<u8>)) {
    let mut header = [0; Header::LEN];
    while stream.read_exact(&mut header).is_ok() {
        let header = Header::decode(&header);
        let mut payload = vec![0; header.len as usize];
        stream.read_exact(&mut payload).expect("the client sends whole messages");
        let msg_type = MessageType::from_u32(header.msg_type).expect("the type is known");
        let request = Request { msg_type, payload };
        let (msg_type, payload) = answer(&request);
        let tx_id = if msg_type == MessageType::Error { TxId::NONE } else { header.tx_id };
        let mut bytes = message(msg_type, header.req_id, tx_id, &payload);
        if msg_type == MessageType::Watch {
            let token = request.payload.split(|byte| *byte == 0).nth(1).expect("there is a token");
            for path in [HOSTILE, "/w/\n/forged"] {
                let event = [path.as_bytes(), b"\0", token, b"\0"].concat();
                bytes.extend(message(MessageType::WatchEvent, ReqId(0), TxId::NONE, &event));
            }
        }
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn message(msg_type: MessageType, req_id: ReqId, tx_id: TxId, payload: &[u8]) -> Vec<u8> {
    let header = Header { msg_type: msg_type as u32, req_id, tx_id, len: payload.len() as u32 };
    [&header.encode(), payload].concat()
}
