//! The cost of operations in system calls, counted by strace(1).
//!
//! A test runs itself under strace twice, with a number of operations and with twice as many. The
//! difference is the cost of the operations, without that of the rest of the process.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use xs_client::Client;
use xs_tests::settings::skip;
use xs_tests::{HANG_TIMEOUT, SocketServer};
use xs_transport::mock::Xenstored;

/// Environment variables that tell the process under strace what to do.
const JOB: &str = "XS_COST_JOB";
const COUNT: &str = "XS_COST_COUNT";
const SOCKET: &str = "XS_COST_SOCKET";

/// How many operations are counted.
const MANY: usize = 500;

/// A file that does not exist. Looking for it marks a position in the trace.
const MARK: &str = "/xs-idle-mark";

#[test]
fn reads_cost_one_send_and_one_receive() {
    assert_only_send_and_receive("read");
}

#[test]
fn reads_cost_the_same_while_a_watch_is_held() {
    assert_only_send_and_receive("read-with-watch");
}

#[test]
fn writes_cost_one_send_and_one_receive() {
    assert_only_send_and_receive("write");
}

#[test]
fn batches_share_system_calls() {
    let Some(calls) = cost_of("batch") else { return };
    // Neither direction needs a call for every operation.
    assert_eq!(calls, BTreeMap::new(), "for {MANY} more reads in a batch");
}

/// A thread that yields as well gives up the rest of its time slice, and sleeps for milliseconds more.
#[test]
fn thread_that_sleeps_until_a_deadline_only_waits() {
    let Some(calls) = cost_of("sleep") else { return };
    assert_eq!(calls.keys().collect::<Vec<_>>(), ["futex"], "for {MANY} sleeps: {calls:?}");
}

/// The client has a callback thread, a thread that waits for an event, and reconnects
/// automatically. While no message comes, no thread wakes up.
#[test]
fn idle_clients_make_no_system_calls() {
    let Some(server) = start_server() else { return };
    let trace = server.dir().join("trace");
    run(&server, "idle", 0, &["-f", "-o"], &trace);
    let text = fs::read_to_string(trace).expect("strace writes the trace");
    let lines: Vec<_> = text.lines().collect();
    let marks: Vec<_> = (0..lines.len()).filter(|at| lines[*at].contains(MARK)).collect();
    let [begin, end] = marks[..] else { panic!("not two marks in:\n{text}") };
    let calls = &lines[begin + 1..end];
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(calls[0].contains("nanosleep"), "{calls:#?}");
    println!("in one idle second: {calls:?}");
}

fn assert_only_send_and_receive(job: &str) {
    let Some(calls) = cost_of(job) else { return };
    let expected = [("recvfrom", MANY as i64), ("sendto", MANY as i64)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(calls, BTreeMap::from(expected), "for {MANY} times {job}");
    println!("{MANY} times {job}: {calls:?}");
}

/// Returns the system calls of [`MANY`] operations; `None` without strace.
fn cost_of(job: &str) -> Option<BTreeMap<String, i64>> {
    let server = start_server()?;
    let less = summary(&server, job, MANY);
    let more = summary(&server, job, MANY * 2);
    let names = less.keys().chain(more.keys());
    let get = |calls: &BTreeMap<String, i64>, name| calls.get(name).copied().unwrap_or_default();
    let difference = names.map(|name| (name.clone(), get(&more, name) - get(&less, name)));
    // A few calls, for memory and threads, vary between runs and belong to no operation.
    let is_regular = |(_, calls): &(String, i64)| calls.unsigned_abs() >= MANY as u64 / 10;
    Some(difference.filter(is_regular).collect())
}

/// Serves an in-memory xenstored; returns `None` without strace.
fn start_server() -> Option<SocketServer> {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if traced.is_ok_and(|status| status.success()) {
        return Some(SocketServer::start(Xenstored::new()));
    }
    skip("strace(1) is missing or not allowed to trace");
    None
}

/// Runs [`job`] under strace.
fn run(server: &SocketServer, job: &str, count: usize, options: &[&str], output: &Path) {
    let status = Command::new("strace")
        .args(options)
        .arg(output)
        .arg(env::current_exe().expect("the program is a file"))
        .args(["--exact", "job", "--test-threads=1"])
        .env(JOB, job)
        .env(COUNT, count.to_string())
        .env(SOCKET, server.socket())
        .stdout(Stdio::null())
        .status()
        .expect("strace runs");
    assert!(status.success(), "{job}: {status}");
}

/// Runs [`job`] under strace and returns how often it made each system call.
fn summary(server: &SocketServer, job: &str, count: usize) -> BTreeMap<String, i64> {
    let summary = server.dir().join("summary");
    run(server, job, count, &["-f", "-c", "-o"], &summary);
    let text = fs::read_to_string(summary).expect("strace writes the summary");
    // % time, seconds, usecs/call, calls, errors if any, name.
    let lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines
        .filter_map(|words| Some((words.last()?.to_string(), words.get(3)?.parse().ok()?)))
        .filter(|(name, _)| name != "total")
        .collect()
}

/// The process under strace. Does nothing in a normal run.
#[test]
fn job() {
    let (Ok(job), Some(socket)) = (env::var(JOB), env::var_os(SOCKET)) else { return };
    let count: usize = env::var(COUNT).unwrap().parse().unwrap();
    let client = Client::builder().timeout(HANG_TIMEOUT).reconnect(true).open_at(socket).unwrap();
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
        "sleep" => sleep(&client, &path, count),
        "idle" => idle(&client, &path),
        other => panic!("unknown job {other}"),
    }
}

/// Waits for an event that does not come, until a deadline, while another thread receives.
fn sleep(client: &Client, path: &str, count: usize) {
    let mut others = client.watch(path).unwrap();
    let mut own = client.watch(format!("{path}/none")).unwrap();
    others.wait().unwrap();
    own.wait().unwrap();
    let receiver = thread::spawn(move || others.wait().map(drop));
    wait_until_others_sleep();
    for _ in 0..count {
        assert_eq!(own.next_timeout(Duration::from_millis(1)).unwrap(), None);
    }
    client.write(path, "").unwrap();
    receiver.join().unwrap().unwrap();
}

/// Marks the begin and the end of a second in which all threads wait.
fn idle(client: &Client, path: &str) {
    let (sender, called) = mpsc::channel();
    client.watch_with(path, move |event| drop(sender.send(event))).unwrap();
    called.recv().unwrap().unwrap();
    let mut watch = client.watch(path).unwrap();
    watch.wait().unwrap();
    let waiter = thread::spawn(move || watch.wait().map(drop));
    wait_until_others_sleep();
    assert!(fs::metadata(MARK).is_err());
    thread::sleep(Duration::from_secs(1));
    assert!(fs::metadata(MARK).is_err());
    client.write(path, "").unwrap();
    waiter.join().unwrap().unwrap();
    called.recv().unwrap().unwrap();
}

/// Waits until the other threads of the process sleep and none of them has run for a while.
fn wait_until_others_sleep() {
    let mut before = None;
    loop {
        let now = sleeping_threads();
        if now.is_some() && now == before {
            return;
        }
        before = now;
        thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the scheduler's counters of the other threads; `None` if one of them does not sleep.
fn sleeping_threads() -> Option<Vec<String>> {
    let own = fs::read_link("/proc/thread-self").expect("/proc is mounted");
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task").expect("/proc is mounted") {
        let name = entry.expect("the directory is readable").file_name();
        if Some(&*name) == own.file_name() {
            continue;
        }
        let status = fs::read_to_string(Path::new("/proc/self/task").join(name).join("status"));
        // A thread that has just ended has no status.
        let status = status.ok()?;
        if !status.lines().any(|line| line.starts_with("State:\tS")) {
            return None;
        }
        let counters = status.lines().filter(|line| line.contains("ctxt_switches"));
        threads.push(counters.collect());
    }
    Some(threads)
}
