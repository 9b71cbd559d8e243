//! Sets of watches, which change while a thread or a task waits.

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::mpsc;
use shuttle::thread;
use xs_client::ErrorKind;

use crate::{Host, SMALL, UNLIMITED, explore, join};

#[test]
fn waiting_thread_gets_events_of_watches_that_others_add() {
    for capacity in [UNLIMITED, SMALL] {
        explore(move || {
            let host = Host::new(capacity, UNLIMITED);
            let mut set = host.client.watch_set();
            let adding = ["/a", "/b"].map(|path| {
                let handle = set.handle();
                thread::spawn(move || assert!(handle.add(path).is_ok()))
            });
            let mut watched = [(); 2].map(|()| set.wait().unwrap().watched.to_string());
            watched.sort();
            assert_eq!(watched, ["/a", "/b"]);
            join(adding);
            drop(set);
            host.end();
        });
    }
}

#[test]
fn waiting_thread_gets_no_event_of_removed_watch() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let mut set = host.client.watch_set();
        let handle = set.handle();
        let removed = Arc::new(Mutex::new(None));
        let is_removed = removed.clone();
        let changing = thread::spawn(move || {
            let token = handle.add("/removed").unwrap();
            handle.remove(token).unwrap();
            *is_removed.lock().unwrap() = Some(token);
            handle.add("/last").unwrap();
        });
        loop {
            let before = *removed.lock().unwrap();
            let event = set.wait().unwrap();
            assert_ne!(Some(event.token), before, "the watch was removed");
            if &*event.watched == "/last" {
                break;
            }
        }
        join([changing]);
        drop(set);
        host.end();
    });
}

#[test]
fn closing_wakes_waiting_thread() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let mut set = host.client.watch_set();
        let handle = set.handle();
        set.add("/a").unwrap();
        let waiting = thread::spawn(move || {
            loop {
                if let Err(error) = set.wait() {
                    assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
                    break;
                }
            }
        });
        let reader = host.reader(0, 1);
        handle.close().unwrap();
        drop(handle);
        join([waiting, reader]);
        host.end();
    });
}

#[test]
fn callback_of_a_set_does_not_run_after_close() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (sender, called) = mpsc::channel();
        let set = host.client.watch_set_with(move |event| drop(sender.send(event))).unwrap();
        let other = set.clone();
        let adding = thread::spawn(move || drop(other.add("/b")));
        set.add("/a").unwrap();
        assert!(called.recv().unwrap().is_ok());
        set.close().unwrap();
        while let Ok(event) = called.recv() {
            // The event had come before the set was closed.
            assert!(event.is_ok());
        }
        join([adding]);
        drop(set);
        host.client.watch_stop();
        host.end();
    });
}

#[cfg(feature = "futures")]
#[test]
fn waiting_task_gets_events_of_watches_that_others_add() {
    use shuttle::future::block_on;

    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (client, driving) = crate::pollers::drive(&host);
        let mut set = client.watch_set();
        let (task, blocking) = (set.handle(), host.client.clone());
        let adding = thread::spawn(move || {
            block_on(async {
                let token = task.add("/removed").await.unwrap();
                task.remove(token).await.unwrap();
                task.add("/a").await.unwrap();
            });
        });
        let reader = thread::spawn(move || drop(blocking.read("/0").unwrap()));
        block_on(async { while &*set.wait().await.unwrap().watched != "/a" {} });
        join([adding, reader]);
        drop((set, client));
        host.end();
        join([driving]);
    });
}
