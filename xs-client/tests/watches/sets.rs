//! Sets of watches: which watch fires, and adding and removing watches while a thread waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode, ErrorKind, EventKind, Result, WatchEvent, WatchSet};
use xs_proto::MessageType;
use xs_transport::mock::Fault;

use crate::support::daemon::{finish_cleanup, start};
use crate::support::threads::{Gate, Observed};
use crate::support::waiting::{HANG_GUARD, in_time};

/// Waits for the next event.
fn next(set: &mut WatchSet) -> WatchEvent {
    set.next_timeout(HANG_GUARD).unwrap().expect("no event arrives")
}

/// Waits for the next events, and returns their watched paths.
fn watched(set: &mut WatchSet, events: usize) -> Vec<String> {
    (0..events).map(|_| next(set).watched.to_string()).collect()
}

#[test]
fn events_name_their_watch() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    let paths = ["/a", "/a", "/b"];
    let tokens = paths.map(|path| set.add(path).unwrap());
    for (path, token) in paths.iter().zip(tokens) {
        let event = next(&mut set);
        assert_eq!((event.token, &*event.watched, &*event.path), (token, *path, *path));
    }
    xenstored.set("/b/c", "").unwrap();
    let event = next(&mut set);
    assert_eq!((event.token, &*event.watched, &*event.path), (tokens[2], "/b", "/b/c"));
    xenstored.set("/a/c", "").unwrap();
    let mut fired = [next(&mut set), next(&mut set)].map(|event| event.token);
    fired.sort();
    assert_eq!(fired, tokens[..2]);
    assert_eq!(set.try_next().unwrap(), None);
    assert_eq!(set.next_timeout(Duration::from_millis(1)).unwrap(), None);
}

#[test]
fn busy_watch_does_not_delay_others() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    for path in ["/busy", "/quiet"] {
        set.add(path).unwrap();
    }
    assert_eq!(watched(&mut set, 2), ["/busy", "/quiet"]);
    (0..100).for_each(|at| xenstored.set(&format!("/busy/{at}"), "").unwrap());
    xenstored.set("/quiet", "").unwrap();
    // All events have come before the first is taken.
    client.exists("/").unwrap();
    assert_eq!(watched(&mut set, 2), ["/busy", "/quiet"]);
    assert_eq!(watched(&mut set, 99), ["/busy"; 99]);
    assert_eq!(set.try_next().unwrap(), None);
}

#[test]
fn overflow_of_one_watch_leaves_others_complete() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    client.watch_builder("/small").capacity(2).add_to(&set).unwrap();
    set.add("/large").unwrap();
    watched(&mut set, 2);
    for at in 0..50 {
        xenstored.set(&format!("/small/{at}"), "").unwrap();
        xenstored.set(&format!("/large/{at}"), "").unwrap();
    }
    client.exists("/").unwrap();
    let events: Vec<_> = (0..53).map(|_| next(&mut set)).collect();
    let kinds = |watched| {
        let of_watch = events.iter().filter(move |event| &*event.watched == watched);
        of_watch.map(|event| event.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds("/small"), [EventKind::Fired, EventKind::Fired, EventKind::Overflow]);
    assert_eq!(kinds("/large"), [EventKind::Fired; 50]);
}

#[test]
fn removed_watch_delivers_nothing_and_others_go_on() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    let [a, b] = ["/a", "/b"].map(|path| set.add(path).unwrap());
    assert_eq!(set.len(), 2);
    set.remove(a).unwrap();
    assert!(!set.contains(a) && set.contains(b));
    for path in ["/a", "/b"] {
        xenstored.set(path, "").unwrap();
    }
    assert_eq!(watched(&mut set, 2), ["/b", "/b"]);
    assert_eq!(set.try_next().unwrap(), None);
    // Only members are removed.
    let other = client.watch("/other").unwrap();
    set.remove(other.token()).unwrap();
    assert_eq!(xenstored.watches(DomId::DOM0).len(), 2);
    client.unwatch(b).unwrap();
    assert!(set.is_empty());
    assert_eq!(xenstored.watches(DomId::DOM0).len(), 1);
}

#[test]
fn watch_is_added_while_thread_waits() {
    let (_xenstored, client) = start();
    let mut set = client.watch_set();
    let handle = set.handle();
    let waiting = Observed::spawn(move || {
        let events = [next(&mut set), next(&mut set)];
        (set, events)
    });
    waiting.state.wait_until_asleep();
    let tokens = ["/a", "/b"].map(|path| handle.add(path).unwrap());
    let (set, events) = waiting.join();
    assert_eq!(events.map(|event| event.token), tokens);
    handle.remove(tokens[0]).unwrap();
    assert_eq!(set.len(), 1);
}

#[test]
fn closing_ends_waits_and_iterators() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    set.add("/a").unwrap();
    next(&mut set);
    let handle = set.handle();
    let waiting = Observed::spawn(move || {
        let item = set.next();
        (set, item)
    });
    waiting.state.wait_until_asleep();
    handle.close().unwrap();
    assert_eq!(xenstored.watches(DomId::DOM0), []);
    let (mut set, item) = waiting.join();
    assert!(item.is_none() && set.next().is_none());
    for error in [set.wait().unwrap_err(), set.try_next().unwrap_err(), set.add("/b").unwrap_err()]
    {
        assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
    }
    finish_cleanup(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn closing_an_empty_set_ends_its_wait() {
    let (_xenstored, client) = start();
    let mut set = client.watch_set();
    let handle = set.handle();
    let waiting = Observed::spawn(move || set.next().is_none());
    waiting.state.wait_until_asleep();
    handle.close().unwrap();
    assert!(waiting.join());
}

#[test]
fn dropped_set_removes_its_watches_only() {
    let (xenstored, client) = start();
    let set = client.watch_set();
    let mut single = client.watch("/single").unwrap();
    for path in ["/a", "/b"] {
        set.add(path).unwrap();
    }
    let handle = set.handle();
    drop(set);
    finish_cleanup(&client);
    assert_eq!(xenstored.watches(DomId::DOM0).len(), 1);
    assert!(handle.is_empty());
    assert_eq!(&*single.wait().unwrap().path, "/single");
}

#[test]
fn set_can_be_used_after_reset() {
    let (_xenstored, client) = start();
    let mut set = client.watch_set();
    let old = set.add("/a").unwrap();
    client.reset_watches().unwrap();
    assert!(set.is_empty() && !set.contains(old));
    assert_eq!(set.try_next().unwrap(), None);
    let new = set.add("/a").unwrap();
    assert_eq!(next(&mut set).token, new);
    client.unwatch_all().unwrap();
    assert!(set.is_empty());
}

#[test]
fn refused_watch_is_not_in_the_set() {
    let (xenstored, client) = start();
    let set = client.watch_set();
    xenstored.inject(Fault::error(ErrorCode::Quota).on(MessageType::Watch));
    assert_eq!(set.add("/a").unwrap_err().code(), Some(&ErrorCode::Quota));
    assert!(set.is_empty());
}

#[test]
fn builder_limits_depth_of_each_kind_of_watch() {
    let (xenstored, client) = start();
    let (sender, called) = mpsc::channel();
    let mut set = client.watch_set();
    let mut single = client.watch_builder("/w").depth(1).watch().unwrap();
    client.watch_builder("/w").depth(1).add_to(&set).unwrap();
    let callback = move |event: Result<WatchEvent>| sender.send(event.unwrap()).unwrap();
    client.watch_builder("/w").depth(1).watch_with(callback).unwrap();
    let mut unlimited = client.watch_builder("/w").depth(None).watch().unwrap();
    for path in ["/w/1", "/w/1/2"] {
        xenstored.set(path, "").unwrap();
    }
    for path in ["/w", "/w/1"] {
        assert_eq!(*single.wait().unwrap().path, *path);
        assert_eq!(*next(&mut set).path, *path);
        assert_eq!(*called.recv_timeout(HANG_GUARD).unwrap().path, *path);
        assert_eq!(*unlimited.wait().unwrap().path, *path);
    }
    assert_eq!(&*unlimited.wait().unwrap().path, "/w/1/2");
    assert_eq!((single.try_next().unwrap(), set.try_next().unwrap()), (None, None));
    assert!(called.try_recv().is_err());
}

/// Creates a set whose callback passes each event to the test.
fn set_with_events(
    client: &Client,
) -> (xs_client::WatchSetHandle, mpsc::Receiver<Result<WatchEvent>>) {
    let (sender, called) = mpsc::channel();
    let set = client.watch_set_with(move |event| drop(sender.send(event))).unwrap();
    (set, called)
}

#[test]
fn callback_gets_events_of_all_watches_until_set_is_closed() {
    let (xenstored, client) = start();
    let (set, called) = set_with_events(&client);
    let tokens = ["/a", "/b"].map(|path| set.add(path).unwrap());
    for token in tokens {
        assert_eq!(called.recv_timeout(HANG_GUARD).unwrap().unwrap().token, token);
    }
    set.remove(tokens[0]).unwrap();
    for path in ["/a/1", "/b/1"] {
        xenstored.set(path, "").unwrap();
    }
    assert_eq!(&*called.recv_timeout(HANG_GUARD).unwrap().unwrap().path, "/b/1");
    set.close().unwrap();
    // The callback is dropped.
    let error = called.recv_timeout(HANG_GUARD).unwrap_err();
    assert_eq!(error, mpsc::RecvTimeoutError::Disconnected);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn callback_of_a_set_is_told_of_the_loss_once() {
    let (xenstored, client) = start();
    let (set, called) = set_with_events(&client);
    for path in ["/a", "/b"] {
        set.add(path).unwrap();
        called.recv_timeout(HANG_GUARD).unwrap().unwrap();
    }
    xenstored.disconnect_all();
    let error = called.recv_timeout(HANG_GUARD).unwrap().unwrap_err();
    assert!(error.is_lost() && error.path().is_none(), "{error}");
    let error = called.recv_timeout(HANG_GUARD).unwrap_err();
    assert_eq!(error, mpsc::RecvTimeoutError::Disconnected);
    assert!(client.watch_set_with(drop).unwrap_err().is_lost());
}

#[test]
fn removal_and_close_wait_for_running_callback() {
    for closes in [false, true] {
        let (_xenstored, client) = start();
        let gate = Gate::closed();
        let has_returned = Arc::new(AtomicBool::new(false));
        let (in_callback, returning) = (gate.clone(), has_returned.clone());
        let set = client
            .watch_set_with(move |_| {
                in_callback.pass();
                returning.store(true, Ordering::SeqCst);
            })
            .unwrap();
        let token = set.add("/a").unwrap();
        gate.wait_for_arrival();
        let removing = Observed::spawn(move || {
            match closes {
                true => set.close().unwrap(),
                false => set.remove(token).unwrap(),
            }
            assert!(has_returned.load(Ordering::SeqCst), "the callback still runs");
        });
        removing.state.wait_until_asleep();
        gate.open();
        removing.join();
    }
}

#[test]
fn callback_may_change_and_close_its_own_set() {
    let (xenstored, client) = start();
    let (sender, called) = mpsc::channel();
    let (give, handle) = mpsc::channel::<xs_client::WatchSetHandle>();
    let mut set = None;
    let callback = move |event: Result<WatchEvent>| {
        let set = set.get_or_insert_with(|| handle.recv_timeout(HANG_GUARD).unwrap());
        let event = event.unwrap();
        match &*event.watched {
            "/a" => set.add("/b").map(drop).unwrap(),
            "/b" => set.add("/c").and_then(|_| set.remove(event.token)).unwrap(),
            _ => set.close().unwrap(),
        }
        drop(sender.send(event));
    };
    let set = client.watch_set_with(callback).unwrap();
    set.add("/a").unwrap();
    // The callback waits for the handle, since `add` fails if the set is closed meanwhile.
    give.send(set).unwrap();
    let events = in_time(move || called.iter().collect::<Vec<_>>());
    let paths: Vec<_> = events.iter().map(|event| &*event.watched).collect();
    assert_eq!(paths, ["/a", "/b", "/c"]);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

/// Several threads add and remove watches while one takes events.
#[test]
fn watches_come_and_go_while_events_are_taken() {
    const WATCHES: usize = 200;
    let (_xenstored, client) = start();
    let mut set = client.watch_set();
    let adding: Vec<_> = (0..3)
        .map(|thread| {
            let handle = set.handle();
            thread::spawn(move || {
                for at in 0..WATCHES {
                    let token = handle.add(format!("/{thread}/{at}")).unwrap();
                    if at % 2 == 1 {
                        handle.remove(token).unwrap();
                    }
                }
            })
        })
        .collect();
    let mut kept = 0;
    while kept < 3 * WATCHES / 2 {
        let event = next(&mut set);
        let (_, at) = event.watched.rsplit_once('/').unwrap();
        kept += usize::from(at.parse::<usize>().unwrap() % 2 == 0);
    }
    adding.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(set.len(), 3 * WATCHES / 2);
}
