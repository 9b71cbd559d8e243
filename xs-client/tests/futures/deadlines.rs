//! Deadlines of futures.

use std::task::Waker;
use std::thread;
use std::time::Duration;

use xs_transport::mock::Fault;

use crate::everywhere;
use crate::support::daemon::start_flood;
use crate::support::runtimes::on_each_runtime;
use crate::support::waiting::in_time;
use crate::support::wakers::poll;

#[test]
fn late_reply_is_not_given_to_next_request() {
    everywhere(|client, xenstored| async move {
        client.write("/a", "1").await.unwrap();
        let fault = xenstored.inject(Fault::delay());
        let error = client.with_timeout(Duration::from_millis(10)).read("/a").await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        fault.release();
        client.write("/b", "2").await.unwrap();
        assert_eq!(client.read("/b").await.unwrap(), b"2");
    });
}

#[test]
fn deadlines_pass_while_another_thread_receives() {
    everywhere(|client, xenstored| async move {
        let mut watch = client.blocking().watch("/w").unwrap();
        watch.wait().unwrap();
        let thread = thread::spawn(move || watch.wait());
        xenstored.inject(Fault::ignore());
        let error = client.with_timeout(Duration::from_millis(20)).read("/a").await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        client.write("/w", "").await.unwrap();
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn deadline_wakes_task_that_polled_last() {
    everywhere(|client, xenstored| async move {
        xenstored.inject(Fault::ignore());
        let impatient = client.with_timeout(Duration::from_millis(20));
        let mut read = Box::pin(impatient.read("/a"));
        // The first poll is that of another task.
        assert!(poll(&mut read, Waker::noop()).is_pending());
        assert!(read.await.unwrap_err().is_timeout());
    });
}

#[test]
fn deadlines_pass_in_flood_of_events() {
    let start = || {
        let (xenstored, client) = start_flood();
        (client, xenstored)
    };
    in_time(move || {
        on_each_runtime(start, |client, xenstored| async move {
            let _watch = client.watch("/w").await.unwrap();
            xenstored.inject(Fault::ignore());
            let hasty = client.with_timeout(Duration::from_millis(20));
            assert!(hasty.read("/").await.unwrap_err().is_timeout());
        });
    });
}
