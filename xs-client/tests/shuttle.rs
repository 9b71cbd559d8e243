//! Threads on one client, under schedules that are tried one by one: no wake-up is lost, nobody
//! waits for ever, each gets its own answer.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo test -p xs-client --features futures --test shuttle
//! ```
//!
//! `XS_TEST_SEED` and `XS_TEST_SCHEDULES` choose the seed and how many schedules each test tries.
//! A thread that waits for what never comes is a deadlock to shuttle.
#![cfg(shuttle)]

use std::collections::VecDeque;
use std::env;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};
use xs_client::{Client, DomId, EventKind};
use xs_transport::mock::{Pipe, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait};

/// Tries a test under random schedules and under such with few changes of threads.
fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    let var = |name, default| match env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default,
    };
    let seed = var("XS_TEST_SEED", std::process::id() as usize) as u64;
    let schedules = var("XS_TEST_SCHEDULES", 2000);
    println!("XS_TEST_SEED={seed} XS_TEST_SCHEDULES={schedules}, of each kind");
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    // The seed says as much as the schedule, and is shorter.
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(50_000);
    let random = RandomScheduler::new_from_seed(seed, schedules);
    Runner::new(random, config.clone()).run(test.clone());
    for depth in [2, 4] {
        let pct = PctScheduler::new_from_seed(seed, depth, schedules / 2);
        Runner::new(pct, config.clone()).run(test.clone());
    }
}

/// A socket whose far end is served by a thread of its own.
#[derive(Clone, Debug)]
struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    /// How many bytes can be under way to the server.
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    to_server: Vec<u8>,
    to_client: VecDeque<u8>,
    woken: bool,
    closed: bool,
}

impl Wire {
    fn new(capacity: usize) -> Self {
        let inner = Inner { state: Mutex::default(), changed: Condvar::new(), capacity };
        Wire(Arc::new(inner))
    }

    /// Serves until the client closes, or `requests` bytes were taken.
    fn serve(&self, pipe: &Pipe, bytes: usize) {
        let mut left = bytes;
        loop {
            let mut state = self.lock();
            while state.to_server.is_empty() && !state.closed {
                state = self.wait_for_change(state);
            }
            if state.closed {
                return;
            }
            let mut sent = std::mem::take(&mut state.to_server);
            drop(state);
            sent.truncate(left);
            left -= sent.len();
            assert_eq!(pipe.send(&sent).unwrap(), Sent::Bytes(sent.len()));
            self.pump(pipe);
            if left == 0 {
                // The daemon dies.
                self.close();
                return;
            }
        }
    }

    /// Brings to the client what the server has for it.
    fn pump(&self, pipe: &Pipe) {
        let mut buf = [0; 4096];
        let mut state = self.lock();
        while let Ok(n) = pipe.recv(&mut buf, Wait::No) {
            state.to_client.extend(&buf[..n]);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn wait_for_change<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.0.changed.wait(state).unwrap()
    }
}

impl Transport for Wire {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut state = self.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(self.0.capacity - state.to_server.len());
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.to_server.extend_from_slice(&bytes[..n]);
        drop(state);
        self.0.changed.notify_all();
        Ok(Sent::Bytes(n))
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let mut state = self.lock();
        loop {
            if !state.to_client.is_empty() {
                let n = buf.len().min(state.to_client.len());
                for (to, from) in buf.iter_mut().zip(state.to_client.drain(..n)) {
                    *to = from;
                }
                return Ok(n);
            }
            if state.closed {
                return Ok(0);
            }
            let woken = matches!(wait, Wait::UntilWoken(_)) && std::mem::take(&mut state.woken);
            if wait == Wait::No || woken {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state = self.wait_for_change(state);
        }
    }

    fn wait(&self, interest: Interest, _: Option<Instant>) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            let receive = interest.receive() && !state.to_client.is_empty();
            let send = interest.send() && state.to_server.len() < self.0.capacity;
            if receive || send || state.closed || std::mem::take(&mut state.woken) {
                return Ok(());
            }
            state = self.wait_for_change(state);
        }
    }

    fn wake(&self) {
        self.lock().woken = true;
        self.0.changed.notify_all();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_all();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn describe(&self) -> String {
        "a wire in a test".into()
    }
}

/// A client, and a xenstored that serves it until `bytes` were said.
struct Host {
    client: Client,
    xenstored: Xenstored,
    wire: Wire,
    pipe: Arc<Pipe>,
    server: thread::JoinHandle<()>,
}

/// More than any wire holds.
const ENDLESS: usize = usize::MAX / 2;

impl Host {
    fn new(capacity: usize, bytes: usize) -> Self {
        let xenstored = Xenstored::new();
        for at in 0..4 {
            xenstored.set(&format!("/{at}"), at.to_string()).unwrap();
        }
        let pipe = Arc::new(xenstored.connect(DomId::DOM0));
        let wire = Wire::new(capacity);
        // What has a deadline is looked at again and again: a lost wake-up would not show.
        let client = Client::builder().timeout(None).over(wire.clone());
        let (far, served) = (wire.clone(), pipe.clone());
        let server = thread::spawn(move || far.serve(&served, bytes));
        Host { client, xenstored, wire, pipe, server }
    }

    /// Starts a thread that reads its own node some times.
    fn reader(&self, at: usize, times: usize) -> thread::JoinHandle<()> {
        let client = self.client.clone();
        thread::spawn(move || {
            for _ in 0..times {
                assert_eq!(client.read(&format!("/{at}")).unwrap(), at.to_string().as_bytes());
            }
        })
    }

    /// Changes a node from outside.
    fn touch(&self, path: &str) {
        self.xenstored.set(path, "").unwrap();
        self.wire.pump(&self.pipe);
    }

    fn end(self) {
        drop(self.client);
        self.server.join().unwrap();
    }
}

#[test]
fn each_thread_gets_its_own_answers() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let readers = [0, 1, 2].map(|at| host.reader(at, 2));
        let _ = readers.map(|reader| reader.join().unwrap());
        host.end();
    });
}

#[test]
fn so_they_do_when_the_server_takes_little_at_a_time() {
    explore(|| {
        let host = Host::new(48, ENDLESS);
        let readers = [0, 1, 2].map(|at| host.reader(at, 1));
        let _ = readers.map(|reader| reader.join().unwrap());
        host.end();
    });
}

#[test]
fn beside_one_who_waits_for_an_event() {
    explore(|| {
        let host = Host::new(48, ENDLESS);
        let mut watch = host.client.watch("/w").unwrap();
        let watcher = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
            }
            watch
        });
        let readers = [0, 1].map(|at| host.reader(at, 1));
        // Whoever receives for the others has its event, or leaves when it has its answer.
        let _ = readers.map(|reader| reader.join().unwrap());
        host.touch("/w");
        drop(watcher.join().unwrap());
        host.end();
    });
}

#[test]
fn what_is_started_and_dropped_holds_up_nobody() {
    explore(|| {
        let host = Host::new(48, ENDLESS);
        let mut watch = host.client.watch("/w").unwrap();
        watch.wait().unwrap();
        let watcher = thread::spawn(move || watch.wait().map(|_| watch).unwrap());
        let client = host.client.clone();
        let starter = thread::spawn(move || {
            drop(client.start(&xs_client::op::read("/a/rather/long/path/to/send")));
        });
        let reader = host.reader(1, 1);
        starter.join().unwrap();
        reader.join().unwrap();
        host.touch("/w");
        drop(watcher.join().unwrap());
        host.end();
    });
}

#[test]
fn beside_one_who_looks_without_waiting() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let mut watch = host.client.watch("/w").unwrap();
        let looker = thread::spawn(move || {
            for _ in 0..3 {
                drop(watch.try_next().unwrap());
            }
            watch
        });
        let readers = [0, 1].map(|at| host.reader(at, 1));
        let _ = readers.map(|reader| reader.join().unwrap());
        drop(looker.join().unwrap());
        host.end();
    });
}

#[test]
fn with_a_thread_that_runs_callbacks() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let (sender, called) = shuttle::sync::mpsc::channel();
        let token = host.client.watch_with("/w", move |event| drop(sender.send(event))).unwrap();
        let readers = [0, 1].map(|at| host.reader(at, 1));
        assert_eq!(&*called.recv().unwrap().unwrap().path, "/w");
        host.touch("/w");
        assert_eq!(&*called.recv().unwrap().unwrap().path, "/w");
        host.client.unwatch(token).unwrap();
        // The callback is gone, and will not run.
        assert!(called.recv().is_err());
        let _ = readers.map(|reader| reader.join().unwrap());
        host.client.watch_stop();
        host.end();
    });
}

#[test]
fn a_watch_removed_while_its_callback_runs() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let running = Arc::new(Mutex::new(false));
        let (client, is_running) = (host.client.clone(), running.clone());
        let callback = move |_| {
            *is_running.lock().unwrap() = true;
            assert_eq!(client.read("/1").unwrap(), b"1");
            *is_running.lock().unwrap() = false;
        };
        let token = host.client.watch_with("/w", callback).unwrap();
        host.client.unwatch(token).unwrap();
        assert!(!*running.lock().unwrap());
        host.client.watch_stop();
        host.end();
    });
}

#[test]
fn closing_frees_everybody() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        host.client.watch_with("/w", drop).unwrap();
        let mut watch = host.client.watch("/w").unwrap();
        let watcher = thread::spawn(move || {
            for _ in 0..2 {
                drop(watch.wait())
            }
        });
        let client = host.client.clone();
        let reader = thread::spawn(move || drop([(); 2].map(|()| client.read("/1"))));
        host.client.close();
        watcher.join().unwrap();
        reader.join().unwrap();
        host.end();
    });
}

#[test]
fn when_the_daemon_dies_everybody_is_told() {
    explore(|| {
        // In the middle of a request.
        let host = Host::new(ENDLESS, 60);
        let (sender, called) = shuttle::sync::mpsc::channel();
        let set = host.client.watch_with("/w", move |event| drop(sender.send(event)));
        let others = [0, 1].map(|at| {
            let client = host.client.clone();
            thread::spawn(move || {
                let path = format!("/{at}");
                if let Ok(mut watch) = client.watch(&path) {
                    while watch.wait().is_ok() {}
                }
                while client.read(&path).is_ok() {}
            })
        });
        let _ = others.map(|other| other.join().unwrap());
        if set.is_ok() {
            // Whatever was there, and then the end.
            while called.recv().unwrap().is_ok() {}
        } else {
            assert!(called.recv().is_err(), "it was not set, and it was called");
        }
        assert!(host.client.read("/0").unwrap_err().is_lost());
        host.end();
    });
}

/// The first daemon dies in the middle of a request; whoever notices connects to the next one.
#[test]
fn when_another_daemon_comes_everybody_goes_on() {
    explore(|| {
        let xenstored = Xenstored::new();
        xenstored.set("/1", "1").unwrap();
        let servers = Arc::new(Mutex::new(Vec::new()));
        let started = servers.clone();
        let open = move |_| {
            let mut servers = started.lock().unwrap();
            let pipe = xenstored.connect(DomId::DOM0);
            let wire = Wire::new(ENDLESS);
            let far = wire.clone();
            let bytes = if servers.is_empty() { 60 } else { ENDLESS };
            servers.push(thread::spawn(move || far.serve(&pipe, bytes)));
            Ok(Box::new(wire) as Box<dyn Transport>)
        };
        let client = Client::builder().timeout(None).reconnect(true).over_each(open).unwrap();
        let watching = client.clone();
        let watcher = thread::spawn(move || {
            let mut watch = loop {
                match watching.watch("/w") {
                    Ok(watch) => break watch,
                    Err(error) => assert!(error.is_lost(), "{error}"),
                }
            };
            // Of this connection, or of the next one as well.
            let mut kinds = vec![watch.wait().unwrap().kind];
            while watching.read("/1").is_err() {}
            // The first daemon may be lost only now.
            while let Ok(Some(event)) = watch.try_next() {
                kinds.push(event.kind);
            }
            let again = kinds.iter().filter(|kind| **kind == EventKind::Reconnected).count();
            assert!(again <= 1, "{kinds:?}");
        });
        let readers = [(); 2].map(|()| {
            let client = client.clone();
            thread::spawn(move || {
                let mut lost = 0;
                while let Err(error) = client.read("/1") {
                    assert!(error.is_lost(), "{error}");
                    lost += 1;
                }
                assert!(lost <= 1, "there was one daemon only to be lost");
            })
        });
        let _ = readers.map(|reader| reader.join().unwrap());
        watcher.join().unwrap();
        drop(client);
        let servers = std::mem::take(&mut *servers.lock().unwrap());
        servers.into_iter().for_each(|server| server.join().unwrap());
    });
}

#[cfg(feature = "futures")]
#[test]
fn tasks_beside_threads() {
    use xs_client::futures;

    explore(|| {
        let host = Host::new(48, ENDLESS);
        let client = futures::Client::on_thread(host.client.clone()).unwrap();
        let tasks = [0, 1].map(|at| {
            let client = client.clone();
            thread::spawn(move || {
                shuttle::future::block_on(async {
                    let path = format!("/{at}");
                    let mut watch = client.watch(&path).await.unwrap();
                    assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
                    assert_eq!(client.read(&path).await.unwrap(), at.to_string().as_bytes());
                    // Given up on the way.
                    let _ = futures_lite::future::poll_once(client.read("/2")).await;
                });
            })
        });
        let reader = host.reader(3, 1);
        reader.join().unwrap();
        let _ = tasks.map(|task| task.join().unwrap());
        drop(client);
        host.client.watch_stop();
        host.end();
    });
}

#[test]
fn a_thread_that_was_stopped_takes_nothing_from_its_successor() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let (sender, called) = shuttle::sync::mpsc::channel();
        host.client.watch_with("/w", move |event| drop(sender.send(event))).unwrap();
        called.recv().unwrap().unwrap();
        let mut quiet = host.client.watch("/q").unwrap();
        quiet.wait().unwrap();
        let waiting = thread::spawn(move || drop(quiet.wait()));
        let client = host.client.clone();
        let stopping = thread::spawn(move || client.watch_stop());
        host.client.watch_with("/x", drop).unwrap();
        stopping.join().unwrap();
        // It runs again, in any case.
        host.client.watch_with("/y", drop).unwrap();
        host.touch("/w");
        called.recv().unwrap().unwrap();
        host.client.close();
        waiting.join().unwrap();
        host.end();
    });
}

#[test]
fn neither_does_one_that_stopped_itself() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let (sender, called) = shuttle::sync::mpsc::channel();
        let client = host.client.clone();
        let mut first = true;
        let callback = move |event| {
            if std::mem::take(&mut first) {
                client.watch_stop();
            }
            drop(sender.send(event));
        };
        let token = host.client.watch_with("/w", callback).unwrap();
        called.recv().unwrap().unwrap();
        let mut quiet = host.client.watch("/q").unwrap();
        quiet.wait().unwrap();
        let waiting = thread::spawn(move || drop(quiet.wait()));
        host.client.watch_with("/y", drop).unwrap();
        host.touch("/w");
        called.recv().unwrap().unwrap();
        host.client.close();
        waiting.join().unwrap();
        let _ = host.client.unwatch(token);
        host.client.watch_stop();
        host.end();
    });
}

#[test]
fn one_callback_at_a_time_is_told_of_the_end() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let running = Arc::new(Mutex::new(false));
        // What a callback panics with is nobody's business.
        let overlap = Arc::new(Mutex::new(false));
        for at in 0..3 {
            let (running, overlap) = (running.clone(), overlap.clone());
            let callback = move |_| {
                if std::mem::replace(&mut *running.lock().unwrap(), true) {
                    *overlap.lock().unwrap() = true;
                }
                thread::yield_now();
                *running.lock().unwrap() = false;
            };
            host.client.watch_with(&format!("/{at}"), callback).unwrap();
        }
        host.client.close();
        let client = host.client.clone();
        let stopping = thread::spawn(move || client.watch_stop());
        let _ = host.client.watch_with("/x", drop);
        stopping.join().unwrap();
        host.client.watch_stop();
        assert!(!*running.lock().unwrap() && !*overlap.lock().unwrap(), "two at once");
        host.end();
    });
}

#[cfg(feature = "futures")]
#[test]
fn no_callback_runs_once_they_are_stopped_beside_tasks() {
    explore(|| {
        let host = Host::new(ENDLESS, ENDLESS);
        let tasks = xs_client::futures::Client::on_thread(host.client.clone()).unwrap();
        let stopped = Arc::new(Mutex::new(false));
        let late = Arc::new(Mutex::new(false));
        let (seen, called) = (stopped.clone(), late.clone());
        let callback = move |event: xs_client::Result<xs_client::WatchEvent>| {
            if event.is_ok() && *seen.lock().unwrap() {
                *called.lock().unwrap() = true;
            }
        };
        host.client.watch_with("/w", callback).unwrap();
        host.client.watch_stop();
        *stopped.lock().unwrap() = true;
        host.client.read("/1").unwrap();
        drop(tasks);
        host.end();
        assert!(!*late.lock().unwrap(), "it runs");
    });
}

#[test]
fn stopping_the_thread_hands_over() {
    explore(|| {
        let host = Host::new(48, ENDLESS);
        host.client.watch_with("/w", drop).unwrap();
        let readers = [0, 1].map(|at| host.reader(at, 1));
        host.client.watch_stop();
        let _ = readers.map(|reader| reader.join().unwrap());
        host.end();
    });
}
