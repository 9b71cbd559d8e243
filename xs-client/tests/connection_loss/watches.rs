//! Watches report a reconnect, and are set again on the new connection.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use xs_client::{ErrorCode, EventKind, op};
use xs_proto::MessageType;
use xs_transport::mock::Fault;

use crate::support::callback::CallbackEvents;
use crate::support::daemon::TestDaemon;
use crate::support::waiting::{HANG_GUARD, in_time};
use crate::{event, fired, next, reconnected};

#[test]
fn watches_report_reconnect_and_fire_again() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut watches = ["/a", "/b"].map(|path| client.watch(path).unwrap());
    let dropped = client.watch("/dropped").unwrap();
    for (watch, path) in watches.iter_mut().zip(["/a", "/b"]) {
        assert_eq!(next(watch), fired(path));
    }
    daemon.hang_up();
    // The client notices the loss, and does not connect again yet.
    drop(client.start(&op::read("/")));
    drop(dropped);
    for (watch, path) in watches.iter_mut().zip(["/a", "/b"]) {
        assert_eq!(next(watch), reconnected(path));
        assert_eq!(next(watch), fired(path));
    }
    assert_eq!(daemon.watches(), ["/a", "/b"]);
    client.write("/b/c", "").unwrap();
    assert_eq!(next(&mut watches[1]), fired("/b/c"));
    assert!(watches[0].try_next().unwrap().is_none());
    drop(watches);
    client.read("/b/c").unwrap();
    assert!(daemon.watches().is_empty());
}

/// A daemon that shuts down may accept a last connection.
#[test]
fn reconnect_is_reported_when_watch_is_set_again() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let calls = CallbackEvents::watch(&client, "/a");
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(calls.next_kind(), EventKind::Fired);
    assert_eq!(next(&mut watch), fired("/a"));
    let fault = daemon.xenstored.inject(Fault::close().on(MessageType::Watch).times(2));
    daemon.hang_up();
    assert_eq!(next(&mut watch), reconnected("/a"));
    assert_eq!(fault.hits(), 2);
    assert_eq!(next(&mut watch), fired("/a"));
    for kind in [EventKind::Reconnected, EventKind::Fired] {
        assert_eq!(calls.next_kind(), kind);
    }
}

#[test]
fn new_watch_may_be_first_request_after_loss() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    // The client has set it only once.
    assert_eq!(daemon.watches(), ["/a"]);
}

#[test]
fn try_next_returns_nothing_while_daemon_is_down() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
    daemon.go_down(&client);
    assert_eq!(watch.try_next().unwrap(), None);
    daemon.set_down(false);
    // `try_next` connects: no other thread uses the client.
    let next = in_time(move || {
        loop {
            if let Some(event) = watch.try_next().unwrap() {
                return event.kind;
            }
            thread::yield_now();
        }
    });
    assert_eq!(next, EventKind::Reconnected);
}

#[test]
fn watch_may_be_removed_while_daemon_restarts() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let watch = client.watch("/a").unwrap();
    daemon.go_down(&client);
    daemon.set_down(false);
    client.unwatch(watch.token()).unwrap();
}

#[test]
fn watch_refused_on_new_connection_ends_with_error() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut good = client.watch("/good").unwrap();
    let mut bad = client.watch("/bad").unwrap();
    let bad_calls = CallbackEvents::watch(&client, "/bad");
    assert_eq!(next(&mut good), fired("/good"));
    assert_eq!(next(&mut bad), fired("/bad"));
    assert_eq!(bad_calls.next_kind(), EventKind::Fired);
    let refuse = Fault::error(ErrorCode::Quota).on(MessageType::Watch).at("/bad").times(2);
    daemon.xenstored.inject(refuse);
    daemon.hang_up();
    for error in [bad.next_timeout(HANG_GUARD).unwrap_err(), bad_calls.next().unwrap_err()] {
        assert_eq!(error.code(), Some(&ErrorCode::Quota), "{error}");
        assert_eq!(error.path(), Some("/bad"));
    }
    assert_eq!(next(&mut good), reconnected("/good"));
    assert_eq!(next(&mut good), fired("/good"));
}

#[test]
fn callbacks_report_reconnect_and_fire_again() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let calls = CallbackEvents::watch(&client, "/a");
    let next = || event(calls.next().unwrap());
    assert_eq!(next(), fired("/a"));
    for round in 0..6 {
        daemon.xenstored.set("/a", "").unwrap();
        if round % 2 == 0 {
            assert_eq!(next(), fired("/a"));
        }
        // In odd rounds the event may still be queued, or be lost.
        daemon.hang_up();
        let mut event = next();
        if event.0 == EventKind::Fired && round % 2 == 1 {
            event = next();
        }
        assert_eq!(event, reconnected("/a"), "in round {round}");
        assert_eq!(next(), fired("/a"));
    }
    // The callback thread tries to connect until the daemon is up.
    daemon.set_down(true);
    let attempts = daemon.attempts();
    daemon.hang_up();
    daemon.wait_for_attempts(attempts + 3);
    daemon.set_down(false);
    assert_eq!(next(), reconnected("/a"));
    assert_eq!(next(), fired("/a"));
}

#[test]
fn callback_with_queued_events_survives_loss() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let (sender, events) = mpsc::channel();
    let (resume, resumed) = mpsc::channel();
    let callback = move |event| {
        sender.send(event).unwrap();
        resumed.recv().unwrap();
    };
    client.watch_with("/a", callback).unwrap();
    let next =
        || events.recv_timeout(HANG_GUARD).expect("the callback is not called").unwrap().kind;
    assert_eq!(next(), EventKind::Fired);
    // While the callback runs, another event arrives, and then the connection is lost.
    client.write("/a", "").unwrap();
    daemon.hang_up();
    daemon.set_down(true);
    let error = client.with_timeout(Duration::ZERO).read("/").unwrap_err();
    assert!(error.is_lost(), "{error}");
    resume.send(()).unwrap();
    assert_eq!(next(), EventKind::Fired);
    resume.send(()).unwrap();
    daemon.set_down(false);
    assert_eq!(next(), EventKind::Reconnected);
    resume.send(()).unwrap();
    assert_eq!(next(), EventKind::Fired);
    resume.send(()).unwrap();
}

#[test]
fn stopping_callbacks_during_reconnect_ends_no_watch() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let calls = CallbackEvents::watch(&client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    daemon.set_down(true);
    let attempts = daemon.attempts();
    daemon.hang_up();
    daemon.wait_for_attempts(attempts + 1);
    client.watch_stop();
    daemon.set_down(false);
    client.watch_with("/b", |_| ()).unwrap();
    assert_eq!(calls.next_kind(), EventKind::Reconnected);
    assert_eq!(calls.next_kind(), EventKind::Fired);
}

#[cfg(feature = "futures")]
mod with_futures {
    use std::sync::Arc;
    use std::task::Waker;

    use futures_lite::future::{block_on, poll_once};
    use xs_client::ErrorKind;
    use xs_client::futures::Client;

    use super::*;
    use crate::support::reactor::EdgeTriggered;
    use crate::support::waiting::wait_until;
    use crate::support::wakers::poll;

    #[test]
    fn watch_refused_before_loss_is_not_set_again() {
        let daemon = TestDaemon::new();
        let client = daemon.client();
        // This reactor never reports readiness: only blocking calls receive.
        let idle = EdgeTriggered(Arc::default());
        let (tasks, _driver) = Client::with_reactor(client.clone(), idle).unwrap();
        daemon.xenstored.inject(Fault::error(ErrorCode::NoSpace).on(MessageType::Watch));
        let mut setting = Box::pin(tasks.watch("/a"));
        assert!(poll(&mut setting, Waker::noop()).is_pending());
        client.read("/").unwrap();
        // The refusal has arrived, and the future has not been polled since.
        daemon.hang_up();
        wait_until(|| client.read("/").is_ok(), "the client does not connect again");
        client.read("/").unwrap();
        let error = block_on(setting).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Refused(_)), "{error}");
        for _ in 0..2 {
            client.exists("/").unwrap();
        }
        assert_eq!(daemon.watches(), Vec::<String>::new());
    }

    #[test]
    fn watch_removed_before_it_is_set_is_not_set_at_daemon() {
        let daemon = TestDaemon::new();
        let client = daemon.client();
        let tasks = Client::on_thread(client.clone()).unwrap();
        daemon.go_down(&client);
        block_on(async {
            let mut setting = Box::pin(tasks.watch("/a"));
            assert!(poll_once(&mut setting).await.is_none());
            let _ = client.with_timeout(Duration::from_millis(1)).unwatch_all();
            daemon.set_down(false);
            let error = setting.await.map(drop).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        });
        client.exists("/").unwrap();
        assert_eq!(daemon.watches(), [""; 0]);
    }
}

/// More watches than can be in flight together.
const MANY: usize = 20_000;

#[test]
fn many_watches_are_set_again_without_errors() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut watches: Vec<_> =
        (0..MANY).map(|at| client.watch(format!("/w/{at}")).unwrap()).collect();
    for watch in &mut watches {
        assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
    }
    daemon.hang_up();
    let calls: Vec<_> = (0..4)
        .map(|at| {
            let client = client.clone();
            thread::spawn(move || {
                let (mut losses, path) = (0, format!("/calls/{at}"));
                for _ in 0..100 {
                    if let Err(error) = client.write(&path, "") {
                        assert!(error.is_lost(), "{error}");
                        losses += 1;
                    }
                    match client.start(&op::read("/")) {
                        Ok(pending) => match pending.wait() {
                            Err(error) if error.is_lost() => losses += 1,
                            result => drop(result.unwrap()),
                        },
                        Err(error) => {
                            assert!(error.is_lost(), "{error}");
                            losses += 1;
                        }
                    }
                }
                losses
            })
        })
        .collect();
    let losses: usize = calls.into_iter().map(|call| call.join().unwrap()).sum();
    assert!(losses <= 8, "{losses} calls report one loss");
    for (at, watch) in watches.iter_mut().enumerate() {
        let path = format!("/w/{at}");
        assert_eq!(next(watch), reconnected(&path));
        assert_eq!(next(watch), fired(&path));
    }
    assert_eq!(daemon.watches().len(), MANY);
    client.write("/w/0", "").unwrap();
    assert_eq!(next(&mut watches[0]), fired("/w/0"));
    client.close();
}
