//! When as many requests are under way as there may be, others wait for room.

mod host;

use std::time::Duration;

use xs_client::{Client, ErrorKind, op};
use xs_transport::mock::{Fault, FaultHandle};

use host::{FULL, fill, in_time};

/// A client whose next [`FULL`] requests are answered when that is released.
fn start() -> (FaultHandle, Client) {
    let (xenstored, client) = host::start();
    (xenstored.inject(Fault::delay().times(FULL as u64)), client)
}

#[test]
fn what_does_not_wait_says_so() {
    let (answers, client) = start();
    let pending = fill(&client);
    let error = client.start(&op::read("/")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyRequests), "{error}");
    // Nobody wants those answers any more, but they are to come.
    drop(pending);
    let error = client.start(&op::read("/")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyRequests), "{error}");
    answers.release();
    client.read("/").unwrap();
    client.start(&op::read("/")).unwrap().wait().unwrap();
}

#[test]
fn a_thread_gives_up_at_its_deadline() {
    let (_answers, client) = start();
    let _pending = fill(&client);
    in_time(move || {
        let hasty = client.with_timeout(Duration::from_millis(1));
        assert!(hasty.read("/").unwrap_err().is_timeout());
        assert!(hasty.write_many([("/a", "1")]).pop().unwrap().unwrap_err().is_timeout());
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_task_gives_up_at_its_deadline_and_another_goes_on() {
    use futures_lite::future::{block_on, poll_once};

    let (answers, client) = start();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    let pending = fill(&client);
    in_time(move || {
        let mut patient = Box::pin(tasks.read("/"));
        block_on(async {
            assert!(poll_once(&mut patient).await.is_none());
            let hasty = tasks.with_timeout(Duration::from_millis(1));
            assert!(hasty.read("/").await.unwrap_err().is_timeout());
            answers.release();
            patient.await.unwrap();
        });
        drop(pending);
    });
}
