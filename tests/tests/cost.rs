//! What an operation costs in system calls, counted by strace(1).
//!
//! The test runs itself under strace twice, with some and with more of the same operation: the
//! difference is what the operations cost, whatever else the process does.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xs_client::{Client, DomId};
use xs_transport::mock::{Server, StopHandle, Xenstored};

/// What the process under strace does.
const JOB: &str = "XS_COST_JOB";
const COUNT: &str = "XS_COST_COUNT";
const SOCKET: &str = "XS_COST_SOCKET";

/// How many operations are counted.
const MANY: usize = 500;

#[test]
fn a_read_is_one_write_and_one_read() {
    only_send_and_receive("read", MANY);
}

#[test]
fn a_read_costs_the_same_while_a_watch_is_held() {
    only_send_and_receive("read-with-watch", MANY);
}

#[test]
fn a_write_is_one_write_and_one_read() {
    only_send_and_receive("write", MANY);
}

#[test]
fn a_batch_leaves_in_few_writes() {
    let Some(calls) = cost_of("batch", MANY) else { return };
    // So few more that they are not worth counting, for either direction.
    assert_eq!(calls, BTreeMap::new(), "for {MANY} more reads in a batch");
}

/// A client with all that waits: a thread that calls back, one that waits for an event, and the
/// wish to reconnect. While nothing comes, nothing wakes up.
#[test]
fn an_idle_client_makes_no_system_call() {
    let Some(host) = Host::start("idle") else { return };
    let trace = host.dir.join("trace");
    run(&host, "idle", 0, &["-f", "-o"], &trace);
    let text = fs::read_to_string(trace).expect("strace writes what it sees");
    let mut parts = text.split(IDLE).map(|part| part.lines().skip(1).collect::<Vec<_>>());
    let (Some(_), Some(_), Some(second), Some(_)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        panic!("the marks are missing:\n{text}");
    };
    // The last line is the beginning of the next mark.
    let calls = &second[..second.len() - 1];
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(calls[0].contains("nanosleep"), "{calls:#?}");
    println!("in one idle second: {calls:?}");
}

/// A file that is not there. To look for it marks a place in the trace.
const IDLE: &str = "/xs-idle-mark";

fn only_send_and_receive(job: &str, count: usize) {
    let Some(calls) = cost_of(job, count) else { return };
    let expected = [("recvfrom", count as i64), ("sendto", count as i64)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(calls, BTreeMap::from(expected), "for {count} times {job}");
    println!("{count} times {job}: {calls:?}");
}

/// The system calls of `count` operations; `None` without strace.
fn cost_of(job: &str, count: usize) -> Option<BTreeMap<String, i64>> {
    let host = Host::start(job)?;
    // The first time, what is loaded lazily is not counted.
    let less = trace(&host, job, count);
    let more = trace(&host, job, count * 2);
    let names = less.keys().chain(more.keys());
    let get = |calls: &BTreeMap<String, i64>, name| calls.get(name).copied().unwrap_or_default();
    let difference = names.map(|name| (name.clone(), get(&more, name) - get(&less, name)));
    // Some calls come now and then, for memory and threads, and belong to no operation: what an
    // operation costs it costs each time.
    let each_time = |(_, calls): &(String, i64)| calls.unsigned_abs() >= count as u64 / 10;
    Some(difference.filter(each_time).collect())
}

/// An in-memory xenstored behind a socket.
struct Host {
    dir: PathBuf,
    socket: PathBuf,
    stop: StopHandle,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Host {
    /// `None` without strace.
    fn start(job: &str) -> Option<Self> {
        if !can_trace() {
            let line = b"SKIPPED: there is no strace(1), or it may not trace\n";
            let _ = io::stderr().write_all(line);
            return None;
        }
        let dir = env::temp_dir().join(format!("xs-cost-{}-{job}", std::process::id()));
        fs::create_dir_all(&dir).expect("the directory for temporary files can be written");
        let socket = dir.join("socket");
        let mut server = Server::new(Xenstored::new()).expect("there are descriptors");
        server.bind(&socket, DomId::DOM0).expect("the path is short and free");
        let stop = server.stop_handle();
        let server = Some(thread::spawn(move || server.run()));
        Some(Host { dir, socket, stop, server })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.server.take().map(JoinHandle::join);
        let _ = fs::remove_dir_all(&self.dir);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(Ok(())))), "{ended:?}");
        }
    }
}

fn can_trace() -> bool {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    traced.is_ok_and(|status| status.success())
}

/// Runs [`job`] under strace.
fn run(host: &Host, job: &str, count: usize, options: &[&str], output: &Path) {
    let status = Command::new("strace")
        .args(options)
        .arg(output)
        .arg(env::current_exe().expect("it is a file"))
        .args(["--exact", "job", "--test-threads=1"])
        .env(JOB, job)
        .env(COUNT, count.to_string())
        .env(SOCKET, &host.socket)
        .stdout(Stdio::null())
        .status()
        .expect("strace runs");
    assert!(status.success(), "{job}: {status}");
}

/// … and reads its summary.
fn trace(host: &Host, job: &str, count: usize) -> BTreeMap<String, i64> {
    let summary = host.dir.join("summary");
    run(host, job, count, &["-f", "-c", "-o"], &summary);
    let text = fs::read_to_string(summary).expect("strace writes its summary");
    // % time, seconds, usecs/call, calls, errors if any, name.
    let lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines
        .filter_map(|words| Some((words.last()?.to_string(), words.get(3)?.parse().ok()?)))
        .filter(|(name, _)| name != "total")
        .collect()
}

fn idle(client: &Client, path: &str) {
    let (sender, called) = mpsc::channel();
    client.watch_with(path, move |event| drop(sender.send(event))).unwrap();
    called.recv().unwrap().unwrap();
    let mut watch = client.watch(path).unwrap();
    watch.wait().unwrap();
    let waiter = thread::spawn(move || watch.wait().map(drop));
    // In the first second everybody comes to rest; the second one counts.
    for _ in 0..2 {
        assert!(fs::metadata(IDLE).is_err());
        thread::sleep(Duration::from_secs(1));
    }
    assert!(fs::metadata(IDLE).is_err());
    client.write(path, "").unwrap();
    waiter.join().unwrap().unwrap();
    called.recv().unwrap().unwrap();
}

/// What is traced; nothing by itself.
#[test]
fn job() {
    let (Ok(job), Some(socket)) = (env::var(JOB), env::var_os(SOCKET)) else { return };
    let count: usize = env::var(COUNT).unwrap().parse().unwrap();
    let client = Client::builder().reconnect(true).open_at(socket).unwrap();
    let path = format!("/tool/{job}");
    client.write(&path, "value").unwrap();
    match &*job {
        "read" => (0..count).for_each(|_| drop(client.read(&path).unwrap())),
        "write" => (0..count).for_each(|_| client.write(&path, "value").unwrap()),
        "read-with-watch" => {
            let watch = client.watch(&path).unwrap();
            (0..count).for_each(|_| drop(client.read(&path).unwrap()));
            drop(watch);
        }
        "batch" => {
            let values = client.read_many((0..count).map(|_| &path));
            values.into_iter().for_each(|value| drop(value.unwrap()));
        }
        "idle" => idle(&client, &path),
        other => panic!("there is no job {other}"),
    }
}
