//! A storm: all kinds of users share one client and misuse it, while its daemon is killed and its
//! connection is cut.
//!
//! Threads, callbacks, futures and an event loop share a client that reconnects. Callbacks and
//! wakers use the client, wait for other threads, and panic. Futures are dropped before they end,
//! some timeouts are zero, and some operations have none. An [oracle](oracle) knows which values a
//! read may return. After each round the connection is left alone. Then every watcher has to see the
//! last value of every counter, and has to receive the event of the last
//! [reconnection](connections). In the end, no thread and no descriptor may be left.
//!
//! This is the only test of its process, since it counts threads and descriptors. `tests/README.md`
//! lists the environment variables.
#![cfg(target_os = "linux")]

mod activities;
mod actors;
mod connections;
mod daemon;
mod event_loop;
#[path = "../../../xs-client/tests/support/intercept.rs"]
#[allow(dead_code, reason = "other tests use the other hooks")]
mod intercept;
mod late_reader;
mod oracle;
mod proxy;
mod random;
mod tasks;

use std::env;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xs_client::{Client, ErrorKind, Result, WatchEvent, WatchToken, futures};
use xs_tests::HANG_TIMEOUT;
use xs_tests::settings::{number, path, seed, skip};

use activities::{Activities, Guard};
use actors::Actor;
use connections::Connections;
use daemon::{Daemon, Start};
use late_reader::late_reader;
use oracle::{Key, Oracle, Outcome, Read, Tally};
use random::Random;

/// How long the storm lasts on each daemon, in seconds.
const SECONDS: u64 = 5;

/// Threads that write, and tasks that write. Each has a key and a counter of its own.
const WRITERS: usize = 3;
const TASKS: usize = 2;

const READERS: usize = 3;

/// The parties that use a client. Each can receive for all, so each combination hands over
/// differently: a callback thread that always receives hides the errors of the others.
#[derive(Clone, Copy, Debug)]
struct Mix {
    callbacks: bool,
    event_loop: bool,
    tasks: Tasks,
}

/// The driver of the futures.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tasks {
    /// There are none.
    None,
    CallbackThread,
    Tokio,
}

const MIXES: [Mix; 6] = [
    Mix { callbacks: true, event_loop: true, tasks: Tasks::Tokio },
    Mix { callbacks: false, event_loop: false, tasks: Tasks::None },
    Mix { callbacks: true, event_loop: true, tasks: Tasks::CallbackThread },
    Mix { callbacks: false, event_loop: true, tasks: Tasks::None },
    Mix { callbacks: false, event_loop: false, tasks: Tasks::Tokio },
    Mix { callbacks: true, event_loop: false, tasks: Tasks::None },
];

/// The limit on the growth of the memory of the process after the first rounds, in KiB. A value has up to
/// 4 KiB, and there are many connections and threads.
const GROWTH: u64 = 64 * 1024;

#[test]
fn storm() {
    daemon::serve_if_asked();
    let command = env::var("XS_TEST_DAEMON_COMMAND").ok();
    if command.is_none() {
        skip("XS_TEST_DAEMON_COMMAND is not set, no genuine daemon takes part in the storm");
    }
    let device = path("XS_TEST_DEVICE");
    let wanted = env::var("XS_TEST_STORM_DAEMONS").ok();
    let is_wanted =
        |name: &str| wanted.as_ref().is_none_or(|names| names.split(',').any(|n| n == name));
    let duration = Duration::from_secs(number("XS_TEST_STORM_SECONDS").unwrap_or(SECONDS));
    let seed = seed();
    let guard = Guard::start(Arc::default());
    drop(guard);
    for (number, mix) in (0..).zip(MIXES) {
        let seed = seed.wrapping_add(number * 3);
        let duration = duration / MIXES.len() as u32;
        println!("{mix:?}");
        if is_wanted("memory") {
            run("memory", || Daemon::process(Start::InMemory), mix, seed, duration);
        }
        if is_wanted("device") {
            run("device", Daemon::device, mix, seed.wrapping_add(1), duration);
        }
        if let (Some(command), true) = (&command, is_wanted("command")) {
            let start = || Daemon::process(Start::Command(command.clone()));
            run("command", start, mix, seed.wrapping_add(2), duration);
        }
        if let (Some(device), true) = (&device, is_wanted("xen")) {
            run("xen", || Daemon::xen(device.clone()), mix, seed.wrapping_add(2), duration);
        }
    }
}

/// The state that the actors share.
struct Storm {
    client: Client,
    mix: Mix,
    tasks: Option<futures::Client>,
    daemon: Arc<Daemon>,
    oracle: Arc<Oracle>,
    connections: Arc<Connections>,
    activities: Arc<Activities>,
    /// The directory of the keys, and that of the counters.
    root: String,
    counters_root: String,
    keys: Vec<Key>,
    counters: Vec<Key>,
    /// Each names two nodes with the same value.
    pairs: Vec<Key>,
    tally: Tally,
    seed: u64,
    randoms: AtomicU64,
    /// The round is over: actors stop.
    over: AtomicBool,
    /// Connections are left as they are.
    is_calm: Arc<AtomicBool>,
}

impl Storm {
    /// Returns a generator for another actor.
    fn random(&self) -> Random {
        Random::new(self.seed, self.randoms.fetch_add(1, Ordering::Relaxed))
    }

    fn set_calm(&self, is_calm: bool) {
        self.is_calm.store(is_calm, Ordering::SeqCst);
        self.daemon.set_calm(is_calm);
    }

    fn round_is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn any_key(&self, random: &mut Random) -> &Key {
        random.pick(if random.clone().one_in(2) { &self.keys } else { &self.counters })
    }

    /// Returns the counters to examine after an event.
    fn counters_at(&self, event: &WatchEvent) -> Vec<&Key> {
        let changed = self.counters.iter().find(|key| *key.path == *event.path);
        changed.map_or_else(|| self.counters.iter().collect(), |key| vec![key])
    }

    fn read(&self, client: &Client, key: &Key) {
        let read = key.begin_read(&self.oracle);
        self.check(key, read, client.read(&key.path));
    }

    /// Checks the result of a read.
    fn check(&self, key: &Key, read: Read, value: Result<Vec<u8>>) {
        match value {
            Ok(value) => _ = key.end_read(&self.oracle, read, Some(&value)),
            Err(error) if error.is_not_found() => _ = key.end_read(&self.oracle, read, None),
            Err(error) => self.oracle.expect_error("read", &error),
        }
    }

    /// Checks the result of a read that follows an event.
    fn check_seen(&self, watcher: &'static str, key: &Key, read: Read, value: Result<Vec<u8>>) {
        let number = match value {
            Ok(value) => key.end_read(&self.oracle, read, Some(&value)),
            Err(error) if error.is_not_found() => key.end_read(&self.oracle, read, None),
            // Another event follows when the connection is replaced.
            Err(error) if error.is_lost() => return,
            Err(error) => {
                self.oracle.violated(format!("{watcher}: {error}"));
                return;
            }
        };
        key.seen(watcher, number);
    }

    fn read_seen(&self, watcher: &'static str, client: &Client, event: &WatchEvent) {
        self.connections.saw(&self.oracle, watcher, event);
        for key in self.counters_at(event) {
            let read = key.begin_read(&self.oracle);
            self.check_seen(watcher, key, read, client.read(&key.path));
        }
    }
}

fn run(name: &str, daemon: impl FnOnce() -> Daemon, mix: Mix, seed: u64, duration: Duration) {
    let threads_before = count("task");
    let descriptors_before = count("fd");
    let activities = Arc::new(Activities::default());
    let guard = Guard::start(activities.clone());
    let daemon = Arc::new(daemon());
    daemon.set_calm(true);
    let (storm, driver) = start(daemon.clone(), activities.clone(), mix, seed);
    let (watchers, tokens, names) = start_watchers(&storm);
    let begun = Instant::now();
    let (mut rounds, mut memory) = (0, 0);
    while begun.elapsed() < duration && !storm.oracle.has_failed.load(Ordering::SeqCst) {
        // After a connection that lasts for a second, the client connects again without long pauses.
        let is_calm = rounds % 2 == 1;
        round(&storm, Instant::now() + Duration::from_secs(1).min(duration), is_calm);
        check_counters(&storm, &names);
        activities.join("the test").run("wait for news of the last connection", || {
            storm.connections.check(&storm.oracle);
        });
        activities.remove_former_actors();
        rounds += 1;
        if rounds == 10 {
            memory = resident_memory();
        }
    }
    let operations = activities.operations();
    let lifetimes = storm.oracle.lifetime() / 2 + 1;
    let connections = storm.connections.made();
    println!(
        "{name}: {operations} operations in {rounds} rounds, {lifetimes} daemons, {connections} connections"
    );
    for token in tokens {
        let removed = storm.client.with_timeout(None).unwatch(token);
        removed.unwrap_or_else(|error| storm.oracle.expect_error("unwatch", &error));
    }
    let activity = activities.join("the test");
    activity.run("join the watchers", || {
        watchers.into_iter().for_each(|watcher| watcher.join().expect("a watcher panicked"));
    });
    let oracle = storm.oracle.clone();
    // A waker may hold it for a moment.
    activity.run("wait for the wakers", || {
        while Arc::strong_count(&storm) > 1 {
            thread::yield_now();
        }
    });
    if let Err(error) = storm.client.with_timeout(None).rm(&storm.root) {
        storm.oracle.expect_error("rm", &error);
    }
    drop((storm, daemon));
    activity.run("join the driver", || {
        driver.into_iter().for_each(|driver| driver.join().expect("the driver panicked"));
    });
    drop((activity, guard, activities));
    oracle.assert_nothing_violated();
    if rounds > 10 {
        let now = resident_memory();
        println!("{name}: {memory} KiB after 10 rounds, {now} KiB in the end");
        assert!(now < memory + GROWTH, "memory grew from {memory} to {now} KiB");
    }
    // A joined thread is still listed for a moment.
    let deadline = Instant::now() + HANG_TIMEOUT;
    let is_left = || count("task") > threads_before || count("fd") > descriptors_before;
    while is_left() && Instant::now() < deadline {
        thread::park_timeout(Duration::from_millis(1));
    }
    let before = (threads_before, descriptors_before);
    assert!(
        !is_left(),
        "threads and descriptors before: {before:?}, now: {:?}",
        (count("task"), count("fd"))
    );
}

/// Connects the client, and starts the driver of its tasks.
fn start(
    daemon: Arc<Daemon>,
    activities: Arc<Activities>,
    mix: Mix,
    seed: u64,
) -> (Arc<Storm>, Option<JoinHandle<()>>) {
    let random = Mutex::new(Random::new(seed, u64::MAX));
    let for_client = daemon.clone();
    let (is_calm, connections) = (Arc::new(AtomicBool::new(true)), Arc::<Connections>::default());
    let for_connector = (is_calm.clone(), connections.clone());
    let client = Client::builder()
        .timeout(None)
        .reconnect(true)
        .with_connector(move |timeout| {
            let mut random = random.lock().unwrap();
            // Without restarts of the daemon, a reliable connection would never end.
            let is_unreliable = !random.one_in(3) || !for_client.can_restart();
            let transport = for_client.connect(&mut random, is_unreliable, timeout)?;
            let (is_calm, connections) = &for_connector;
            connections.add();
            Ok(match random.one_in(3) {
                true => Box::new(late_reader(
                    transport,
                    is_calm.clone(),
                    connections.clone(),
                    &mut random,
                )),
                false => transport,
            })
        })
        .expect("the daemon serves");
    let (tasks, driver) = match mix.tasks {
        Tasks::None => (None, None),
        Tasks::CallbackThread => {
            (Some(futures::Client::on_thread(client.clone()).expect("threads are available")), None)
        }
        Tasks::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("descriptors are available");
            let (tasks, driver) = {
                let _context = runtime.enter();
                futures::Client::with_tokio_driver(client.clone())
                    .expect("descriptors are available")
            };
            (Some(tasks), Some(thread::spawn(move || _ = runtime.block_on(driver))))
        }
    };
    // A daemon that is not restarted may still have the nodes of an earlier storm.
    let root = format!("{}/xs-storm-{seed:x}", daemon.directory());
    let counters_root = format!("{root}/c");
    let keys = |kind: &str, first: u64, may_be_absent| {
        let key = |at| Key::new(first + at, format!("{root}/{kind}/{at}"), may_be_absent);
        (0..(WRITERS + TASKS) as u64).map(key).collect::<Vec<_>>()
    };
    let mut oracle = Oracle::default();
    oracle.is_limited = !daemon.can_restart();
    let storm = Storm {
        client,
        mix,
        tasks,
        daemon,
        oracle: Arc::new(oracle),
        connections,
        activities,
        keys: keys("k", 100, true),
        counters: keys("c", 200, false),
        pairs: keys("p", 300, false),
        tally: Tally::new(format!("{root}/tally")),
        root,
        counters_root,
        seed,
        randoms: AtomicU64::new(0),
        over: AtomicBool::new(true),
        is_calm,
    };
    (Arc::new(storm), driver)
}

type Watchers = (Vec<JoinHandle<()>>, Vec<WatchToken>, Vec<&'static str>);

/// Starts a watcher of each kind, and one more thread.
fn start_watchers(storm: &Arc<Storm>) -> Watchers {
    let path = &storm.counters_root;
    let (mut threads, mut tokens, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["thread", "another thread"] {
        storm.connections.add_watcher(name);
        let mut watch = storm.client.watch(path).expect("the connection is good");
        tokens.push(watch.token());
        names.push(name);
        let storm = storm.clone();
        threads.push(thread::spawn(move || {
            loop {
                match watch.wait() {
                    Ok(event) => storm.read_seen(name, &storm.client, &event),
                    Err(error) if matches!(error.kind(), ErrorKind::WatchRemoved) => return,
                    Err(error) => storm.oracle.violated(format!("the watch has ended: {error}")),
                }
            }
        }));
    }
    if storm.mix.event_loop {
        storm.connections.add_watcher("event loop");
        let watch = storm.client.watch(path).expect("the connection is good");
        tokens.push(watch.token());
        names.push("event loop");
        let storm = storm.clone();
        threads.push(thread::spawn(move || event_loop::run(&storm, watch)));
    }
    if let Some(tasks) = &storm.tasks {
        storm.connections.add_watcher("task");
        let watch = tasks::block_on(storm, tasks.watch(path), None);
        let watch = watch.expect("it is polled to the end").expect("the connection is good");
        tokens.push(watch.token());
        names.push("task");
        let (storm, tasks) = (storm.clone(), tasks.with_timeout(None));
        threads.push(thread::spawn(move || tasks::watch_counters(&storm, &tasks, watch)));
    }
    if storm.mix.callbacks {
        storm.connections.add_watcher("callback");
        let for_callback = Arc::downgrade(storm);
        let token = storm.client.watch_with(path, move |event| {
            let (Some(storm), Ok(event)) = (for_callback.upgrade(), event) else { return };
            storm.read_seen("callback", &storm.client, &event);
        });
        tokens.push(token.expect("the connection is good"));
        names.push("callback");
    }
    (threads, tokens, names)
}

/// Lets all actors run until the time has passed. In a calm round, connections are left as they are.
fn round(storm: &Arc<Storm>, until: Instant, is_calm: bool) {
    storm.over.store(false, Ordering::SeqCst);
    storm.set_calm(is_calm);
    thread::scope(|scope| {
        for own in 0..WRITERS {
            let actor = Actor::new(storm, "writer");
            scope.spawn(move || actor.write(own));
        }
        for own in WRITERS..WRITERS + TASKS {
            let actor = Actor::new(storm, "task");
            match &storm.tasks {
                Some(tasks) => scope.spawn(move || actor.run_futures(tasks, own)),
                None => scope.spawn(move || actor.write(own)),
            };
        }
        for _ in 0..READERS {
            let actor = Actor::new(storm, "reader");
            scope.spawn(move || actor.read());
        }
        Actor::new(storm, "disturber").disturb(until, &storm.over);
    });
    storm.set_calm(true);
}

/// Writes each counter once more, and waits until all watchers have seen that value.
fn check_counters(storm: &Arc<Storm>, watchers: &[&'static str]) {
    let activity = storm.activities.join("the test");
    let mut random = storm.random();
    let daemon = storm.daemon.clone();
    let other = Client::builder()
        .timeout(None)
        .with_connector(move |timeout| daemon.connect(&mut Random::new(0, 0), false, timeout))
        .expect("the daemon serves");
    // If another client writes, the client has no call of its own that receives the event.
    let writes_itself = random.one_in(2);
    for key in &storm.counters {
        let write = || loop {
            let client = if writes_itself { &storm.client } else { &other };
            let write = key.begin_write(&storm.oracle);
            let value = key.value(write).expect("counters are always present");
            let result = activity.run("the last write", || client.write(&key.path, value));
            key.end_write(&storm.oracle, write, Outcome::of(&result));
            match result {
                Ok(()) => return,
                Err(error) => storm.oracle.expect_error("the last write", &error),
            }
        };
        write();
        activity.run(format!("wait for the watchers of {}", key.path), || {
            loop {
                let late = key.late_watchers(watchers);
                if late.is_empty() || storm.oracle.has_failed.load(Ordering::SeqCst) {
                    break;
                }
                // A write from before, whose connection was lost, may have been carried out only
                // now.
                let read = key.begin_read(&storm.oracle);
                let value = other.read(&key.path).expect("the daemon serves");
                if key.end_read(&storm.oracle, read, Some(&value)) != Some(key.last()) {
                    write();
                }
            }
        });
    }
}

/// Counts the threads or descriptors of this process.
fn count(what: &str) -> usize {
    fs::read_dir(format!("/proc/self/{what}")).expect("/proc is mounted").count()
}

/// Returns the memory that the process uses, in KiB.
fn resident_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is listed");
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number")
}
