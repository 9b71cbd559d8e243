//! Threads and tasks that share a client, under schedules that shuttle tries one by one: no wake-up
//! is lost, no thread waits indefinitely, and each gets its own answers.
//!
//! ```text
//! cargo test -p xs-schedules --test schedules
//! ```
//!
//! `XS_TEST_SEED` chooses the seed, and `XS_TEST_SCHEDULES` how many schedules each test tries.
//! Shuttle reports a lost wake-up as a deadlock.

extern crate xs_schedules as xs_client;

mod callbacks;
mod loss;
mod pollers;
mod requests;
mod user_code;
mod watch_sets;
mod wire;

use std::env;
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};
use xs_client::{Client, DomId};
use xs_transport::mock::{Pipe, Xenstored};

use wire::Wire;

/// Runs a test under random schedules, and under schedules with few switches between threads.
fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    let var = |name, default| match env::var(name) {
        Ok(value) => value.parse().expect("the variable is not a number"),
        Err(_) => default,
    };
    let seed = var("XS_TEST_SEED", std::process::id() as usize) as u64;
    let schedules = var("XS_TEST_SCHEDULES", 2000);
    println!("XS_TEST_SEED={seed} XS_TEST_SCHEDULES={schedules}, of each kind");
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    // The seed reproduces a failure as well as the schedule does, and is shorter.
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(50_000);
    let random = RandomScheduler::new_from_seed(seed, schedules);
    Runner::new(random, config.clone()).run(test.clone());
    for depth in [2, 4] {
        let pct = PctScheduler::new_from_seed(seed, depth, schedules / 2);
        Runner::new(pct, config.clone()).run(test.clone());
    }
}

/// A client and the daemon that serves it.
struct Host {
    client: Client,
    xenstored: Xenstored,
    wire: Wire,
    pipe: Arc<Pipe>,
    server: thread::JoinHandle<()>,
}

/// More bytes than any test sends.
const UNLIMITED: usize = usize::MAX / 2;

/// A capacity of the wire that many requests exceed.
const SMALL: usize = 48;

impl Host {
    /// Starts a daemon that dies after `bytes` bytes of requests, behind a wire that takes
    /// `capacity` bytes.
    fn new(capacity: usize, bytes: usize) -> Self {
        Self::with_wire(Wire::new(capacity), bytes)
    }

    fn with_wire(wire: Wire, bytes: usize) -> Self {
        let xenstored = Xenstored::new();
        for at in 0..4 {
            xenstored.set(&format!("/{at}"), at.to_string()).unwrap();
        }
        let pipe = Arc::new(xenstored.connect(DomId::DOM0));
        // A wait with a deadline is repeated, which would hide a lost wake-up.
        let client = Client::builder().timeout(None).from_transport(wire.clone());
        let (far, served) = (wire.clone(), pipe.clone());
        let server = thread::spawn(move || far.serve(&served, bytes));
        Host { client, xenstored, wire, pipe, server }
    }

    /// Starts a thread that reads its own node so many times.
    fn reader(&self, at: usize, times: usize) -> thread::JoinHandle<()> {
        let client = self.client.clone();
        thread::spawn(move || {
            for _ in 0..times {
                assert_eq!(client.read(format!("/{at}")).unwrap(), at.to_string().as_bytes());
            }
        })
    }

    /// Writes a node as another client does.
    fn touch(&self, path: &str) {
        self.xenstored.set(path, "").unwrap();
        self.wire.pump(&self.pipe);
    }

    /// Drops the client and waits until the daemon has noticed.
    fn end(self) {
        drop(self.client);
        self.server.join().unwrap();
    }
}

/// Waits for the end of all threads.
fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
