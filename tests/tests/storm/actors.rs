//! Threads that read and write for one round of a storm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, Result, Retries, op};
use xs_tests::settings::scaled;

use super::Storm;
use super::activities::Activity;
use super::oracle::{Key, Outcome, Read};
use super::random::Random;

/// A thread that uses the client, with its own random decisions.
pub(crate) struct Actor {
    pub(crate) storm: Arc<Storm>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) random: Random,
}

impl Actor {
    pub(crate) fn new(storm: &Arc<Storm>, name: &str) -> Self {
        let (activity, random) = (storm.activities.join(name), storm.random());
        Actor { storm: storm.clone(), activity, random }
    }

    fn client(&mut self) -> Client {
        self.storm.client.with_timeout(self.random.timeout())
    }

    /// Writes to the actor's own keys until the round ends.
    pub(crate) fn write(mut self, own: usize) {
        let storm = self.storm.clone();
        while !storm.round_is_over() {
            match self.random.below(10) {
                0..5 => self.write_key(&storm.keys[own]),
                5..8 => self.write_key(&storm.counters[own]),
                8 => self.write_pair(own),
                _ => self.increment(),
            }
        }
    }

    fn write_key(&mut self, key: &Key) {
        let client = self.client();
        let oracle = &self.storm.oracle;
        let write = key.begin_write(oracle);
        let value = key.value(write);
        let result = self.activity.run(format!("write {}", key.path), || match &value {
            Some(value) => client.write(&key.path, value),
            None => absent_is_removed(client.rm(&key.path)),
        });
        key.end_write(oracle, write, Outcome::of(&result));
        if let Err(error) = result {
            oracle.expect_error("write", &error);
        }
    }

    /// Writes two nodes in a transaction, always with the same number.
    fn write_pair(&mut self, own: usize) {
        let client = self.client();
        let oracle = &self.storm.oracle;
        let key = &self.storm.pairs[own];
        let write = key.begin_write(oracle);
        let value = key.value(write).expect("pairs are always present");
        let other = format!("{}-2", key.path);
        let once = Retries { attempts: 1, ..Retries::default() };
        let aborts = self.random.one_in(5);
        let result = self.activity.run(format!("write {} in a transaction", key.path), || {
            if aborts {
                let tx = client.start_transaction()?;
                tx.write(&key.path, "aborted")?;
                // Dropping a transaction aborts it, too.
                return if value.len() % 2 == 0 { tx.abort().map(|()| false) } else { Ok(false) };
            }
            client.transaction_with(once, |tx| {
                tx.write(&key.path, &value)?;
                tx.write(&other, &value)?;
                Ok(true)
            })
        });
        let outcome = match &result {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Refused,
            Err(_) if aborts => Outcome::Refused,
            Err(_) => Outcome::of(&result),
        };
        key.end_write(oracle, write, outcome);
        if let Err(error) = result {
            oracle.expect_error("write_pair", &error);
        }
    }

    /// Increments a number that all actors increment.
    fn increment(&mut self) {
        let client = self.client();
        let (oracle, tally) = (&self.storm.oracle, &self.storm.tally);
        let begun = oracle.lifetime();
        let result = self.activity.run("increment", || {
            client.transaction(|tx| {
                tally.begin(oracle);
                let number = match tx.read_parsed::<u64>(&tally.path) {
                    Err(error) if error.is_not_found() => 0,
                    number => number?,
                };
                tx.write_display(&tally.path, number + 1)
            })
        });
        match result {
            Ok(()) => tally.done(oracle, begun),
            Err(error) => oracle.expect_error("increment", &error),
        }
    }

    /// Reads all keys until the round ends.
    pub(crate) fn read(mut self) {
        let storm = self.storm.clone();
        while !storm.round_is_over() {
            let client = self.client();
            match self.random.below(12) {
                0..5 => {
                    let key = storm.any_key(&mut self.random);
                    self.activity.run(format!("read {}", key.path), || storm.read(&client, key));
                }
                5 => self.read_pair(&client),
                6 => self.read_tally(&client),
                7 => self.read_batch(&client),
                8 => self.start_reads(&client),
                9 => self.watch_briefly(&client),
                10 if storm.mix.callbacks => self.call_back_briefly(&client),
                _ => {
                    let listed = self.activity.run("directory", || client.directory(&storm.root));
                    match listed {
                        Ok(names) => {
                            if names.iter().any(|name| name.is_empty() || name.contains('/')) {
                                storm.oracle.violated(format!("the directory is {names:?}"));
                            }
                        }
                        Err(error) if error.is_not_found() => {}
                        Err(error) => storm.oracle.expect_error("directory", &error),
                    }
                }
            }
        }
    }

    fn read_pair(&mut self, client: &Client) {
        let storm = &self.storm;
        let key = self.random.pick(&storm.pairs);
        let other = format!("{}-2", key.path);
        let read = key.begin_read(&storm.oracle);
        let result = self.activity.run(format!("read {} in a transaction", key.path), || {
            let tx = client.start_transaction()?;
            let values = [&key.path, &other].map(|path| present(tx.read(path)));
            tx.commit()?;
            let [first, second] = values;
            Ok((first?, second?))
        });
        match result {
            Ok((first, second)) => {
                if first != second {
                    storm.oracle.violated(format!("{}: {first:?} and {second:?}", key.path));
                }
                key.end_read(&storm.oracle, read, first.as_deref());
            }
            Err(error) => storm.oracle.expect_error("read_pair", &error),
        }
    }

    fn read_tally(&mut self, client: &Client) {
        let (oracle, tally) = (&self.storm.oracle, &self.storm.tally);
        let read = tally.begin_read(oracle);
        match self.activity.run("read the tally", || client.read_parsed::<u64>(&tally.path)) {
            Ok(number) => tally.end_read(oracle, read, number),
            Err(error) if error.is_not_found() => tally.end_read(oracle, read, 0),
            Err(error) => oracle.expect_error("read the tally", &error),
        }
    }

    fn read_batch(&mut self, client: &Client) {
        let storm = &self.storm;
        let keys: Vec<_> = (0..20).map(|_| storm.any_key(&mut self.random)).collect();
        let reads: Vec<Read> = keys.iter().map(|key| key.begin_read(&storm.oracle)).collect();
        let values =
            self.activity.run("read_many", || client.read_many(keys.iter().map(|key| &key.path)));
        if values.len() != keys.len() {
            storm.oracle.violated(format!("{} values of {} keys", values.len(), keys.len()));
        }
        for ((key, read), value) in keys.iter().zip(reads).zip(values) {
            storm.check(key, read, value);
        }
    }

    /// Starts reads, and waits for some, polls some and drops some.
    fn start_reads(&mut self, client: &Client) {
        let storm = &self.storm;
        let mut started = Vec::new();
        for _ in 0..self.random.below(scaled(150) as u64) {
            let key = storm.any_key(&mut self.random);
            let read = key.begin_read(&storm.oracle);
            match client.start(&op::read(&key.path)) {
                Ok(pending) => started.push((key, read, pending)),
                Err(error) => storm.oracle.expect_error("start", &error),
            }
        }
        for (key, read, mut pending) in started {
            match self.random.below(3) {
                0 => drop(pending),
                1 => {
                    if let Some(result) = pending.try_take() {
                        storm.check(key, read, result);
                    }
                }
                _ => {
                    let what = format!("wait for a started read of {}", key.path);
                    storm.check(key, read, self.activity.run(what, || pending.wait()));
                }
            }
        }
    }

    /// Sets a watch, takes some events, and removes the watch.
    fn watch_briefly(&mut self, client: &Client) {
        let storm = &self.storm;
        let path = &self.random.pick(&storm.counters).path;
        let watch = self.activity.run(format!("watch {path}"), || client.watch(path));
        let mut watch = match watch {
            Ok(watch) => watch,
            Err(error) => return storm.oracle.expect_error("watch", &error),
        };
        for _ in 0..self.random.below(4) {
            let timeout = Duration::from_micros(self.random.below(3000));
            match self.activity.run(format!("next event of {path}"), || watch.next_timeout(timeout))
            {
                Ok(Some(event)) if *event.path == **path => {}
                Ok(Some(event)) => storm.oracle.violated(format!("an event of {event} for {path}")),
                Ok(None) => {}
                Err(error) => storm.oracle.expect_error("next_timeout", &error),
            }
        }
        if self.random.one_in(2) {
            if let Err(error) = self.activity.run(format!("unwatch {path}"), || watch.remove()) {
                storm.oracle.expect_error("remove", &error);
            }
        }
    }

    /// Sets a watch whose callback behaves badly.
    fn call_back_briefly(&mut self, client: &Client) {
        let storm = &self.storm;
        let key = self.random.pick(&storm.counters);
        if self.random.one_in(4) {
            // The callbacks run again when the next one is set.
            self.activity.run("watch_stop", || client.watch_stop());
        }
        let mut random = storm.random();
        let (reader, activity) =
            (storm.clone(), storm.activities.join("callback of a short watch"));
        let path = key.path.clone();
        let calling = client.with_timeout(random.timeout());
        let callback = move |event: Result<_>| {
            let client = &calling;
            if event.is_err() {
                return;
            }
            match random.below(6) {
                0 => std::panic::resume_unwind(Box::new("a panic on purpose")),
                1 => thread::park_timeout(Duration::from_micros(100)),
                2 => {
                    let key = reader.any_key(&mut random);
                    activity.run(format!("read {}", key.path), || reader.read(client, key));
                }
                3 => {
                    // Sets and removes another watch.
                    let watch = activity.run(format!("watch {path}"), || client.watch(&path));
                    if let Err(error) = watch {
                        reader.oracle.expect_error("watch in a callback", &error);
                    }
                }
                4 => {
                    // Another thread uses the client while the callback waits for it.
                    let other = (reader.clone(), client.clone());
                    let thread = thread::spawn(move || {
                        let (reader, client) = other;
                        reader.read(&client, &reader.counters[0]);
                    });
                    activity
                        .run("join a thread that reads", || thread.join())
                        .expect("it does not panic");
                }
                _ => {}
            }
        };
        let token = self.activity.run(format!("watch {} with a callback", key.path), || {
            client.watch_with(&key.path, callback)
        });
        let token = match token {
            Ok(token) => token,
            Err(error) => return storm.oracle.expect_error("watch_with", &error),
        };
        let until = Instant::now() + Duration::from_micros(self.random.below(5000));
        while Instant::now() < until {
            thread::yield_now();
        }
        let unwatched =
            self.activity.run(format!("unwatch {}", key.path), || client.unwatch(token));
        if let Err(error) = unwatched {
            storm.oracle.expect_error("unwatch", &error);
        }
    }

    /// Kills the daemon and cuts connections, unless the round is calm, and ends the round.
    pub(crate) fn disturb(mut self, until: Instant, over: &AtomicBool) {
        let storm = self.storm.clone();
        while Instant::now() < until && !storm.oracle.has_failed.load(Ordering::SeqCst) {
            let pause = Duration::from_millis(self.random.below(150));
            thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
            if storm.is_calm.load(Ordering::SeqCst) {
                continue;
            }
            match self.random.below(4) {
                0 if storm.daemon.can_restart() => self.activity.run("restart the daemon", || {
                    storm.oracle.next_lifetime();
                    storm.daemon.restart();
                    storm.oracle.next_lifetime();
                }),
                1 | 2 => self.activity.run("cut the connection", || storm.daemon.cut()),
                _ => {}
            }
        }
        over.store(true, Ordering::SeqCst);
    }
}

/// The removal of a node that does not exist leaves no node, either.
pub(crate) fn absent_is_removed(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

fn present(result: Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
