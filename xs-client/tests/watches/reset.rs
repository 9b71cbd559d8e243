//! `reset_watches` ends the watches and transactions that precede it.

use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode, ErrorKind};
use xs_proto::MessageType;
use xs_transport::mock::{Fault, Xenstored};

use crate::support::callback::CallbackEvents;
use crate::support::daemon::{finish_cleanup, start};
use crate::support::intercept::Intercept;
use crate::support::threads::Visitors;
use crate::support::waiting::{in_time, wait_until};

#[test]
fn refused_reset_ends_nothing() {
    let (xenstored, client) = start();
    let tx = client.start_transaction().unwrap();
    let mut watch = client.watch("/w").unwrap();
    watch.wait().unwrap();
    tx.write("/a", "1").unwrap();
    xenstored.inject(Fault::error(ErrorCode::NotSupported).on(MessageType::ResetWatches));
    client.reset_watches().unwrap_err();
    tx.commit().unwrap();
    client.write("/w", "1").unwrap();
    watch.wait().unwrap();
}

#[test]
fn reset_ends_only_what_precedes_it() {
    let (xenstored, client) = start();
    let calls = CallbackEvents::watch(&client, "/called");
    calls.next().unwrap();
    let mut old = client.watch("/old").unwrap();
    old.wait().unwrap();
    let [tx, other] = [(); 2].map(|()| client.start_transaction().unwrap());
    // The reply to the reset comes with the next reply.
    let fault = xenstored.inject(Fault::merge().on(MessageType::ResetWatches));
    let user = client.clone();
    let resetting = thread::spawn(move || user.reset_watches().unwrap());
    wait_until(|| fault.hits() > 0, "the reset is not sent");
    let mut new = client.watch("/new").unwrap();
    resetting.join().unwrap();
    new.wait().expect("the watch was set after the reset");
    assert!(matches!(old.wait().unwrap_err().kind(), ErrorKind::WatchRemoved));
    for error in [tx.commit(), other.abort()].map(Result::unwrap_err) {
        assert!(matches!(error.kind(), ErrorKind::TransactionEnded), "{error}");
    }
    calls.expect_drop();
    drop((old, new));
    finish_cleanup(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn reset_ends_transaction_that_is_being_started() {
    let (xenstored, client) = start();
    let fault = xenstored.inject(Fault::merge().on(MessageType::TransactionStart));
    let user = client.clone();
    let starting = thread::spawn(move || user.start_transaction().unwrap());
    wait_until(|| fault.hits() > 0, "the transaction is not started");
    client.reset_watches().unwrap();
    let tx = starting.join().unwrap();
    let error = tx.commit().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TransactionEnded), "{error:?}");
}

#[test]
fn reset_wakes_watcher_in_reader_role() {
    let receivers = Visitors::default();
    let visitors = receivers.clone();
    let transport =
        Intercept::new(Xenstored::new().connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            visitors.add();
            below.recv(buf, wait)
        });
    let client = Client::from_transport(transport);
    let mut watch = client.watch("/old").unwrap();
    watch.wait().unwrap();
    let waiting = thread::spawn(move || watch.wait().unwrap_err());
    receivers.wait_for(&waiting);
    client.reset_watches().unwrap();
    let error = in_time(move || waiting.join().unwrap());
    assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
}

#[test]
fn reset_drops_stopped_callbacks() {
    let (_xenstored, client) = start();
    let calls = CallbackEvents::watch(&client, "/a");
    calls.next().unwrap();
    client.watch_stop();
    client.reset_watches().unwrap();
    assert!(calls.is_dropped());
}

#[test]
fn reset_that_times_out_drops_callbacks_later() {
    let (xenstored, client) = start();
    let calls = CallbackEvents::watch(&client, "/a");
    calls.next().unwrap();
    let fault = xenstored.inject(Fault::delay().on(MessageType::ResetWatches));
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.reset_watches().unwrap_err().is_timeout());
    fault.release();
    for _ in 0..3 {
        client.exists("/").unwrap();
    }
    assert_eq!(xenstored.watches(DomId::DOM0), []);
    calls.expect_drop();
}
