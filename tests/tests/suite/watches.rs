//! Watches whose events are taken one by one.

use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, ErrorKind, EventKind, Token};
use xs_tests::{PATIENCE, on_every_site};

use crate::{next, until};

on_every_site! {
    fn the_first_event_comes_at_once_even_if_there_is_no_node(on) {
        let path = on.path("nothing/here");
        let mut watch = on.client.watch(&path).unwrap();
        assert_eq!(watch.path(), path);
        let event = watch.wait().unwrap();
        assert_eq!((&*event.path, event.kind), (&*path, EventKind::Fired));
    }

    fn changes_below_and_of_permissions_fire(on) {
        let top = on.path("a");
        let mut watch = on.client.watch(&top).unwrap();
        assert_eq!(next(&mut watch), top);
        on.client.write(&format!("{top}/b/c"), "1").unwrap();
        until(&mut watch, &format!("{top}/b/c"));
        let perms = on.client.get_perms(&top).unwrap();
        on.client.set_perms(&top, &perms).unwrap();
        until(&mut watch, &top);
        on.client.rm(&format!("{top}/b")).unwrap();
        until(&mut watch, &format!("{top}/b"));
        // Changes made by others likewise.
        on.another().write(&format!("{top}/d"), "1").unwrap();
        until(&mut watch, &format!("{top}/d"));
    }

    fn removal_of_a_parent_fires_with_the_watched_path(on) {
        let path = on.path("a/b/c");
        on.client.write(&path, "1").unwrap();
        let mut watch = on.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        on.client.rm(&on.path("a")).unwrap();
        assert_eq!(next(&mut watch), path);
        assert!(!on.client.exists(&path).unwrap());
    }

    fn neighbours_do_not_fire(on) {
        let mut watch = on.client.watch(&on.path("a")).unwrap();
        let mut sentinel = on.client.watch(&on.path("z")).unwrap();
        assert_eq!(next(&mut watch), on.path("a"));
        assert_eq!(next(&mut sentinel), on.path("z"));
        on.client.write(&on.path("ab"), "1").unwrap();
        on.client.write(&on.path("z"), "1").unwrap();
        assert_eq!(next(&mut sentinel), on.path("z"));
        assert_eq!(watch.try_next().unwrap(), None);
    }

    fn a_commit_fires_an_abort_does_not(on) {
        let path = on.path("a");
        let mut watch = on.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        let tx = on.client.start_transaction().unwrap();
        tx.write(&path, "1").unwrap();
        tx.abort().unwrap();
        let tx = on.client.start_transaction().unwrap();
        tx.write(&on.path("a/b"), "1").unwrap();
        assert_eq!(watch.try_next().unwrap(), None);
        tx.commit().unwrap();
        until(&mut watch, &on.path("a/b"));
    }

    fn try_and_deadlines(on) {
        let path = on.path("a");
        let mut watch = on.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        assert_eq!(watch.try_next().unwrap(), None);
        assert_eq!(watch.next_timeout(Duration::ZERO).unwrap(), None);
        assert_eq!(watch.next_timeout(Duration::from_millis(1)).unwrap(), None);
        assert_eq!(watch.next_until(Some(Instant::now())).unwrap(), None);
        on.client.write(&path, "1").unwrap();
        let far = Instant::now() + PATIENCE;
        assert_eq!(&*watch.next_until(Some(far)).unwrap().unwrap().path, path);
        // What has come is there even when the time is over.
        on.client.write(&path, "2").unwrap();
        on.client.read(&path).unwrap();
        loop {
            // oxenstored sends the event after the reply.
            if watch.next_timeout(Duration::ZERO).unwrap().is_some() {
                break;
            }
        }
    }

    fn as_an_iterator(on) {
        let path = on.path("a");
        let mut watch = on.client.watch(&path).unwrap();
        assert_eq!(&*watch.next().unwrap().unwrap().path, path);
        on.client.write(&path, "1").unwrap();
        assert_eq!(&*watch.next().unwrap().unwrap().path, path);
        // It ends when the watch is removed.
        on.client.unwatch(watch.token()).unwrap();
        assert!(watch.next().is_none());
        let error = watch.wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        assert_eq!((error.operation(), error.path()), ("watch", Some(&*path)));
    }

    fn tokens_never_collide(on) {
        // Two on one path, and more on other clients: each has its own.
        let path = on.path("a");
        let other = on.another();
        let mut watches = vec![
            on.client.watch(&path).unwrap(),
            on.client.watch(&path).unwrap(),
            other.watch(&path).unwrap(),
            other.watch(&path).unwrap(),
        ];
        for watch in &mut watches {
            assert_eq!(next(watch), path);
        }
        assert_ne!(watches[0].token(), watches[1].token());
        watches.remove(0).remove().unwrap();
        on.client.write(&path, "1").unwrap();
        for watch in &mut watches {
            assert_eq!(next(watch), path);
        }
    }

    fn nothing_comes_after_removal(on) {
        let path = on.path("a");
        for round in 0..20 {
            let mut watch = on.client.watch(&path).unwrap();
            let writer = on.another();
            thread::scope(|scope| {
                scope.spawn(|| (0..10).for_each(|n| writer.write_display(&path, n).unwrap()));
                next(&mut watch);
                on.client.unwatch(watch.token()).unwrap();
                let after = watch.try_next();
                let is_removed = matches!(
                    after.as_ref().map_err(|error| error.kind()),
                    Err(ErrorKind::WatchRemoved)
                );
                assert!(is_removed, "round {round}: {after:?}");
            });
        }
    }

    fn who_waits_returns_when_the_watch_is_removed(on) {
        let path = on.path("a");
        let mut watch = on.client.watch(&path).unwrap();
        next(&mut watch);
        let token = watch.token();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || watch.wait());
            on.client.unwatch(token).unwrap();
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        });
    }

    fn a_dropped_watch_is_gone_at_the_daemon(on) {
        // A guest would soon be out of watches.
        for _ in 0..on.many(3000).min(300) {
            on.client.watch(&on.path("a")).unwrap();
        }
        let mut watch = on.client.watch(&on.path("a")).unwrap();
        assert_eq!(next(&mut watch), on.path("a"));
    }

    fn quota_of_watches(on) {
        if !on.is_guest() || on.is_device() {
            return;
        }
        let mut watches = Vec::new();
        let error = loop {
            assert!(watches.len() < 1000, "the quota holds for guests");
            match on.client.watch(&on.path("a")) {
                Ok(watch) => watches.push(watch),
                Err(error) => break error,
            }
        };
        let name = error.code().unwrap().name();
        assert!(["E2BIG", "EQUOTA", "ENOSPC"].contains(&name), "{error}");
        assert_eq!((error.operation(), error.path()), ("watch", Some(&*on.path("a"))));
        on.client.unwatch_all().unwrap();
        on.client.watch(&on.path("a")).unwrap();
    }

    fn unwatch_all_ends_those_of_this_client_only(on) {
        let path = on.path("a");
        let other = on.another();
        let mut mine = [on.client.watch(&path).unwrap(), on.client.watch(&path).unwrap()];
        let mut others = other.watch(&path).unwrap();
        next(&mut others);
        on.client.unwatch_all().unwrap();
        for watch in &mut mine {
            assert!(watch.next().is_none());
        }
        on.client.write(&path, "1").unwrap();
        assert_eq!(next(&mut others), path);
    }

    fn reset_watches_ends_watches_and_transactions(on) {
        if on.is_device() {
            let error = on.client.reset_watches().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
            return;
        }
        let mut watch = on.client.watch(&on.path("a")).unwrap();
        let tx = on.client.start_transaction().unwrap();
        tx.write(&on.path("b"), "1").unwrap();
        on.client.reset_watches().unwrap();
        assert!(watch.next().is_none());
        // Nobody else's business: the transaction is not known any more, or is as good as new.
        let ended = tx.commit();
        assert!(ended.is_err(), "a transaction outlived RESET_WATCHES");
        let mut watch = on.client.watch(&on.path("a")).unwrap();
        assert_eq!(next(&mut watch), on.path("a"));
    }

    fn relative_and_special_paths(on) {
        let mut relative = on.client.watch("data/xs-nothing").unwrap();
        assert_eq!(next(&mut relative), "data/xs-nothing");
        if !on.is_guest() {
            let mut special = on.client.watch("@introduceDomain").unwrap();
            assert_eq!(next(&mut special), "@introduceDomain");
        }
    }

    fn a_depth(on) {
        let path = on.path("a");
        let result = on.client.watch_depth(&path, 1);
        if on.is_device() {
            // Taken and not heeded.
            result.unwrap();
            return;
        }
        if !on.is_modern {
            let error = result.unwrap_err();
            assert_eq!(error.code().unwrap().name(), "EINVAL");
            return;
        }
        let mut watch = result.unwrap();
        assert_eq!(next(&mut watch), path);
        on.client.write(&on.path("a/b"), "1").unwrap();
        until(&mut watch, &on.path("a/b"));
        on.client.write(&on.path("a/b/c"), "1").unwrap();
        on.client.write(&on.path("a/d"), "1").unwrap();
        assert_eq!(next(&mut watch), on.path("a/d"));
    }

    fn equal_events_coalesce_and_none_is_lost(on) {
        let path = on.path("a");
        let other = on.another();
        let mut watch = other.watch(&path).unwrap();
        next(&mut watch);
        for n in 0..100 {
            on.client.write_display(&path, n).unwrap();
        }
        // However many come: after the last one, the last value is there.
        while other.read(&path).unwrap() != b"99" {
            next(&mut watch);
        }
    }

    fn too_many_events_are_reported(on) {
        let client = on.another_with(Client::builder().watch_capacity(10));
        let mut watch = client.watch(on.root()).unwrap();
        assert_eq!(next(&mut watch), on.root());
        for n in 0..50 {
            client.write(&on.path(&n.to_string()), "").unwrap();
        }
        let mut events = Vec::new();
        loop {
            let event = watch.next_timeout(PATIENCE).unwrap().unwrap();
            if event.kind == EventKind::Overflow {
                assert_eq!(&*event.path, on.root());
                break;
            }
            events.push(event);
        }
        assert!(events.len() <= 10, "{events:?}");
        // And then it goes on.
        client.write(&on.path("after"), "").unwrap();
        until(&mut watch, &on.path("after"));
    }

    fn a_slow_watcher_delays_nobody(on) {
        // More events than oxenstored keeps for one who does not read.
        // A guest's request counts as outstanding until the events that it caused are taken, and
        // C daemons keep no more than 20 of those.
        let (count, often) = if on.is_guest() { (500, 10) } else { (on.many(5000), 100) };
        let watcher = on.another();
        let mut watch = watcher.watch(on.root()).unwrap();
        for at in 0..count {
            on.client.write(&on.path(&format!("k{}", at % 100)), "").unwrap();
            // It does other things, and its events wait.
            if at % often == 0 {
                watcher.read(on.root()).unwrap();
            }
        }
        next(&mut watch);
    }

    fn wait_for_a_value(on) {
        let path = on.path("state");
        let other = on.another();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                on.client.wait_for(&path, PATIENCE, |value| value == Some(b"4"))
            });
            for state in 1..=4 {
                other.write_display(&path, state).unwrap();
            }
            assert_eq!(waiting.join().unwrap().unwrap(), Some(b"4".to_vec()));
        });
        // It is there already.
        on.client.wait_for(&path, PATIENCE, |value| value.is_some()).unwrap();
        // Its end can be waited for as well.
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                on.client.wait_for(&path, PATIENCE, |value| value.is_none())
            });
            other.rm(&path).unwrap();
            assert_eq!(waiting.join().unwrap().unwrap(), None);
        });
    }

    fn wait_for_what_does_not_come(on) {
        let path = on.path("state");
        let error = on
            .client
            .wait_for(&path, Duration::from_millis(30), |value| value.is_some())
            .unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.path(), Some(&*path));
        assert!(!on.client.exists(&path).unwrap());
    }

    fn a_watch_outlives_its_client_handle(on) {
        let client = on.another();
        let path = on.path("a");
        let mut watch = client.watch(&path).unwrap();
        drop(client);
        assert_eq!(next(&mut watch), path);
        on.client.write(&path, "1").unwrap();
        assert_eq!(next(&mut watch), path);
    }
}

/// Tokens are copied freely and say nothing to others.
#[test]
fn tokens_are_plain_values() {
    fn is_plain<T: Copy + Send + Sync + Ord + std::hash::Hash + 'static>() {}
    is_plain::<Token>();
}
