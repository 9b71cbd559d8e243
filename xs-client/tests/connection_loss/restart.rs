//! A genuine daemon is killed while a client waits in all ways, and started again on the same path.
//!
//! `XS_TEST_DAEMON_COMMAND` starts a daemon. The command takes a directory, prints the path of the
//! socket in it when the daemon serves that, and ends together with its daemon.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use xs_client::{Client, EventKind, Result, WatchEvent, futures, op};

use crate::support::callback::CallbackEvents;
use crate::support::waiting::HANG_GUARD;

/// A node that dom0 may write on every daemon.
const NODE: &str = "/tool/xs-restart";

struct DaemonProcess {
    child: Child,
    socket: PathBuf,
}

impl DaemonProcess {
    fn start(command: &str, dir: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command} \"$1\""), "sh"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start a shell");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the daemon did not start: {command}");
        DaemonProcess { child, socket: line.trim_end().into() }
    }

    /// Sends a signal to the daemon, which is a child of the command.
    fn signal(&self, signal: &str) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        assert!(!children.trim().is_empty(), "the command has no daemon");
        let status =
            Command::new("kill").arg(signal).args(children.split_whitespace()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kinds(events: impl IntoIterator<Item = Result<WatchEvent>>) -> Vec<EventKind> {
    events.into_iter().map(|event| event.unwrap().kind).collect()
}

/// Returns whether one of the daemons answered the request, or it was lost with the first one.
fn is_sound<T>(result: &Result<T>) -> bool {
    result.as_ref().err().is_none_or(|error| error.is_lost() || error.is_not_found())
}

#[test]
fn client_survives_restart_of_genuine_daemon() {
    let Ok(command) = std::env::var("XS_TEST_DAEMON_COMMAND") else {
        let _ = io::stderr().write_all(b"SKIPPED: XS_TEST_DAEMON_COMMAND is not set\n");
        return;
    };
    let dir = std::env::temp_dir().join(format!("xs-restart-{}", std::process::id()));
    let daemon = DaemonProcess::start(&command, &dir);
    let client =
        Client::builder().timeout(HANG_GUARD).reconnect(true).open_at(&daemon.socket).unwrap();
    let tasks = futures::Client::on_thread(client.clone()).unwrap();
    client.write(NODE, "1").unwrap();

    let calls = CallbackEvents::watch(&client, NODE);
    assert_eq!(calls.next_kind(), EventKind::Fired);
    let mut watch = client.watch(NODE).unwrap();
    assert_eq!(kinds([watch.wait()]), [EventKind::Fired]);
    let tx = client.start_transaction().unwrap();

    // The daemon answers no request any more.
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
        assert!(pending.wait().unwrap_err().is_lost(), "the stopped daemon has answered");
        let impatient = client.with_timeout(Duration::from_millis(50));
        assert!(impatient.write(NODE, "2").unwrap_err().is_lost(), "no daemon runs");

        let daemon = DaemonProcess::start(&command, &dir);
        assert_eq!(daemon.socket, socket);
        for user in [reader, batch, task] {
            assert!(user.join().unwrap());
        }
        // Events may have been missed, and a watch fires when it is set.
        let both = [EventKind::Reconnected, EventKind::Fired];
        assert_eq!(kinds(watcher.join().unwrap()), both);
        assert_eq!([(); 2].map(|()| calls.next_kind()), both);
        daemon
    });

    assert!(tx.read("/").is_err(), "the transaction belongs to the first daemon");
    drop(tx);
    client.write(NODE, "3").unwrap();
    assert_eq!(kinds([watch.wait()]), [EventKind::Fired]);
    assert_eq!(calls.next_kind(), EventKind::Fired);
    drop((watch, client, tasks, daemon));
    let _ = fs::remove_dir_all(&dir);
}
