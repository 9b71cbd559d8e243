//! Watches that are read as iterators.

use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, ErrorKind, EventKind, WatchToken};
use xs_tests::{HANG_TIMEOUT, SHORT_TIMEOUT, on_every_backend};

use crate::{next, until};

on_every_backend! {
    fn first_event_comes_at_once_without_a_node(ctx) {
        let path = ctx.path("nothing/here");
        let mut watch = ctx.client.watch(&path).unwrap();
        assert_eq!(watch.path(), path);
        let event = watch.wait().unwrap();
        assert_eq!((&*event.path, event.kind), (&*path, EventKind::Fired));
    }

    fn changes_of_descendants_and_permissions_send_events(ctx) {
        let top = ctx.path("a");
        let mut watch = ctx.client.watch(&top).unwrap();
        assert_eq!(next(&mut watch), top);
        ctx.client.write(format!("{top}/b/c"), "1").unwrap();
        until(&mut watch, &format!("{top}/b/c"));
        let perms = ctx.client.get_perms(&top).unwrap();
        ctx.client.set_perms(&top, &perms).unwrap();
        until(&mut watch, &top);
        ctx.client.rm(format!("{top}/b")).unwrap();
        until(&mut watch, &format!("{top}/b"));
        // So do changes made by other clients.
        ctx.another().write(format!("{top}/d"), "1").unwrap();
        until(&mut watch, &format!("{top}/d"));
    }

    fn removing_a_parent_sends_an_event_for_the_watched_path(ctx) {
        let path = ctx.path("a/b/c");
        ctx.client.write(&path, "1").unwrap();
        let mut watch = ctx.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        ctx.client.rm(ctx.path("a")).unwrap();
        assert_eq!(next(&mut watch), path);
        assert!(!ctx.client.exists(&path).unwrap());
    }

    fn changes_of_siblings_send_no_events(ctx) {
        let mut watch = ctx.client.watch(ctx.path("a")).unwrap();
        let mut sentinel = ctx.client.watch(ctx.path("z")).unwrap();
        assert_eq!(next(&mut watch), ctx.path("a"));
        assert_eq!(next(&mut sentinel), ctx.path("z"));
        ctx.client.write(ctx.path("ab"), "1").unwrap();
        ctx.client.write(ctx.path("z"), "1").unwrap();
        assert_eq!(next(&mut sentinel), ctx.path("z"));
        assert_eq!(watch.try_next().unwrap(), None);
    }

    fn commit_sends_events_and_abort_does_not(ctx) {
        let path = ctx.path("a");
        let mut watch = ctx.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        let tx = ctx.client.start_transaction().unwrap();
        tx.write(&path, "1").unwrap();
        tx.abort().unwrap();
        let tx = ctx.client.start_transaction().unwrap();
        tx.write(ctx.path("a/b"), "1").unwrap();
        assert_eq!(watch.try_next().unwrap(), None);
        tx.commit().unwrap();
        until(&mut watch, &ctx.path("a/b"));
    }

    fn reads_with_a_timeout_return_pending_events_only(ctx) {
        let path = ctx.path("a");
        let mut watch = ctx.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        assert_eq!(watch.try_next().unwrap(), None);
        assert_eq!(watch.next_timeout(Duration::ZERO).unwrap(), None);
        assert_eq!(watch.next_timeout(Duration::from_millis(1)).unwrap(), None);
        assert_eq!(watch.next_until(Some(Instant::now())).unwrap(), None);
        ctx.client.write(&path, "1").unwrap();
        let far = Instant::now() + HANG_TIMEOUT;
        assert_eq!(&*watch.next_until(Some(far)).unwrap().unwrap().path, path);
        // An event that has come is returned even after the deadline.
        ctx.client.write(&path, "2").unwrap();
        ctx.client.read(&path).unwrap();
        loop {
            // oxenstored sends the event after the reply.
            if watch.next_timeout(Duration::ZERO).unwrap().is_some() {
                break;
            }
        }
    }

    fn iterator_ends_when_the_watch_is_removed(ctx) {
        let path = ctx.path("a");
        let mut watch = ctx.client.watch(&path).unwrap();
        assert_eq!(&*watch.next().unwrap().unwrap().path, path);
        ctx.client.write(&path, "1").unwrap();
        assert_eq!(&*watch.next().unwrap().unwrap().path, path);
        // The iterator ends when the watch is removed.
        ctx.client.unwatch(watch.token()).unwrap();
        assert!(watch.next().is_none());
        let error = watch.wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        assert_eq!((error.operation(), error.path()), ("watch", Some(&*path)));
    }

    fn watches_on_one_path_have_different_tokens(ctx) {
        // Two on one path of each client.
        let path = ctx.path("a");
        let other = ctx.another();
        let mut watches = vec![
            ctx.client.watch(&path).unwrap(),
            ctx.client.watch(&path).unwrap(),
            other.watch(&path).unwrap(),
            other.watch(&path).unwrap(),
        ];
        for watch in &mut watches {
            assert_eq!(next(watch), path);
        }
        assert_ne!(watches[0].token(), watches[1].token());
        watches.remove(0).remove().unwrap();
        ctx.client.write(&path, "1").unwrap();
        for watch in &mut watches {
            assert_eq!(next(watch), path);
        }
    }

    fn removed_watches_return_no_events(ctx) {
        let path = ctx.path("a");
        for round in 0..20 {
            let mut watch = ctx.client.watch(&path).unwrap();
            let writer = ctx.another();
            thread::scope(|scope| {
                scope.spawn(|| (0..10).for_each(|n| writer.write_display(&path, n).unwrap()));
                next(&mut watch);
                ctx.client.unwatch(watch.token()).unwrap();
                let after = watch.try_next();
                let is_removed = matches!(
                    after.as_ref().map_err(|error| error.kind()),
                    Err(ErrorKind::WatchRemoved)
                );
                assert!(is_removed, "round {round}: {after:?}");
            });
        }
    }

    fn removing_a_watch_wakes_its_waiter(ctx) {
        let path = ctx.path("a");
        let mut watch = ctx.client.watch(&path).unwrap();
        next(&mut watch);
        let token = watch.token();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || watch.wait());
            ctx.client.unwatch(token).unwrap();
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        });
    }

    fn dropping_a_watch_removes_it_from_the_daemon(ctx) {
        // A guest may have 128 watches and would soon exceed its quota.
        for _ in 0..if ctx.is_guest() { 150 } else { ctx.load(300) } {
            drop(ctx.client.watch(ctx.path("a")).unwrap());
        }
        let mut watch = ctx.client.watch(ctx.path("a")).unwrap();
        assert_eq!(next(&mut watch), ctx.path("a"));
    }

    fn exceeded_watch_quota_is_reported(ctx) {
        if !ctx.is_guest() || ctx.is_device() {
            return;
        }
        let mut watches = Vec::new();
        let error = loop {
            assert!(watches.len() < 1000, "the quota holds for guests");
            match ctx.client.watch(ctx.path("a")) {
                Ok(watch) => watches.push(watch),
                Err(error) => break error,
            }
        };
        let name = error.code().unwrap().name();
        assert!(["E2BIG", "EQUOTA", "ENOSPC"].contains(&name), "{error}");
        assert_eq!((error.operation(), error.path()), ("watch", Some(&*ctx.path("a"))));
        ctx.client.unwatch_all().unwrap();
        drop(ctx.client.watch(ctx.path("a")).unwrap());
    }

    fn unwatch_all_keeps_watches_of_other_clients(ctx) {
        let path = ctx.path("a");
        let other = ctx.another();
        let mut mine = [ctx.client.watch(&path).unwrap(), ctx.client.watch(&path).unwrap()];
        let mut others = other.watch(&path).unwrap();
        next(&mut others);
        ctx.client.unwatch_all().unwrap();
        for watch in &mut mine {
            assert!(watch.next().is_none());
        }
        ctx.client.write(&path, "1").unwrap();
        assert_eq!(next(&mut others), path);
    }

    fn reset_watches_ends_watches_and_transactions(ctx) {
        if ctx.is_device() {
            let error = ctx.client.reset_watches().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
            return;
        }
        let mut watch = ctx.client.watch(ctx.path("a")).unwrap();
        let tx = ctx.client.start_transaction().unwrap();
        tx.write(ctx.path("b"), "1").unwrap();
        ctx.client.reset_watches().unwrap();
        assert!(watch.next().is_none());
        let ended = tx.commit();
        assert!(ended.is_err(), "a transaction outlived RESET_WATCHES");
        let mut watch = ctx.client.watch(ctx.path("a")).unwrap();
        assert_eq!(next(&mut watch), ctx.path("a"));
    }

    fn relative_and_special_paths_can_be_watched(ctx) {
        let mut relative = ctx.client.watch("data/xs-nothing").unwrap();
        assert_eq!(next(&mut relative), "data/xs-nothing");
        if !ctx.is_guest() {
            let mut special = ctx.client.watch("@introduceDomain").unwrap();
            assert_eq!(next(&mut special), "@introduceDomain");
        }
    }

    fn depth_limits_the_events(ctx) {
        let path = ctx.path("a");
        let result = ctx.client.watch_builder(&path).depth(1).watch();
        if ctx.is_device() {
            // The device accepts the depth and ignores it.
            drop(result.unwrap());
            return;
        }
        if !ctx.is_modern {
            let error = result.unwrap_err();
            assert_eq!(error.code().unwrap().name(), "EINVAL");
            return;
        }
        let mut watch = result.unwrap();
        assert_eq!(next(&mut watch), path);
        ctx.client.write(ctx.path("a/b"), "1").unwrap();
        until(&mut watch, &ctx.path("a/b"));
        ctx.client.write(ctx.path("a/b/c"), "1").unwrap();
        ctx.client.write(ctx.path("a/d"), "1").unwrap();
        assert_eq!(next(&mut watch), ctx.path("a/d"));
    }

    fn last_change_is_never_lost(ctx) {
        let path = ctx.path("a");
        let other = ctx.another();
        let mut watch = other.watch(&path).unwrap();
        next(&mut watch);
        let count = ctx.load(100);
        for n in 0..count {
            ctx.client.write_display(&path, n).unwrap();
        }
        // Equal events may be merged, but the last one comes after the last write.
        while other.read_parsed::<usize>(&path).unwrap() != count - 1 {
            next(&mut watch);
        }
    }

    fn overflow_is_reported(ctx) {
        let client = ctx.another_with(Client::builder().watch_capacity(10));
        let mut watch = client.watch(ctx.root()).unwrap();
        assert_eq!(next(&mut watch), ctx.root());
        for n in 0..50 {
            client.write(ctx.path(&n.to_string()), "").unwrap();
        }
        let mut events = Vec::new();
        loop {
            let event = watch.next_timeout(HANG_TIMEOUT).unwrap().unwrap();
            if event.kind == EventKind::Overflow {
                assert_eq!(&*event.path, ctx.root());
                break;
            }
            events.push(event);
        }
        assert!(events.len() <= 10, "{events:?}");
        // Later events are delivered.
        client.write(ctx.path("after"), "").unwrap();
        until(&mut watch, &ctx.path("after"));
    }

    fn slow_watcher_does_not_delay_other_clients(ctx) {
        // At full load, these are more events than oxenstored queues for a client that does not
        // read. C daemons count a guest's request as outstanding until the events that it caused
        // are read, and allow 20 of them.
        let (count, interval) =
            if ctx.is_guest() { (ctx.load(500).max(100), 10) } else { (ctx.load(5000), 100) };
        let watcher = ctx.another();
        let mut watch = watcher.watch(ctx.root()).unwrap();
        for at in 0..count {
            ctx.client.write(ctx.path(&format!("k{}", at % 100)), "").unwrap();
            // The watcher sends requests, but leaves its events in the queue.
            if at % interval == 0 {
                watcher.read(ctx.root()).unwrap();
            }
        }
        next(&mut watch);
    }

    fn wait_for_returns_when_the_value_matches(ctx) {
        let path = ctx.path("state");
        let other = ctx.another();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                ctx.client.wait_for(&path, HANG_TIMEOUT, |value| value == Some(b"4"))
            });
            for state in 1..=4 {
                other.write_display(&path, state).unwrap();
            }
            assert_eq!(waiting.join().unwrap().unwrap(), Some(b"4".to_vec()));
        });
        // The value matches already.
        ctx.client.wait_for(&path, HANG_TIMEOUT, |value| value.is_some()).unwrap();
        // The removal of the node is a value too.
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                ctx.client.wait_for(&path, HANG_TIMEOUT, |value| value.is_none())
            });
            other.rm(&path).unwrap();
            assert_eq!(waiting.join().unwrap().unwrap(), None);
        });
    }

    fn wait_for_times_out(ctx) {
        let path = ctx.path("state");
        let error = ctx
            .client
            .wait_for(&path, SHORT_TIMEOUT, |value| value.is_some())
            .unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.path(), Some(&*path));
        assert!(!ctx.client.exists(&path).unwrap());
    }

    fn watch_outlives_its_client_handle(ctx) {
        let client = ctx.another();
        let path = ctx.path("a");
        let mut watch = client.watch(&path).unwrap();
        drop(client);
        assert_eq!(next(&mut watch), path);
        ctx.client.write(&path, "1").unwrap();
        assert_eq!(next(&mut watch), path);
    }
}

#[test]
fn tokens_are_plain_values() {
    fn is_plain<T: Copy + Send + Sync + Ord + std::hash::Hash + 'static>() {}
    is_plain::<WatchToken>();
}
