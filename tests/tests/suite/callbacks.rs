//! Watches that call back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use xs_client::Client;
use xs_tests::{PATIENCE, on_every_site};

use crate::{called_for, channel, next};

/// Waits until a callback is dropped, and with it its end of the channel.
fn is_dropped<T>(events: &mpsc::Receiver<T>) {
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok(_) => {}
            Err(end) => return assert_eq!(end, mpsc::RecvTimeoutError::Disconnected),
        }
    }
}

on_every_site! {
    fn it_may_use_the_client(on) {
        let (sender, values) = mpsc::channel();
        let path = on.path("a");
        on.client.write(&path, "1").unwrap();
        let client = on.client.clone();
        let token = on
            .client
            .watch_with(&path, move |event| {
                let path = event.unwrap().path;
                sender.send(client.read_str(&path).unwrap()).unwrap();
            })
            .unwrap();
        assert_eq!(values.recv_timeout(PATIENCE).unwrap(), "1");
        on.client.write(&path, "2").unwrap();
        while values.recv_timeout(PATIENCE).unwrap() != "2" {}
        // A callback that holds the client is what keeps it.
        on.client.unwatch(token).unwrap();
        is_dropped(&values);
    }

    fn it_may_remove_itself(on) {
        let (sender, called) = mpsc::channel();
        let path = on.path("a");
        let (tell, own) = mpsc::channel();
        let client = on.client.clone();
        let set = on
            .client
            .watch_with(&path, move |event| {
                event.unwrap();
                client.unwatch(own.recv().unwrap()).unwrap();
                sender.send(()).unwrap();
            })
            .unwrap();
        tell.send(set).unwrap();
        called.recv_timeout(PATIENCE).unwrap();
        on.client.write(&path, "1").unwrap();
        is_dropped(&called);
    }

    fn it_may_stop_its_thread_and_remove_itself(on) {
        let (sender, called) = mpsc::channel();
        let (tell, own) = mpsc::channel();
        let client = on.client.clone();
        let set = on
            .client
            .watch_with(&on.path("a"), move |event| {
                event.unwrap();
                client.watch_stop();
                client.unwatch(own.recv().unwrap()).unwrap();
                sender.send(()).unwrap();
            })
            .unwrap();
        tell.send(set).unwrap();
        called.recv_timeout(PATIENCE).unwrap();
        is_dropped(&called);
    }

    fn it_may_set_watches(on) {
        let (sender, called) = channel();
        let (client, second) = (on.client.clone(), on.path("b"));
        let mut is_first = true;
        on.client
            .watch_with(&on.path("a"), move |event| {
                event.unwrap();
                if std::mem::take(&mut is_first) {
                    let sender = sender.clone();
                    client.watch_with(&second, move |event| sender.send(event).unwrap()).unwrap();
                }
            })
            .unwrap();
        called_for(&called, &on.path("b"));
        on.client.unwatch_all().unwrap();
    }

    fn it_may_hold_a_watch_and_a_transaction(on) {
        let inner = on.client.watch(&on.path("inner")).unwrap();
        let tx = on.client.start_transaction().unwrap();
        tx.write(&on.path("inner"), "1").unwrap();
        let (sender, called) = channel();
        let token = on
            .client
            .watch_with(&on.path("a"), move |event| {
                let _held = (&inner, &tx);
                sender.send(event).unwrap();
            })
            .unwrap();
        called_for(&called, &on.path("a"));
        // They end with it.
        on.client.unwatch(token).unwrap();
        assert!(!on.client.exists(&on.path("inner")).unwrap());
    }

    fn it_may_panic(on) {
        let (sender, called) = channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let path = on.path("a");
        on.client
            .watch_with(&path, move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                // Without the words on standard error that a plain panic leaves there.
                std::panic::resume_unwind(Box::new("on purpose"));
            })
            .unwrap();
        let other = on.path("b");
        on.client.watch_with(&other, move |event| sender.send(event).unwrap()).unwrap();
        called_for(&called, &other);
        on.client.write(&path, "1").unwrap();
        on.client.write(&other, "1").unwrap();
        called_for(&called, &other);
        assert_eq!(calls.load(Ordering::Relaxed), 1, "it is not called again");
        on.client.unwatch_all().unwrap();
    }

    fn it_does_not_run_when_unwatch_returns(on) {
        for _ in 0..20 {
            let running = Arc::new(AtomicBool::new(false));
            let go = running.clone();
            let (enter, entered) = mpsc::channel();
            let token = on
                .client
                .watch_with(&on.path("a"), move |_| {
                    go.store(true, Ordering::SeqCst);
                    // Nobody listens after the first time.
                    let _ = enter.send(());
                    (0..10).for_each(|_| thread::yield_now());
                    go.store(false, Ordering::SeqCst);
                })
                .unwrap();
            entered.recv().unwrap();
            on.client.unwatch(token).unwrap();
            assert!(!running.load(Ordering::SeqCst), "the callback runs on");
        }
    }

    fn a_thread_of_its_own_and_one_at_a_time(on) {
        let (sender, threads) = mpsc::channel();
        let inside = Arc::new(AtomicUsize::new(0));
        for n in 0..5 {
            let (sender, inside) = (sender.clone(), inside.clone());
            on.client
                .watch_with(&on.path(&format!("n{n}")), move |_| {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    sender.send(thread::current().id()).unwrap();
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
                .unwrap();
        }
        let ids: Vec<_> = (0..5).map(|_| threads.recv_timeout(PATIENCE).unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != thread::current().id()));
        on.client.unwatch_all().unwrap();
    }

    fn events_come_while_nobody_else_uses_the_client(on) {
        let (sender, called) = channel();
        on.client.watch_with(on.root(), move |event| sender.send(event).unwrap()).unwrap();
        called_for(&called, on.root());
        let other = on.another();
        for n in 0..50 {
            let path = on.path(&n.to_string());
            other.write(&path, "").unwrap();
            called_for(&called, &path);
        }
    }

    fn the_last_call_tells_of_the_end(on) {
        // The callback holds the last handle there is.
        let client = on.another();
        let (sender, called) = channel();
        let held = client.clone();
        client
            .watch_with(&on.path("a"), move |event| {
                let _ = &held;
                sender.send(event).unwrap();
            })
            .unwrap();
        called_for(&called, &on.path("a"));
        client.close();
        let mut watch_ended = called.recv_timeout(PATIENCE).unwrap();
        while watch_ended.is_ok() {
            watch_ended = called.recv_timeout(PATIENCE).unwrap();
        }
        assert!(watch_ended.unwrap_err().is_lost());
        drop(client);
        is_dropped(&called);
    }

    fn iterators_and_callbacks_together(on) {
        let path = on.path("a");
        let (sender, called) = channel();
        on.client.watch_with(&path, move |event| sender.send(event).unwrap()).unwrap();
        let mut watch = on.client.watch(&path).unwrap();
        called_for(&called, &path);
        assert_eq!(next(&mut watch), path);
        for _ in 0..20 {
            on.client.write(&path, "1").unwrap();
            called_for(&called, &path);
            assert_eq!(next(&mut watch), path);
        }
    }
}

/// What is given to callbacks crosses threads.
#[test]
fn clients_are_sent_and_shared() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<Client>();
}
