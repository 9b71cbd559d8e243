//! `xs proxy` in front of the in-memory and of genuine daemons.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use xs_client::{Client, ErrorKind};
use xs_proto::{Header, MessageType, ReqId, TxId};

use crate::host::{Host, stderr};
use crate::messages::next_message;
use crate::wait_until::wait_until;

/// A conversation that was recorded from the C daemon of Xen 4.20. The test `conversations` of the
/// crate xs-tests replays it, with all others in its directory.
const RECORDED: &str = include_str!("../../../tests/tests/conversations/c-4.20/xs-proxy.txt");

/// A running `xs proxy`.
struct Proxy {
    child: Child,
    path: String,
}

impl Proxy {
    fn start(host: &Host, args: &str) -> Self {
        let path = host.dir.join("proxy").display().to_string();
        let mut command = host.command(&format!("proxy --listen {path} {args}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // The first line is printed once the socket accepts connections.
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Proxy { child, path }
    }

    fn client(&self) -> Client {
        Client::open_at(&self.path).unwrap()
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut status = None;
        wait_until(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || "the proxy still runs".to_owned(),
        );
        assert!(status.unwrap().success());
        assert!(!fs::exists(&self.path).unwrap());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn recorded_conversations_have_the_form_that_the_replayer_takes() {
    for host in Host::on_every_daemon("/tool/proxy", "/tool [n0] = \"\"\n") {
        let file = host.dir.join("xs-proxy.txt");
        let proxy = Proxy::start(&host, &format!("--record {}", file.display()));
        let one = proxy.client();
        one.write("/tool/proxy/a", "1 {2}\n*").unwrap();
        let two = proxy.client();
        let mut watch = two.watch("/tool/proxy").unwrap();
        watch.wait().unwrap();
        one.transaction(|tx| {
            tx.write("/tool/proxy/b", [b'x'; 40])?;
            tx.read("/tool/proxy/a")
        })
        .unwrap();
        watch.wait().unwrap();
        one.directory("/tool/proxy").unwrap();
        one.read("/tool/proxy/missing").unwrap_err();
        watch.remove().unwrap();
        drop(two);
        let recorded = || fs::read_to_string(&file).unwrap();
        wait_until(|| recorded().contains("host close dom0b\n"), recorded);
        one.rm("/tool/proxy").unwrap();
        proxy.stop();
        let recorded = recorded();
        // The tokens of watches are numbered within the process, whose tests run in any order.
        let token =
            recorded.split("\\0xs-").nth(1).and_then(|rest| rest.split('\\').next()).unwrap();
        let recorded = recorded.replace(&format!("\\0xs-{token}\\0"), "\\0xs-1\\0");
        let without_comments = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.collect::<Vec<_>>().join("\n")
        };
        // Closing the last connection is not in the recording: the proxy ends first.
        assert_eq!(without_comments(&recorded), without_comments(RECORDED), "{recorded}");
    }
}

/// Starts a daemon that serves each connection with a function. Returns the path of its socket.
fn daemon(host: &Host, serve: impl Fn(&UnixStream) + Clone + Send + 'static) -> String {
    let path = host.dir.join("daemon").display().to_string();
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(&stream.unwrap()));
        }
    });
    path
}

fn send(mut stream: &UnixStream, header: Header, payload: &[u8]) {
    let header = Header { len: payload.len() as u32, ..header };
    stream.write_all(&[&header.encode()[..], payload].concat()).unwrap();
}

/// Answers each READ of `/late` when it has received all three.
fn answer_late(stream: &UnixStream) {
    let mut late = Vec::new();
    while let Some((header, payload)) = next_message(stream) {
        late.push(header);
        if payload == b"/late\0" && late.len() < 3 {
            continue;
        }
        late.drain(..).for_each(|header| send(stream, header, b"ok"));
    }
}

#[test]
fn requests_that_only_read_are_in_flight_together() {
    let host = Host::new("");
    let daemon = daemon(&host, answer_late);
    let file = host.dir.join("recorded");
    let args = format!("--socket {daemon} --record {}", file.display());
    let proxy = Proxy::start(&host, &args);
    let client = proxy.client();
    let values = client.read_many(["/late", "/late", "/late"]);
    assert!(values.iter().all(|value| value.as_ref().unwrap() == b"ok"), "{values:?}");
    proxy.stop();
    let recorded = fs::read_to_string(&file).unwrap();
    let exchange = "dom0 > READ tx=0 /late\\0\ndom0 < READ ok\n";
    assert!(recorded.contains(&exchange.repeat(3)), "{recorded}");
}

#[test]
fn replies_and_requests_keep_their_order() {
    let host = Host::new("/a = 0");
    let file = host.dir.join("recorded");
    let proxy = Proxy::start(&host, &format!("--record {}", file.display()));
    let mut client = UnixStream::connect(&proxy.path).unwrap();
    let mut requests = Vec::new();
    let mut wanted = String::new();
    for number in 0..50 {
        let value = format!("v{number}");
        let written = format!("/a\0{value}");
        for (msg_type, payload) in [
            (MessageType::Write, written.as_str()),
            (MessageType::Read, "/a\0"),
            (MessageType::Read, "/a\0"),
        ] {
            let len = payload.len() as u32;
            let msg_type = msg_type as u32;
            let header = Header { msg_type, req_id: ReqId(number), tx_id: TxId::NONE, len };
            requests.extend_from_slice(&header.encode());
            requests.extend_from_slice(payload.as_bytes());
        }
        let read = format!("dom0 > READ tx=0 /a\\0\ndom0 < READ {value}\n");
        wanted += &format!("dom0 > WRITE tx=0 /a\\0{value}\ndom0 < WRITE OK\\0\n{read}{read}");
    }
    client.write_all(&requests).unwrap();
    for number in 0..50 {
        let value = format!("v{number}");
        for answer in ["OK\0", &value, &value] {
            let (header, payload) = next_message(&client).unwrap();
            assert_eq!((header.req_id, &payload[..]), (ReqId(number), answer.as_bytes()));
        }
    }
    proxy.stop();
    let recorded = fs::read_to_string(&file).unwrap();
    assert!(recorded.contains(&wanted), "{recorded}");
}

/// Answers the proxy's own requests only when another request has come.
fn answer_pings_late(stream: &UnixStream) {
    let mut late = Vec::new();
    while let Some((header, _)) = next_message(stream) {
        late.push(header);
        if header.msg_type != MessageType::GetDomainPath as u32 {
            late.drain(..).for_each(|header| send(stream, header, b"OK\0"));
        }
    }
}

#[test]
fn late_replies_to_the_proxy_do_not_reach_clients() {
    let host = Host::new("");
    let daemon = daemon(&host, answer_pings_late);
    let file = host.dir.join("recorded");
    let args = format!("--timeout 0.1 --socket {daemon} --record {}", file.display());
    let proxy = Proxy::start(&host, &args);
    // The second id is that of the proxy's own requests.
    for id in [1, 0xffff_fff0] {
        let client = UnixStream::connect(&proxy.path).unwrap();
        for msg_type in [
            MessageType::Write,
            MessageType::Write,
            MessageType::Read,
            MessageType::Read,
            MessageType::Write,
        ] {
            let msg_type = msg_type as u32;
            let header = Header { msg_type, req_id: ReqId(id), tx_id: TxId::NONE, len: 0 };
            send(&client, header, b"/a\0");
            let (reply, _) = next_message(&client).unwrap();
            assert_eq!((reply.msg_type, reply.req_id), (msg_type, ReqId(id)));
        }
    }
    proxy.stop();
    let recorded = fs::read_to_string(&file).unwrap();
    assert!(!recorded.contains("GET_DOMAIN_PATH"), "{recorded}");
}

#[test]
fn stop_during_a_request_ends_the_proxy_and_leaves_the_request_out() {
    let host = Host::new("");
    // The daemon never answers a WRITE or a READ.
    let (requests, received) = mpsc::channel();
    let daemon = daemon(&host, move |stream| {
        while let Some((header, _)) = next_message(stream) {
            if [MessageType::Write as u32, MessageType::Read as u32].contains(&header.msg_type) {
                requests.send(header.msg_type).unwrap();
            } else {
                send(stream, header, b"OK\0");
            }
        }
    });
    let file = host.dir.join("recorded");
    for msg_type in [MessageType::Write as u32, MessageType::Read as u32] {
        let args = format!("--socket {daemon} --record {}", file.display());
        let proxy = Proxy::start(&host, &args);
        let client = UnixStream::connect(&proxy.path).unwrap();
        send(&client, Header { msg_type, req_id: ReqId(1), tx_id: TxId::NONE, len: 0 }, b"/a\0");
        assert_eq!(received.recv().unwrap(), msg_type);
        proxy.stop();
        let recorded = fs::read_to_string(&file).unwrap();
        assert!(!recorded.contains("/a"), "{recorded}");
    }
}

#[test]
fn conversations_are_printed_by_default() {
    let host = Host::new("/a = 1");
    let proxy = host.dir.join("proxy");
    let mut command = host.command(&format!("proxy --listen {}", proxy.display()));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("# recorded by xs proxy from "));
    let output = host.xs(&format!("--socket {} read /a", proxy.display()));
    assert!(output.status.success(), "{}", stderr(&output));
    let wanted =
        ["", "scenario recorded", "dom0 > READ tx=0 /a\\0", "dom0 < READ 1", "host close dom0"];
    assert_eq!(lines.by_ref().take(5).collect::<Vec<_>>(), wanted);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn guests_keep_their_number() {
    let host = Host::new("");
    let file = host.dir.join("recorded");
    let args = format!("--record {} --socket {}", file.display(), host.guest());
    let proxy = Proxy::start(&host, &args);
    assert_eq!(proxy.client().read("domid").unwrap(), b"5");
    proxy.stop();
    assert!(
        fs::read_to_string(&file).unwrap().contains("dom5 > READ tx=0 domid\\0\ndom5 < READ 5\n")
    );
}

#[test]
fn messages_can_be_slow_and_split_and_cut() {
    let host = Host::new("/a = 1");
    for args in ["--split 1", "--split 3 --slow 1"] {
        let proxy = Proxy::start(&host, &format!("{args} --record /dev/null"));
        let client = proxy.client();
        let mut watch = client.watch("/a").unwrap();
        watch.wait().unwrap();
        client.write("/a", [b'v'; 100]).unwrap();
        assert_eq!(client.read("/a").unwrap(), [b'v'; 100]);
        watch.wait().unwrap();
        proxy.stop();
    }
    let proxy = Proxy::start(&host, "--cut 150 --record /dev/null");
    let client = proxy.client();
    assert_eq!(client.read("/a").unwrap(), [b'v'; 100]);
    let error = client.read("/a").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Lost(_)), "{error}");
    // A new connection has its own count.
    assert!(proxy.client().exists("/a").unwrap());
    proxy.stop();
}

#[test]
fn proxy_needs_a_daemon_and_a_free_path() {
    let host = Host::new("");
    let output = host.xs("--socket /nowhere proxy --listen /nowhere/else");
    assert!(stderr(&output).contains("cannot connect to /nowhere"), "{}", stderr(&output));
    let output = host.xs(&format!("proxy --listen {}", host.socket()));
    assert!(stderr(&output).contains("cannot listen on"), "{}", stderr(&output));
}

#[test]
fn commands_on_subtrees_need_no_more_requests_than_dump() {
    let seed: String = (0..300).map(|at| format!("/t/{}/{at} = {at}\n", at % 9)).collect();
    let host = Host::new(&seed);
    let file = host.dir.join("recorded");
    let requests = |command: &str| {
        let proxy = Proxy::start(&host, &format!("--record {}", file.display()));
        let output = host.xs(&format!("--socket {} {command}", proxy.path));
        assert!(output.stderr.is_empty(), "{command}: {}", stderr(&output));
        proxy.stop();
        let recorded = fs::read_to_string(&file).unwrap();
        let reads = ["> DIRECTORY ", "> READ ", "> GET_PERMS "];
        recorded.lines().filter(|line| reads.iter().any(|read| line.contains(read))).count()
    };
    let of_dump = requests("dump /t");
    assert!(of_dump >= 3 * 310, "{of_dump}");
    for (command, nodes) in [
        ("find /t -v 1* --perm r5 -l", 310),
        ("find /t -n 7", 310),
        ("cp /t /u", 310),
        ("diff /t /u", 2 * 310),
    ] {
        let count = requests(command);
        assert!(count * 310 <= of_dump * nodes + 310, "{command}: {count}, dump: {of_dump}");
    }
}
