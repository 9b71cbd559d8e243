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
use std::thread;

use xs_client::{Client, DomId};
use xs_transport::mock::{Server, Xenstored};

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

fn only_send_and_receive(job: &str, count: usize) {
    let Some(calls) = cost_of(job, count) else { return };
    let expected = [("recvfrom", count as i64), ("sendto", count as i64)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(calls, BTreeMap::from(expected), "for {count} times {job}");
    println!("{count} times {job}: {calls:?}");
}

/// The system calls of `count` operations; `None` without strace.
fn cost_of(job: &str, count: usize) -> Option<BTreeMap<String, i64>> {
    if !can_trace() {
        let _ = io::stderr().write_all(b"SKIPPED: there is no strace(1), or it may not trace\n");
        return None;
    }
    let dir = env::temp_dir().join(format!("xs-cost-{}-{job}", std::process::id()));
    fs::create_dir_all(&dir).expect("the directory for temporary files can be written");
    let socket = dir.join("socket");
    let mut server = Server::new(Xenstored::new()).expect("there are descriptors");
    server.bind(&socket, DomId::DOM0).expect("the path is short and free");
    let stop = server.stop_handle();
    let server = thread::spawn(move || server.run());

    // The first time, what is loaded lazily is not counted.
    let less = trace(&dir, &socket, job, count);
    let more = trace(&dir, &socket, job, count * 2);

    stop.stop();
    server.join().expect("no panic").expect("the server runs");
    let _ = fs::remove_dir_all(&dir);
    let names = less.keys().chain(more.keys());
    let get = |calls: &BTreeMap<String, i64>, name| calls.get(name).copied().unwrap_or_default();
    let difference = names.map(|name| (name.clone(), get(&more, name) - get(&less, name)));
    // Some calls come now and then, for memory and threads, and belong to no operation: what an
    // operation costs it costs each time.
    let each_time = |(_, calls): &(String, i64)| calls.unsigned_abs() >= count as u64 / 10;
    Some(difference.filter(each_time).collect())
}

fn can_trace() -> bool {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    traced.is_ok_and(|status| status.success())
}

/// Runs [`job`] under strace and reads its summary.
fn trace(dir: &Path, socket: &PathBuf, job: &str, count: usize) -> BTreeMap<String, i64> {
    let summary = dir.join("summary");
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(env::current_exe().expect("it is a file"))
        .args(["--exact", "job", "--test-threads=1"])
        .env(JOB, job)
        .env(COUNT, count.to_string())
        .env(SOCKET, socket)
        .stdout(Stdio::null())
        .status()
        .expect("strace runs");
    assert!(status.success(), "{job}: {status}");
    let text = fs::read_to_string(summary).expect("strace writes its summary");
    // % time, seconds, usecs/call, calls, errors if any, name.
    let lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines
        .filter_map(|words| Some((words.last()?.to_string(), words.get(3)?.parse().ok()?)))
        .filter(|(name, _)| name != "total")
        .collect()
}

/// What is traced; nothing by itself.
#[test]
fn job() {
    let (Ok(job), Some(socket)) = (env::var(JOB), env::var_os(SOCKET)) else { return };
    let count: usize = env::var(COUNT).unwrap().parse().unwrap();
    let client = Client::open_at(socket).unwrap();
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
        other => panic!("there is no job {other}"),
    }
}
