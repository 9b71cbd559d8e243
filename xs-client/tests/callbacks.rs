//! Callbacks that use the client in ways that are easy to get wrong.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId};
use xs_transport::mock::Xenstored;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

fn client() -> Client {
    Client::over(Xenstored::new().connect(DomId::DOM0))
}

#[test]
fn a_callback_may_own_a_watch_of_the_same_client() {
    let client = client();
    let mut inner = client.watch("/inner").unwrap();
    let token = client.watch_with("/outer", move |_| drop(inner.try_next())).unwrap();
    client.unwatch(token).unwrap();
    client.read("/").unwrap();
}

#[test]
fn a_watch_that_cannot_be_set_calls_nobody() {
    for _ in 0..200 {
        let client = client();
        // The thread runs, and is to tell callbacks of the loss.
        client.watch_with("/set", |_| ()).unwrap();
        let (sender, called) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| client.close());
            let set = client.watch_with("/a", move |event| sender.send(event).unwrap());
            let mut calls = Vec::new();
            if set.is_ok() {
                // Nothing is held back from who was told that it is set.
                while calls.last().is_none_or(|last: &xs_client::Result<_>| last.is_ok()) {
                    calls.push(called.recv_timeout(PATIENCE).expect("the end is told"));
                }
            } else {
                assert!(called.recv_timeout(PATIENCE).is_err(), "it was called");
            }
        });
        client.watch_stop();
    }
}

#[test]
fn a_callback_may_stop_its_thread_and_remove_its_watch() {
    let client = client();
    let (sender, done) = mpsc::channel();
    let token = Arc::new(Mutex::new(None));
    let (own, user) = (token.clone(), client.clone());
    let mut place = token.lock().unwrap();
    *place = Some(
        client
            .watch_with("/a", move |_| {
                let token = own.lock().unwrap().take().expect("it is called once");
                user.watch_stop();
                // Another thread, which waits for this callback to return.
                let sender = sender.clone();
                user.watch_with("/b", move |event| sender.send(event.map(drop)).unwrap()).unwrap();
                user.watch_stop();
                user.unwatch(token).unwrap();
                user.watch_with("/c", |_| ()).unwrap();
            })
            .unwrap(),
    );
    drop(place);
    done.recv_timeout(PATIENCE).expect("the second callback runs").unwrap();
    client.unwatch_all().unwrap();
    client.watch_stop();
}
