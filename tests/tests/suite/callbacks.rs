//! Watches with callbacks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use xs_client::Client;
use xs_tests::{HANG_TIMEOUT, on_every_backend};

use crate::{called_for, channel, next};

/// Waits until a callback is dropped with its end of the channel.
fn wait_until_dropped<T>(events: &mpsc::Receiver<T>) {
    loop {
        match events.recv_timeout(HANG_TIMEOUT) {
            Ok(_) => {}
            Err(end) => return assert_eq!(end, mpsc::RecvTimeoutError::Disconnected),
        }
    }
}

on_every_backend! {
    fn callback_may_use_the_client(ctx) {
        let (sender, values) = mpsc::channel();
        let path = ctx.path("a");
        ctx.client.write(&path, "1").unwrap();
        let client = ctx.client.clone();
        let token = ctx
            .client
            .watch_with(&path, move |event| {
                let path = event.unwrap().path;
                sender.send(client.read_str(&path).unwrap()).unwrap();
            })
            .unwrap();
        assert_eq!(values.recv_timeout(HANG_TIMEOUT).unwrap(), "1");
        ctx.client.write(&path, "2").unwrap();
        while values.recv_timeout(HANG_TIMEOUT).unwrap() != "2" {}
        // Removing the watch drops the callback, although it owns a handle of the client.
        ctx.client.unwatch(token).unwrap();
        wait_until_dropped(&values);
    }

    fn callback_may_remove_its_own_watch(ctx) {
        let (sender, called) = mpsc::channel();
        let path = ctx.path("a");
        let (tell, own) = mpsc::channel();
        let client = ctx.client.clone();
        let set = ctx
            .client
            .watch_with(&path, move |event| {
                event.unwrap();
                client.unwatch(own.recv().unwrap()).unwrap();
                sender.send(()).unwrap();
            })
            .unwrap();
        tell.send(set).unwrap();
        called.recv_timeout(HANG_TIMEOUT).unwrap();
        ctx.client.write(&path, "1").unwrap();
        wait_until_dropped(&called);
    }

    fn callback_may_stop_its_thread_and_remove_its_own_watch(ctx) {
        let (sender, called) = mpsc::channel();
        let (tell, own) = mpsc::channel();
        let client = ctx.client.clone();
        let set = ctx
            .client
            .watch_with(ctx.path("a"), move |event| {
                event.unwrap();
                client.watch_stop();
                client.unwatch(own.recv().unwrap()).unwrap();
                sender.send(()).unwrap();
            })
            .unwrap();
        tell.send(set).unwrap();
        called.recv_timeout(HANG_TIMEOUT).unwrap();
        wait_until_dropped(&called);
    }

    fn callback_may_set_watches(ctx) {
        let (sender, called) = channel();
        let (client, second) = (ctx.client.clone(), ctx.path("b"));
        let mut is_first = true;
        ctx.client
            .watch_with(ctx.path("a"), move |event| {
                event.unwrap();
                if std::mem::take(&mut is_first) {
                    let sender = sender.clone();
                    client.watch_with(&second, move |event| sender.send(event).unwrap()).unwrap();
                }
            })
            .unwrap();
        called_for(&called, &ctx.path("b"));
        ctx.client.unwatch_all().unwrap();
    }

    fn callback_may_own_a_watch_and_a_transaction(ctx) {
        let inner = ctx.client.watch(ctx.path("inner")).unwrap();
        let tx = ctx.client.start_transaction().unwrap();
        tx.write(ctx.path("inner"), "1").unwrap();
        let (sender, called) = channel();
        let token = ctx
            .client
            .watch_with(ctx.path("a"), move |event| {
                let _held = (&inner, &tx);
                sender.send(event).unwrap();
            })
            .unwrap();
        called_for(&called, &ctx.path("a"));
        // Dropping the callback drops both.
        ctx.client.unwatch(token).unwrap();
        assert!(!ctx.client.exists(ctx.path("inner")).unwrap());
    }

    fn panicking_callback_is_not_called_again(ctx) {
        let (sender, called) = channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let path = ctx.path("a");
        ctx.client
            .watch_with(&path, move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                // Unlike `panic!`, this prints nothing.
                std::panic::resume_unwind(Box::new("on purpose"));
            })
            .unwrap();
        let other = ctx.path("b");
        ctx.client.watch_with(&other, move |event| sender.send(event).unwrap()).unwrap();
        called_for(&called, &other);
        ctx.client.write(&path, "1").unwrap();
        ctx.client.write(&other, "1").unwrap();
        called_for(&called, &other);
        assert_eq!(calls.load(Ordering::Relaxed), 1, "the callback is called again");
        ctx.client.unwatch_all().unwrap();
    }

    fn unwatch_waits_for_the_running_callback(ctx) {
        for _ in 0..20 {
            let running = Arc::new(AtomicBool::new(false));
            let go = running.clone();
            let (enter, entered) = mpsc::channel();
            let token = ctx
                .client
                .watch_with(ctx.path("a"), move |_| {
                    go.store(true, Ordering::SeqCst);
                    // The test receives the first message only.
                    let _ = enter.send(());
                    (0..10).for_each(|_| thread::yield_now());
                    go.store(false, Ordering::SeqCst);
                })
                .unwrap();
            entered.recv().unwrap();
            ctx.client.unwatch(token).unwrap();
            assert!(!running.load(Ordering::SeqCst), "the callback still runs");
        }
    }

    fn callbacks_run_one_at_a_time_on_their_own_thread(ctx) {
        let (sender, threads) = mpsc::channel();
        let inside = Arc::new(AtomicUsize::new(0));
        for n in 0..5 {
            let (sender, inside) = (sender.clone(), inside.clone());
            ctx.client
                .watch_with(ctx.path(&format!("n{n}")), move |_| {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    sender.send(thread::current().id()).unwrap();
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
                .unwrap();
        }
        let ids: Vec<_> = (0..5).map(|_| threads.recv_timeout(HANG_TIMEOUT).unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != thread::current().id()));
        ctx.client.unwatch_all().unwrap();
    }

    fn callbacks_run_while_the_client_is_not_used(ctx) {
        let (sender, called) = channel();
        ctx.client.watch_with(ctx.root(), move |event| sender.send(event).unwrap()).unwrap();
        called_for(&called, ctx.root());
        let other = ctx.another();
        for n in 0..ctx.load(50) {
            let path = ctx.path(&n.to_string());
            other.write(&path, "").unwrap();
            called_for(&called, &path);
        }
    }

    fn last_call_reports_that_the_connection_is_lost(ctx) {
        // The callback owns the last handle.
        let client = ctx.another();
        let (sender, called) = channel();
        let held = client.clone();
        client
            .watch_with(ctx.path("a"), move |event| {
                let _ = &held;
                sender.send(event).unwrap();
            })
            .unwrap();
        called_for(&called, &ctx.path("a"));
        client.close();
        let error = loop {
            if let Err(error) = called.recv_timeout(HANG_TIMEOUT).unwrap() {
                break error;
            }
        };
        assert!(error.is_lost(), "{error}");
        drop(client);
        wait_until_dropped(&called);
    }

    fn iterators_and_callbacks_receive_the_same_events(ctx) {
        let path = ctx.path("a");
        let (sender, called) = channel();
        ctx.client.watch_with(&path, move |event| sender.send(event).unwrap()).unwrap();
        let mut watch = ctx.client.watch(&path).unwrap();
        called_for(&called, &path);
        assert_eq!(next(&mut watch), path);
        for _ in 0..20 {
            ctx.client.write(&path, "1").unwrap();
            called_for(&called, &path);
            assert_eq!(next(&mut watch), path);
        }
    }
}

/// Callbacks receive clients on another thread.
#[test]
fn clients_can_be_sent_and_shared() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<Client>();
}
