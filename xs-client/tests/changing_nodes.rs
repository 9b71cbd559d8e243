//! Commands and lists of children while another client changes the nodes.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId};
use xs_transport::mock::{Server, Xenstored};

/// A deadline of this length is not expected to pass.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn long_list_that_changes_for_a_while_is_read_completely() {
    let xenstored = with_children(2000);
    let client = Client::from_transport(xenstored.connect(DomId::DOM0)).with_timeout(LONG);
    let start = Instant::now();
    let mut count = 0;
    let change = || {
        // More restarts than any fixed number of them would allow.
        if start.elapsed() < Duration::from_millis(500) {
            count += 1;
            xenstored.set(&format!("/a/more-{count}"), "").unwrap();
        }
    };
    beside(change, || {
        // A list may be read between two changes.
        while start.elapsed() < Duration::from_millis(500) {
            assert!(client.directory("/a").unwrap().len() >= 2000);
        }
    });
    assert_eq!(client.directory("/a").ok(), xenstored.children("/a"));
}

#[test]
fn dump_of_changing_nodes_falls_back_to_reading_without_transaction() {
    let host = Host::new(900);
    let output = host.run_beside_writer("xs", "dump /a");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    assert!(error.starts_with("xs: warning: other clients change"), "{error}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("# Changed while being read"), "{}", &stdout[..80]);
    assert_eq!(stdout.lines().filter(|line| line.starts_with("/a")).count(), 901);
}

#[test]
fn recursive_chmod_of_changing_nodes_falls_back_to_single_changes() {
    for (program, args) in [("xs", "chmod -r /a n0 r7"), ("xenstore-chmod", "-r /a n0 r7")] {
        let host = Host::new(900);
        let output = host.run_beside_writer(program, args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        assert!(error.contains("warning: other clients change"), "{error}");
        for path in ["/a", "/a/000000", "/a/000899"] {
            assert_eq!(host.xenstored.perms(path).unwrap().to_string(), "n0 r7");
        }
    }
}

#[test]
fn ls_and_list_of_changing_nodes_print_all_of_them() {
    let host = Host::new(900);
    for (program, args, lines) in [
        ("xs", "ls -f /a", 900),
        ("xenstore-ls", "-f /a", 900),
        ("xs", "list /a", 900),
        ("xs", "list /a /a", 1800),
        ("xs", "get-perms /a /a/000000", 2),
    ] {
        let output = host.run_beside_writer(program, args);
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(stdout.lines().count(), lines, "{args}");
    }
}

/// Returns a daemon with a node `/a` that has children.
fn with_children(count: usize) -> Xenstored {
    let xenstored = Xenstored::new();
    for at in 0..count {
        xenstored.set(&format!("/a/{at:06}"), "0").unwrap();
    }
    xenstored
}

/// Runs `read` while another thread makes changes one after another.
fn beside<T>(mut change: impl FnMut() + Send, read: impl FnOnce() -> T) -> T {
    /// Ends the other thread, also if `read` panics.
    struct Done<'a>(&'a AtomicBool);

    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                change();
            }
        });
        let _done = Done(&is_done);
        read()
    })
}

/// A daemon that serves a socket.
struct Host {
    xenstored: Xenstored,
    dir: PathBuf,
}

impl Host {
    fn new(children: usize) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("xs-changing-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let xenstored = with_children(children);
        let mut server = Server::new(xenstored.clone()).unwrap();
        server.bind(dir.join("socket"), DomId::DOM0).unwrap();
        // The thread ends with the process.
        thread::spawn(move || server.run());
        Host { xenstored, dir }
    }

    /// Runs a program while the values of some nodes change all the time.
    fn run_beside_writer(&self, program: &str, args: &str) -> Output {
        let mut count = 0;
        let change = || {
            count += 1;
            self.xenstored.set(&format!("/a/{:06}", count % 900), "1").unwrap();
            self.xenstored.set("/a", count.to_string()).unwrap();
            thread::sleep(Duration::from_micros(100));
        };
        beside(change, || {
            Command::new(env!("CARGO_BIN_EXE_xs"))
                .arg0(program)
                .args(args.split(' '))
                .env("XENSTORED_PATH", self.dir.join("socket"))
                .output()
                .unwrap()
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
