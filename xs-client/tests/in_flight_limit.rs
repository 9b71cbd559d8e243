//! Tests of the limit on requests in flight: blocking calls wait for a free slot, `start` fails.

mod support;

use std::time::Duration;

use xs_client::{Client, ErrorKind, op};
use xs_transport::mock::{Fault, FaultHandle};

use support::daemon::{self, FULL, fill};
use support::waiting::{HANG_GUARD, in_time};

/// Returns a client, and a handle that holds back the replies to its next [`FULL`] requests.
fn start_with_held_replies() -> (FaultHandle, Client) {
    let (xenstored, client) = daemon::start();
    (xenstored.inject(Fault::delay().times(FULL as u64)), client)
}

#[test]
fn start_fails_when_the_table_is_full() {
    let (replies, client) = start_with_held_replies();
    let pending = fill(&client);
    let error = client.start(&op::read("/")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyRequests), "{error}");
    // A cancelled request occupies its slot until its reply arrives.
    drop(pending);
    let error = client.start(&op::read("/")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyRequests), "{error}");
    replies.release();
    client.read("/").unwrap();
    client.start(&op::read("/")).unwrap().wait().unwrap();
}

#[test]
fn blocking_calls_time_out_while_the_table_is_full() {
    let (_replies, client) = start_with_held_replies();
    let _pending = fill(&client);
    in_time(move || {
        let hasty = client.with_timeout(Duration::from_millis(1));
        assert!(hasty.read("/").unwrap_err().is_timeout());
        assert!(hasty.write_many([("/a", "1")]).pop().unwrap().unwrap_err().is_timeout());
    });
}

#[cfg(feature = "futures")]
#[test]
fn futures_time_out_while_the_table_is_full() {
    use futures_lite::future::{block_on, poll_once};

    let (replies, client) = start_with_held_replies();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    let pending = fill(&client);
    in_time(move || {
        let mut patient = Box::pin(tasks.read("/"));
        block_on(async {
            assert!(poll_once(&mut patient).await.is_none());
            let hasty = tasks.with_timeout(Duration::from_millis(1));
            assert!(hasty.read("/").await.unwrap_err().is_timeout());
            replies.release();
            patient.await.unwrap();
        });
        drop(pending);
    });
}

#[cfg(feature = "futures")]
#[test]
fn futures_dropped_while_the_table_is_full_keep_no_wakers() {
    use support::wakers::{poll, tracked_waker};

    let (_replies, client) = start_with_held_replies();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    let _pending = fill(&client);
    for timeout in [None, Some(HANG_GUARD)] {
        let (waker, kept) = tracked_waker();
        let patient = tasks.with_timeout(timeout);
        let mut read = Box::pin(patient.read("/"));
        assert!(poll(&mut read, &waker).is_pending());
        drop((read, waker));
        assert!(kept.upgrade().is_none(), "the client keeps the waker");
    }
}
