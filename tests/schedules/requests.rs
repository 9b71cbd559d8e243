//! Threads and tasks that make requests and wait for events side by side.

use shuttle::thread;
use xs_client::{EventKind, op};

use crate::{Host, SMALL, UNLIMITED, explore, join};

#[test]
fn threads_get_their_own_answers() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        join([0, 1, 2].map(|at| host.reader(at, 2)));
        host.end();
    });
}

#[test]
fn threads_get_their_own_answers_over_small_wire() {
    explore(|| {
        let host = Host::new(SMALL, UNLIMITED);
        join([0, 1, 2].map(|at| host.reader(at, 1)));
        host.end();
    });
}

#[test]
fn threads_get_answers_beside_watcher() {
    explore(|| {
        let host = Host::new(SMALL, UNLIMITED);
        let mut watch = host.client.watch("/w").unwrap();
        let watcher = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
            }
            watch
        });
        // The thread in the reader role gives it up when it has its event or its answer.
        join([0, 1].map(|at| host.reader(at, 1)));
        host.touch("/w");
        drop(watcher.join().unwrap());
        host.end();
    });
}

#[test]
fn threads_get_answers_beside_dropped_request() {
    explore(|| {
        let host = Host::new(SMALL, UNLIMITED);
        let mut watch = host.client.watch("/w").unwrap();
        watch.wait().unwrap();
        let watcher = thread::spawn(move || watch.wait().map(|_| watch).unwrap());
        let client = host.client.clone();
        let starter =
            thread::spawn(move || drop(client.start(&op::read("/a/rather/long/path/to/send"))));
        join([starter, host.reader(1, 1)]);
        host.touch("/w");
        drop(watcher.join().unwrap());
        host.end();
    });
}

#[test]
fn threads_get_answers_beside_thread_that_polls() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let mut watch = host.client.watch("/w").unwrap();
        let polling = thread::spawn(move || {
            for _ in 0..3 {
                drop(watch.try_next().unwrap());
            }
            watch
        });
        join([0, 1].map(|at| host.reader(at, 1)));
        drop(polling.join().unwrap());
        host.end();
    });
}

#[test]
fn tasks_get_answers_and_events_beside_thread() {
    use xs_client::futures;

    explore(|| {
        let host = Host::new(SMALL, UNLIMITED);
        let client = futures::Client::on_thread(host.client.clone()).unwrap();
        let tasks = [0, 1].map(|at| {
            let client = client.clone();
            thread::spawn(move || {
                shuttle::future::block_on(async {
                    let path = format!("/{at}");
                    let mut watch = client.watch(&path).await.unwrap();
                    assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
                    assert_eq!(client.read(&path).await.unwrap(), at.to_string().as_bytes());
                    // The last request is cancelled while it is in flight.
                    let _ = futures_lite::future::poll_once(client.read("/2")).await;
                });
            })
        });
        join([host.reader(3, 1)]);
        join(tasks);
        drop(client);
        host.client.watch_stop();
        host.end();
    });
}
