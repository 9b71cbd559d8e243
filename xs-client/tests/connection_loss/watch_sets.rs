//! Each watch of a set reports a reconnect, and is set again on the new connection.

use xs_client::{ErrorCode, EventKind, WatchSet, op};
use xs_proto::MessageType;
use xs_transport::mock::Fault;

use crate::support::daemon::{TestDaemon, start};
use crate::support::threads::Observed;
use crate::support::waiting::HANG_GUARD;
use crate::{Event, event, fired, reconnected};

/// Waits for the next events, and returns them in the order of their watches.
fn next(set: &mut WatchSet, events: usize) -> Vec<Event> {
    let mut events: Vec<_> = (0..events)
        .map(|_| set.next_timeout(HANG_GUARD).unwrap().expect("no event arrives"))
        .collect();
    events.sort_by_key(|event| event.token);
    events.into_iter().map(event).collect()
}

#[test]
fn watches_of_a_set_report_reconnect_and_fire_again() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut set = client.watch_set();
    for path in ["/a", "/b"] {
        set.add(path).unwrap();
    }
    let removed = set.add("/removed").unwrap();
    assert_eq!(next(&mut set, 3), ["/a", "/b", "/removed"].map(fired));
    daemon.hang_up();
    // The client notices the loss, and does not connect again yet.
    drop(client.start(&op::read("/")));
    set.remove(removed).unwrap();
    let after = [reconnected("/a"), fired("/a"), reconnected("/b"), fired("/b")];
    assert_eq!(next(&mut set, 4), after);
    assert_eq!(daemon.watches(), ["/a", "/b"]);
    daemon.xenstored.set("/b/c", "").unwrap();
    assert_eq!(next(&mut set, 1), [fired("/b/c")]);
    assert_eq!(set.try_next().unwrap(), None);
}

#[test]
fn waiting_set_connects_again_and_takes_watches_meanwhile() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut set = client.watch_set();
    set.add("/a").unwrap();
    assert_eq!(next(&mut set, 1), [fired("/a")]);
    let handle = set.handle();
    daemon.set_down(true);
    let waiting = Observed::spawn(move || {
        let events = next(&mut set, 3);
        (set, events)
    });
    let attempts = daemon.attempts();
    daemon.hang_up();
    daemon.wait_for_attempts(attempts + 2);
    let adding = Observed::spawn(move || handle.add("/b").unwrap());
    daemon.set_down(false);
    adding.join();
    let (_set, events) = waiting.join();
    assert_eq!(events, [reconnected("/a"), fired("/a"), fired("/b")]);
    assert_eq!(daemon.watches(), ["/a", "/b"]);
}

#[test]
fn watch_refused_on_new_connection_leaves_its_set() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut set = client.watch_set();
    let [_, bad] = ["/good", "/bad"].map(|path| set.add(path).unwrap());
    next(&mut set, 2);
    let refuse = Fault::error(ErrorCode::Quota).on(MessageType::Watch).at("/bad");
    daemon.xenstored.inject(refuse);
    daemon.hang_up();
    let items: Vec<_> = set.by_ref().take(3).collect();
    let (events, errors): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
    let events: Vec<_> = events.into_iter().map(|item| event(item.unwrap())).collect();
    assert_eq!(events, [reconnected("/good"), fired("/good")]);
    let error = errors.into_iter().next().unwrap().unwrap_err();
    assert_eq!((error.path(), error.code()), (Some("/bad"), Some(&ErrorCode::Quota)));
    assert!(!set.contains(bad));
    set.remove(bad).unwrap();
    // The next connection does not bring it back.
    daemon.hang_up();
    assert_eq!(next(&mut set, 2), [reconnected("/good"), fired("/good")]);
    assert_eq!(daemon.watches(), ["/good"]);
}

#[test]
fn waiting_events_come_before_the_loss() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    set.add("/a").unwrap();
    xenstored.set("/a/b", "").unwrap();
    client.exists("/").unwrap();
    xenstored.disconnect_all();
    assert!(client.exists("/").unwrap_err().is_lost());
    assert_eq!(next(&mut set, 2), [fired("/a"), fired("/a/b")]);
    assert!(set.next().unwrap().unwrap_err().is_lost());
    assert!(set.next().is_none());
    assert!(set.try_next().unwrap_err().is_lost());
    // So does a set that has never had a watch.
    assert!(client.watch_set().wait().unwrap_err().is_lost());
}

#[test]
fn callback_of_a_set_reports_reconnect_of_each_watch() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let (sender, called) = std::sync::mpsc::channel();
    let set = client.watch_set_with(move |event| drop(sender.send(event))).unwrap();
    let next = |events| {
        let mut events: Vec<_> =
            (0..events).map(|_| called.recv_timeout(HANG_GUARD).unwrap().unwrap()).collect();
        events.sort_by_key(|event| event.token);
        events.iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    use EventKind::{Fired, Reconnected};
    for path in ["/a", "/b"] {
        set.add(path).unwrap();
    }
    assert_eq!(next(2), [Fired, Fired]);
    daemon.hang_up();
    assert_eq!(next(4), [Reconnected, Fired, Reconnected, Fired]);
}
