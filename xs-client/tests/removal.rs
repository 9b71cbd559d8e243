//! What is removed is removed at the daemon, too, and nothing else is.

mod host;

use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode, ErrorKind, Transaction, op};
use xs_proto::{MessageType, Request};
use xs_transport::mock::{Fault, Record, Xenstored};

use host::{FULL, Hooked, fill, in_time, start};

/// What was left for later has had its turn.
fn settle(client: &Client) {
    for _ in 0..2 {
        client.exists("/").unwrap();
    }
}

#[test]
fn a_refused_reset_ends_nothing() {
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
fn a_reset_ends_what_was_there_before_and_nothing_else() {
    let (xenstored, client) = start();
    let (sender, called) = mpsc::channel();
    client.watch_with("/called", move |event| drop(sender.send(event))).unwrap();
    called.recv().unwrap().unwrap();
    let mut old = client.watch("/old").unwrap();
    old.wait().unwrap();
    let [tx, other] = [(); 2].map(|()| client.start_transaction().unwrap());
    // Its answer waits for the next one.
    let fault = xenstored.inject(Fault::merge().on(MessageType::ResetWatches));
    let resets = client.clone();
    let resetting = thread::spawn(move || resets.reset_watches().unwrap());
    while fault.hits() == 0 {
        thread::yield_now();
    }
    let mut new = client.watch("/new").unwrap();
    resetting.join().unwrap();
    new.wait().expect("it was set after the reset");
    assert!(matches!(old.wait().unwrap_err().kind(), ErrorKind::WatchRemoved));
    for error in [tx.commit(), other.abort()].map(Result::unwrap_err) {
        assert!(matches!(error.kind(), ErrorKind::TransactionEnded), "{error}");
    }
    assert!(called.recv().is_err(), "the callback is dropped");
    drop((old, new));
    settle(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn who_waits_in_the_receivers_seat_is_told_of_a_reset() {
    let xenstored = Xenstored::new();
    let (entered, is_in) = mpsc::channel();
    let mut way = Hooked::new(xenstored.connect(DomId::DOM0));
    way.before_recv = Box::new(move |_| {
        let _ = entered.send(thread::current().id());
    });
    let client = Client::over(way);
    let mut watch = client.watch("/old").unwrap();
    watch.wait().unwrap();
    let waiting = thread::spawn(move || watch.wait().unwrap_err());
    while is_in.recv().unwrap() != waiting.thread().id() {}
    client.reset_watches().unwrap();
    let error = in_time(move || waiting.join().unwrap());
    assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
}

#[test]
fn a_watch_that_cannot_be_removed_at_once_is_removed_later() {
    let (xenstored, client) = start();
    let watch = client.watch("/a").unwrap();
    let fault = xenstored.inject(Fault::delay().times(FULL as u64));
    let pending = fill(&client);
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.unwatch(watch.token()).unwrap_err().is_timeout());
    fault.release();
    drop(pending);
    settle(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn a_watch_that_is_set_too_late_is_removed() {
    let (xenstored, client) = start();
    // It is set, and the answer waits for the next one.
    xenstored.inject(Fault::merge().on(MessageType::Watch));
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.watch("/a").unwrap_err().is_timeout());
    settle(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn a_transaction_that_starts_too_late_is_aborted() {
    let (xenstored, client) = start();
    xenstored.record();
    // It is open, and the answer waits for the next one.
    xenstored.inject(Fault::merge().on(MessageType::TransactionStart));
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.start_transaction().unwrap_err().is_timeout());
    settle(&client);
    let records = xenstored.take_records();
    let abort = Request::TransactionEnd { commit: false };
    let aborts = records.iter().filter(|record| record.request().is_some_and(|r| r == abort));
    assert_eq!(aborts.count(), 1);
}

#[test]
fn a_watch_that_is_refused_needs_no_removal() {
    let (xenstored, client) = start();
    xenstored.inject(Fault::error(ErrorCode::Quota).on(MessageType::Watch));
    xenstored.record();
    assert_eq!(client.watch("/a").unwrap_err().code(), Some(&ErrorCode::Quota));
    settle(&client);
    let records = xenstored.take_records();
    let is_removal = |record: &&Record| matches!(record.request(), Some(Request::Unwatch { .. }));
    assert_eq!(records.iter().find(is_removal), None);
}

#[cfg(feature = "futures")]
#[test]
fn a_removal_that_is_dropped_still_removes() {
    let (xenstored, client) = start();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    futures_lite::future::block_on(async {
        let watch = tasks.watch("/a").await.unwrap();
        let fault = xenstored.inject(Fault::delay().times(FULL as u64));
        let pending = fill(&client);
        assert!(futures_lite::future::poll_once(watch.remove()).await.is_none());
        fault.release();
        drop(pending);
    });
    settle(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn a_transaction_is_ended_once() {
    let (xenstored, client) = start();
    xenstored.record();
    let dropped = |tx| {
        drop(tx);
        Ok(())
    };
    for end in [Transaction::commit, Transaction::abort, dropped] {
        let tx = client.start_transaction().unwrap();
        end(tx).unwrap();
        settle(&client);
        let records = xenstored.take_records();
        let is_end =
            |record: &&Record| matches!(record.request(), Some(Request::TransactionEnd { .. }));
        assert_eq!(records.iter().filter(is_end).count(), 1, "{records:?}");
    }
}

#[test]
fn a_token_of_another_client_removes_nothing() {
    let xenstored = Xenstored::new();
    let [one, other] = [(); 2].map(|()| Client::over(xenstored.connect(DomId::DOM0)));
    let theirs = one.watch("/one").unwrap();
    let mut ours = other.watch("/other").unwrap();
    other.unwatch(theirs.token()).unwrap();
    ours.wait().unwrap();
}

#[test]
fn who_waits_for_an_answer_leaves_no_timer_behind() {
    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    let (_xenstored, client) = start();
    let task = Arc::new(Task);
    let kept = Arc::downgrade(&task);
    let waker = Waker::from(task);
    let mut pending = client.start(&op::directory("/")).unwrap();
    let mut cx = Context::from_waker(&waker);
    assert!(Future::poll(std::pin::Pin::new(&mut pending), &mut cx).is_pending());
    pending.wait().unwrap();
    client.exists("/").unwrap();
    drop(waker);
    assert!(kept.upgrade().is_none(), "its waker is still there");
}

#[test]
fn an_answer_is_taken_once() {
    let (_xenstored, client) = start();
    let mut pending = client.start(&op::directory("/")).unwrap();
    client.exists("/").unwrap();
    assert!(pending.try_take().unwrap().is_ok());
    assert!(pending.try_take().is_none());
    let error = pending.wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
}
