//! Callbacks, and the thread that runs them.

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::mpsc::{self, Receiver};
use shuttle::thread;
use xs_client::{Client, Result, WatchEvent, WatchToken};

use crate::{Host, SMALL, UNLIMITED, explore, join};

/// Sets a watch whose callback passes each event to the test.
fn watch(client: &Client, path: &str) -> (WatchToken, Receiver<Result<WatchEvent>>) {
    let (sender, called) = mpsc::channel();
    let token = client.watch_with(path, move |event| drop(sender.send(event))).unwrap();
    (token, called)
}

#[test]
fn callback_runs_until_its_watch_is_removed() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (token, called) = watch(&host.client, "/w");
        let readers = [0, 1].map(|at| host.reader(at, 1));
        assert_eq!(&*called.recv().unwrap().unwrap().path, "/w");
        host.touch("/w");
        assert_eq!(&*called.recv().unwrap().unwrap().path, "/w");
        host.client.unwatch(token).unwrap();
        assert!(called.recv().is_err(), "the callback was called again");
        join(readers);
        host.client.watch_stop();
        host.end();
    });
}

#[test]
fn unwatch_waits_for_running_callback() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
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
fn stopping_callbacks_hands_over_reader_role() {
    explore(|| {
        let host = Host::new(SMALL, UNLIMITED);
        host.client.watch_with("/w", drop).unwrap();
        let readers = [0, 1].map(|at| host.reader(at, 1));
        host.client.watch_stop();
        join(readers);
        host.end();
    });
}

#[test]
fn stop_waits_for_running_callback() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let running = Arc::new(Mutex::new(false));
        let (client, is_running) = (host.client.clone(), running.clone());
        let callback = move |_| {
            *is_running.lock().unwrap() = true;
            client.watch_stop();
            thread::yield_now();
            *is_running.lock().unwrap() = false;
        };
        let token = host.client.watch_with("/w", callback).unwrap();
        let client = host.client.clone();
        let stopping = thread::spawn(move || client.watch_stop());
        host.client.watch_stop();
        assert!(!*running.lock().unwrap(), "the callback still runs");
        stopping.join().unwrap();
        // The callback holds the client, which would keep the connection open.
        host.client.unwatch(token).unwrap();
        host.end();
    });
}

#[test]
fn stopped_callback_thread_takes_no_event_from_its_successor() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (_, called) = watch(&host.client, "/w");
        called.recv().unwrap().unwrap();
        let mut quiet = host.client.watch("/q").unwrap();
        quiet.wait().unwrap();
        let waiting = thread::spawn(move || drop(quiet.wait()));
        let client = host.client.clone();
        let stopping = thread::spawn(move || client.watch_stop());
        host.client.watch_with("/x", drop).unwrap();
        stopping.join().unwrap();
        // This starts the callbacks again, whether or not the stop came last.
        host.client.watch_with("/y", drop).unwrap();
        host.touch("/w");
        called.recv().unwrap().unwrap();
        host.client.close();
        waiting.join().unwrap();
        host.end();
    });
}

#[test]
fn callback_thread_that_stopped_itself_takes_no_event_from_its_successor() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (sender, called) = mpsc::channel();
        let client = host.client.clone();
        let mut is_first = true;
        let callback = move |event| {
            if std::mem::take(&mut is_first) {
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
fn callbacks_learn_of_loss_one_at_a_time() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let running = Arc::new(Mutex::new(false));
        // The client catches panics of callbacks: a callback cannot fail the test itself.
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
            host.client.watch_with(format!("/{at}"), callback).unwrap();
        }
        host.client.close();
        let client = host.client.clone();
        let stopping = thread::spawn(move || client.watch_stop());
        let _ = host.client.watch_with("/x", drop);
        stopping.join().unwrap();
        host.client.watch_stop();
        assert!(!*running.lock().unwrap(), "a callback still runs");
        assert!(!*overlap.lock().unwrap(), "two callbacks ran at once");
        host.end();
    });
}

#[test]
fn stopped_callbacks_do_not_run_beside_tasks() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let tasks = xs_client::futures::Client::on_thread(host.client.clone()).unwrap();
        let stopped = Arc::new(Mutex::new(false));
        let late = Arc::new(Mutex::new(false));
        let (is_stopped, is_late) = (stopped.clone(), late.clone());
        let callback = move |event: Result<WatchEvent>| {
            if event.is_ok() && *is_stopped.lock().unwrap() {
                *is_late.lock().unwrap() = true;
            }
        };
        host.client.watch_with("/w", callback).unwrap();
        host.client.watch_stop();
        *stopped.lock().unwrap() = true;
        host.client.read("/1").unwrap();
        drop(tasks);
        host.end();
        assert!(!*late.lock().unwrap(), "a stopped callback was called");
    });
}
