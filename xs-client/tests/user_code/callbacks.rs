//! Callbacks of watches.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use xs_client::EventKind;

use crate::support::callback::CallbackEvents;
use crate::support::daemon::start;
use crate::support::waiting::HANG_GUARD;

#[test]
fn callback_may_own_watch_of_same_client() {
    let (_xenstored, client) = start();
    let mut inner = client.watch("/inner").unwrap();
    let token = client.watch_with("/outer", move |_| drop(inner.try_next())).unwrap();
    client.unwatch(token).unwrap();
    client.read("/").unwrap();
}

#[test]
fn failed_watch_never_calls_its_callback() {
    for _ in 0..200 {
        let (_xenstored, client) = start();
        // Starts the callback thread, which reports the loss to callbacks.
        client.watch_with("/set", |_| ()).unwrap();
        let (sender, called) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| client.close());
            let set = client.watch_with("/a", move |event| sender.send(event).unwrap());
            if set.is_ok() {
                // A watch that is set gets its events and then the loss.
                while called.recv_timeout(HANG_GUARD).expect("the loss is not reported").is_ok() {}
            } else {
                let called = called.recv_timeout(HANG_GUARD);
                let error = called.expect_err("the callback was called");
                assert_eq!(error, mpsc::RecvTimeoutError::Disconnected);
            }
        });
        client.watch_stop();
    }
}

#[test]
fn callback_may_stop_its_thread_and_remove_its_watch() {
    let (_xenstored, client) = start();
    let (sender, done) = mpsc::channel();
    let token = Arc::new(Mutex::new(None));
    let (own_token, user) = (token.clone(), client.clone());
    let mut slot = token.lock().unwrap();
    *slot = Some(
        client
            .watch_with("/a", move |_| {
                let token = own_token.lock().unwrap().take().expect("called twice");
                user.watch_stop();
                // Starts another callback thread, which waits until this callback returns.
                let sender = sender.clone();
                user.watch_with("/b", move |event| sender.send(event.map(drop)).unwrap()).unwrap();
                user.watch_stop();
                user.unwatch(token).unwrap();
                user.watch_with("/c", |_| ()).unwrap();
            })
            .unwrap(),
    );
    drop(slot);
    done.recv_timeout(HANG_GUARD).expect("the second callback does not run").unwrap();
    client.unwatch_all().unwrap();
    client.watch_stop();
}

#[test]
fn panic_while_callback_is_dropped_does_not_end_other_callbacks() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("a panic that the test expects");
        }
    }

    let (_xenstored, client) = start();
    let captured = PanicOnDrop;
    let bad = move |_| {
        let _ = &captured;
        panic!("another panic that the test expects");
    };
    client.watch_with("/bad", bad).unwrap();
    let calls = CallbackEvents::watch(&client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    client.write("/a", "1").unwrap();
    assert_eq!(calls.next_kind(), EventKind::Fired);
}

#[cfg(feature = "futures")]
#[test]
fn callback_may_wait_for_future_of_same_client() {
    use futures_lite::future::block_on;
    use xs_client::futures::Client;

    let (_xenstored, client) = start();
    let tasks = Client::on_thread(client.clone()).unwrap();
    let (sender, done) = mpsc::channel();
    let user = tasks.clone();
    let callback = move |_| {
        let value = block_on(async {
            user.write("/a", "1").await?;
            user.read("/a").await
        });
        sender.send(value).unwrap();
    };
    let token = client.watch_with("/w", callback).unwrap();
    let value = done.recv_timeout(HANG_GUARD).expect("the callback hangs");
    assert_eq!(value.unwrap(), b"1");
    client.unwatch(token).unwrap();
}
