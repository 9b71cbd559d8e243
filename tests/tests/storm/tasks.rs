//! Futures, which are polled by hand with wakers that behave badly.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use xs_client::futures::{Client, Watch};
use xs_client::{ErrorKind, Result};

use super::Storm;
use super::actors::{Actor, absent_is_removed};
use super::oracle::{Key, Outcome};
use super::random::Random;

/// Polls a future until it is ready, or until it was polled so often. It is then dropped.
pub(crate) fn block_on<F: Future>(
    storm: &Arc<Storm>,
    future: F,
    most_polls: Option<u64>,
) -> Option<F::Output> {
    let hostile = Arc::new(HostileWaker {
        storm: Arc::downgrade(storm),
        random: Mutex::new(storm.random()),
        is_woken: Mutex::new(false),
        woken: Condvar::new(),
    });
    let waker = Waker::from(hostile.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut polls = 0;
    while most_polls.is_none_or(|most| polls < most) {
        polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        let mut is_woken = hostile.is_woken.lock().unwrap();
        // A future that is dropped soon need not be woken before that.
        while !*is_woken && most_polls.is_none() {
            is_woken = hostile.woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
    None
}

/// A waker that uses the client, blocks or panics.
struct HostileWaker {
    storm: Weak<Storm>,
    random: Mutex<Random>,
    is_woken: Mutex<bool>,
    woken: Condvar,
}

thread_local! {
    /// A waker that uses the client may run other wakers.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Wake for HostileWaker {
    fn wake(self: Arc<Self>) {
        let (mut random, is_first) = {
            let mut random = self.random.lock().unwrap();
            (Random::new(random.next(), 0), random.one_in(2))
        };
        if is_first {
            self.notify();
        }
        let panics = random.one_in(20);
        if DEPTH.get() < 2 {
            DEPTH.set(DEPTH.get() + 1);
            self.misbehave(&mut random);
            DEPTH.set(DEPTH.get() - 1);
        }
        self.notify();
        if panics {
            std::panic::resume_unwind(Box::new("a panic on purpose"));
        }
    }
}

impl HostileWaker {
    fn notify(&self) {
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_one();
    }

    fn misbehave(&self, random: &mut Random) {
        let Some(storm) = self.storm.upgrade().filter(|storm| !storm.round_is_over()) else {
            return;
        };
        match random.below(20) {
            // Consumes a wake-up of this thread, if the client relies on one.
            0..3 => thread::park_timeout(Duration::from_micros(50)),
            3 | 4 => {
                let client = storm.client.with_timeout(random.timeout());
                let key = storm.any_key(random);
                let activity = storm.activities.join("waker");
                activity.run(format!("read {}", key.path), || storm.read(&client, key));
            }
            5 => {
                let (sender, receiver) = mpsc::channel::<()>();
                let activity = storm.activities.join("waker that waits for a thread");
                let thread = thread::spawn(move || {
                    let key = &storm.counters[0];
                    storm.read(&storm.client, key);
                    drop(sender);
                });
                let _ = activity.run("receive from a thread that reads", || receiver.recv());
                let _: () = thread.join().expect("it does not panic");
            }
            _ => {}
        }
    }
}

impl Actor {
    /// Runs futures until the round ends.
    pub(crate) fn run_futures(mut self, tasks: &Client, own: usize) {
        let storm = self.storm.clone();
        while !storm.round_is_over() {
            // Some futures are dropped before they end.
            let most_polls = if self.random.one_in(4) { Some(self.random.below(4)) } else { None };
            match self.random.below(6) {
                0 | 1 => self.write_in_future(tasks, &storm.keys[own], most_polls),
                2 => self.write_in_future(tasks, &storm.counters[own], most_polls),
                3 => self.increment_in_future(tasks, most_polls),
                4 => self.watch_in_future(tasks, most_polls),
                _ => self.read_in_future(tasks, most_polls),
            }
        }
    }

    fn write_in_future(&mut self, tasks: &Client, key: &Key, most_polls: Option<u64>) {
        let client = tasks.with_timeout(self.random.timeout());
        let oracle = &self.storm.oracle;
        let write = key.begin_write(oracle);
        let value = key.value(write);
        let future = async {
            match &value {
                Some(value) => client.write(&key.path, value).await,
                None => absent_is_removed(client.rm(&key.path).await),
            }
        };
        let what = format!("write {} in a future", key.path);
        let result = self.activity.run(what, || block_on(&self.storm, future, most_polls));
        key.end_write(oracle, write, result.as_ref().map_or(Outcome::Unknown, Outcome::of));
        if let Some(Err(error)) = result {
            oracle.expect_error("write in a future", &error);
        }
    }

    fn read_in_future(&mut self, tasks: &Client, most_polls: Option<u64>) {
        let client = tasks.with_timeout(self.random.timeout());
        let storm = &self.storm;
        let keys: Vec<_> = (0..5).map(|_| storm.any_key(&mut self.random)).collect();
        let reads: Vec<_> = keys.iter().map(|key| key.begin_read(&storm.oracle)).collect();
        let future = client.read_many(keys.iter().map(|key| &key.path));
        let values =
            self.activity.run("read_many in a future", || block_on(storm, future, most_polls));
        for ((key, read), value) in keys.iter().zip(reads).zip(values.into_iter().flatten()) {
            storm.check(key, read, value);
        }
    }

    fn increment_in_future(&mut self, tasks: &Client, most_polls: Option<u64>) {
        let client = tasks.with_timeout(self.random.timeout());
        let (oracle, tally) = (&self.storm.oracle, &self.storm.tally);
        let begun = oracle.lifetime();
        let future = client.transaction(|tx| async move {
            tally.begin(oracle);
            let number = match tx.read_parsed::<u64>(&tally.path).await {
                Err(error) if error.is_not_found() => 0,
                number => number?,
            };
            tx.write_display(&tally.path, number + 1).await
        });
        match self
            .activity
            .run("increment in a future", || block_on(&self.storm, future, most_polls))
        {
            Some(Ok(())) => tally.done(oracle, begun),
            Some(Err(error)) => oracle.expect_error("increment in a future", &error),
            None => {}
        }
    }

    fn watch_in_future(&mut self, tasks: &Client, most_polls: Option<u64>) {
        let client = tasks.with_timeout(self.random.timeout());
        let path = &self.random.pick(&self.storm.counters).path;
        let future = async {
            let mut watch = client.watch(path).await?;
            watch.wait().await.map(drop)
        };
        let watched = self
            .activity
            .run(format!("watch {path} in a future"), || block_on(&self.storm, future, most_polls));
        if let Some(Err(error)) = watched {
            self.storm.oracle.expect_error("watch in a future", &error);
        }
    }
}

/// Reads each counter that changes, until the watch is removed.
pub(crate) fn watch_counters(storm: &Arc<Storm>, client: &Client, mut watch: Watch) {
    loop {
        let next: Option<Result<_>> = block_on(storm, watch.wait(), None);
        let event = match next.expect("the number of polls is not limited") {
            Ok(event) => event,
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::WatchRemoved) {
                    storm.oracle.violated(format!("the task's watch has ended: {error}"));
                }
                return;
            }
        };
        storm.connections.saw(&storm.oracle, "task", &event);
        for key in storm.counters_at(&event) {
            let read = key.begin_read(&storm.oracle);
            let value = block_on(storm, client.read(&key.path), None);
            let value = value.expect("the number of polls is not limited");
            storm.check_seen("task", key, read, value);
        }
    }
}
