//! Requests in flight and transactions: each is answered once and cleaned up once.

mod support;

use std::time::Duration;

use xs_client::{ErrorKind, Transaction, op};
use xs_proto::{MessageType, Request};
use xs_transport::mock::{Fault, Record};

use support::daemon::{finish_cleanup, start};
use support::wakers::{poll, tracked_waker};

#[test]
fn answer_is_returned_once() {
    let (_xenstored, client) = start();
    let mut pending = client.start(&op::directory("/")).unwrap();
    client.exists("/").unwrap();
    assert!(pending.try_take().unwrap().is_ok());
    assert!(pending.try_take().is_none());
    let error = pending.wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
}

#[test]
fn answered_request_keeps_no_waker() {
    let (_xenstored, client) = start();
    let (waker, kept) = tracked_waker();
    let mut pending = client.start(&op::directory("/")).unwrap();
    assert!(poll(&mut pending, &waker).is_pending());
    pending.wait().unwrap();
    client.exists("/").unwrap();
    drop(waker);
    assert!(kept.upgrade().is_none(), "the client keeps the waker");
}

#[test]
fn transaction_that_starts_after_its_deadline_is_aborted() {
    let (xenstored, client) = start();
    xenstored.record();
    // The daemon starts the transaction, and sends its reply with the next one.
    xenstored.inject(Fault::merge().on(MessageType::TransactionStart));
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.start_transaction().unwrap_err().is_timeout());
    finish_cleanup(&client);
    let records = xenstored.take_records();
    let abort = Request::TransactionEnd { commit: false };
    let aborts = records.iter().filter(|record| record.request().is_some_and(|r| r == abort));
    assert_eq!(aborts.count(), 1);
}

#[test]
fn transaction_is_ended_once() {
    let (xenstored, client) = start();
    xenstored.record();
    let dropped = |tx| {
        drop(tx);
        Ok(())
    };
    for end in [Transaction::commit, Transaction::abort, dropped] {
        let tx = client.start_transaction().unwrap();
        end(tx).unwrap();
        finish_cleanup(&client);
        let records = xenstored.take_records();
        let is_end =
            |record: &&Record| matches!(record.request(), Some(Request::TransactionEnd { .. }));
        assert_eq!(records.iter().filter(is_end).count(), 1, "{records:?}");
    }
}
