//! Sets of watches, with the daemon's own timing.

use std::collections::HashMap;
use std::thread;

use xs_client::{EventKind, WatchEvent, WatchSet};
use xs_tests::{HANG_TIMEOUT, on_every_backend};

use crate::{called_for, called_for_all, channel};

/// Waits for the next event of a set, which must come.
fn next(set: &mut WatchSet) -> WatchEvent {
    let event = set.next_timeout(HANG_TIMEOUT).expect("the connection works");
    event.expect("an event comes")
}

/// Takes events up to the one for `path`. Daemons may send more events than they need to.
fn until(set: &mut WatchSet, path: &str) -> WatchEvent {
    loop {
        let event = next(set);
        if *event.path == *path {
            return event;
        }
    }
}

on_every_backend! {
    fn events_of_a_set_name_their_watch(ctx) {
        let mut set = ctx.client.watch_set();
        let paths = ["a", "b", "c"].map(|name| ctx.path(name));
        let tokens: HashMap<_, _> =
            paths.iter().map(|path| (path.clone(), set.add(path).unwrap())).collect();
        for path in &paths {
            let event = until(&mut set, path);
            assert_eq!((&*event.watched, event.kind), (&**path, EventKind::Fired));
            assert_eq!(event.token, tokens[path]);
        }
        let other = ctx.another();
        for path in paths.iter().rev() {
            let below = format!("{path}/below");
            other.write(&below, "1").unwrap();
            let event = until(&mut set, &below);
            assert_eq!((event.token, &*event.watched), (tokens[path], &**path));
        }
    }

    fn removed_watch_of_a_set_fires_no_more(ctx) {
        let mut set = ctx.client.watch_set();
        let (a, b) = (ctx.path("a"), ctx.path("b"));
        let token = set.add(&a).unwrap();
        set.add(&b).unwrap();
        set.remove(token).unwrap();
        ctx.client.write(&a, "1").unwrap();
        ctx.client.write(format!("{b}/last"), "1").unwrap();
        loop {
            let event = next(&mut set);
            assert_eq!(*event.watched, *b);
            if event.path.ends_with("/last") {
                break;
            }
        }
        assert_eq!(set.len(), 1);
    }

    fn watches_are_added_to_a_set_while_a_thread_waits(ctx) {
        let count = ctx.load(20);
        let mut set = ctx.client.watch_set();
        thread::scope(|scope| {
            for half in 0..2 {
                let handle = set.handle();
                scope.spawn(move || {
                    for at in (half..count).step_by(2) {
                        let token = handle.add(ctx.path(&format!("kept{at}"))).unwrap();
                        assert!(handle.contains(token));
                        let token = handle.add(ctx.path(&format!("removed{at}"))).unwrap();
                        handle.remove(token).unwrap();
                    }
                });
            }
            let mut missing: Vec<_> = (0..count).map(|at| ctx.path(&format!("kept{at}"))).collect();
            while !missing.is_empty() {
                let event = next(&mut set);
                missing.retain(|path| *path != *event.watched);
            }
        });
        assert_eq!(set.len(), count);
        // Without the watches of this client, a guest could set as many again.
        set.close().unwrap();
        assert!(set.next().is_none());
        let mut again = ctx.client.watch_set();
        for at in 0..count {
            again.add(ctx.path(&format!("kept{at}"))).unwrap();
        }
        next(&mut again);
    }

    fn callback_of_a_set_gets_events_of_all_its_watches(ctx) {
        let (sender, events) = channel();
        let set = ctx.client.watch_set_with(move |event| drop(sender.send(event))).unwrap();
        let paths = ["a", "b"].map(|name| ctx.path(name));
        for path in &paths {
            set.add(path).unwrap();
        }
        called_for_all(&events, &paths);
        ctx.another().write(format!("{}/below", paths[1]), "1").unwrap();
        called_for(&events, &format!("{}/below", paths[1]));
        set.close().unwrap();
    }
}
