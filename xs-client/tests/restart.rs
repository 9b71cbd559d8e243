//! A genuine daemon is killed while a client waits in every way, and started again on the same
//! path.
//!
//! `XS_TEST_DAEMON_COMMAND` starts one: a command that takes a directory, prints the path of the
//! socket in it when that is served, and ends with its daemon when it is killed.
#![cfg(feature = "futures")]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use xs_client::{Client, EventKind, Result, WatchEvent, futures, op};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that dom0 may write on every daemon.
const NODE: &str = "/tool/xs-restart";

struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(command: &str, dir: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command} \"$1\""), "sh"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the daemon did not start: {command}");
        Daemon { child, socket: line.trim_end().into() }
    }

    /// Sends a signal to what the command has started.
    fn signal(&self, signal: &str) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        assert!(!children.trim().is_empty(), "the command has no daemon");
        let status =
            Command::new("kill").arg(signal).args(children.split_whitespace()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kinds(events: impl IntoIterator<Item = Result<WatchEvent>>) -> Vec<EventKind> {
    events.into_iter().map(|event| event.unwrap().kind).collect()
}

/// Whether this request was answered, by either daemon, or lost with the first one.
fn is_sound<T>(result: &Result<T>) -> bool {
    result.as_ref().err().is_none_or(|error| error.is_lost() || error.is_not_found())
}

#[test]
fn killed_and_started_again() {
    let Ok(command) = std::env::var("XS_TEST_DAEMON_COMMAND") else {
        let _ = io::stderr().write_all(b"SKIPPED: XS_TEST_DAEMON_COMMAND is not set\n");
        return;
    };
    let dir = std::env::temp_dir().join(format!("xs-restart-{}", std::process::id()));
    let daemon = Daemon::start(&command, &dir);
    let client =
        Client::builder().timeout(PATIENCE).reconnect(true).open_at(&daemon.socket).unwrap();
    let tasks = futures::Client::on_thread(client.clone()).unwrap();
    client.write(NODE, "1").unwrap();

    let (sender, called) = mpsc::channel();
    client.watch_with(NODE, move |event| drop(sender.send(event))).unwrap();
    let mut calls = std::iter::from_fn(|| called.recv_timeout(PATIENCE).ok());
    assert_eq!(kinds(calls.next()), [EventKind::Fired]);
    let mut watch = client.watch(NODE).unwrap();
    assert_eq!(kinds([watch.wait()]), [EventKind::Fired]);
    let tx = client.start_transaction().unwrap();

    // Nobody is answered any more.
    daemon.signal("-STOP");
    let pending = client.start(&op::read(NODE)).unwrap();
    let daemon = thread::scope(|scope| {
        let watcher = scope.spawn(|| [(); 2].map(|()| watch.wait()));
        let reader = scope.spawn(|| is_sound(&client.read(NODE)));
        let batch = scope.spawn(|| client.read_many([NODE, "/", NODE]).iter().all(is_sound));
        let task = scope
            .spawn(|| is_sound(&futures_lite::future::block_on(async { tasks.read(NODE).await })));
        let socket = daemon.socket.clone();
        daemon.signal("-KILL");
        drop(daemon);
        assert!(pending.wait().unwrap_err().is_lost(), "it was not answered");
        let impatient = client.with_timeout(Duration::from_millis(50));
        assert!(impatient.write(NODE, "2").unwrap_err().is_lost(), "nobody is there");

        let daemon = Daemon::start(&command, &dir);
        assert_eq!(daemon.socket, socket);
        for user in [reader, batch, task] {
            assert!(user.join().unwrap());
        }
        // Something may have been missed; and each watch that is set fires.
        let both = [EventKind::Reconnected, EventKind::Fired];
        assert_eq!(kinds(watcher.join().unwrap()), both);
        assert_eq!(kinds(calls.by_ref().take(2)), both);
        daemon
    });

    assert!(tx.read("/").is_err(), "the transaction was of the first daemon");
    drop(tx);
    client.write(NODE, "3").unwrap();
    assert_eq!(kinds([watch.wait()]), [EventKind::Fired]);
    assert_eq!(kinds(calls.next()), [EventKind::Fired]);
    drop((watch, client, tasks, daemon));
    let _ = fs::remove_dir_all(&dir);
}
