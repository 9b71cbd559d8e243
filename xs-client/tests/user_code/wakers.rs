//! Wakers of tasks.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use xs_client::{Client, op};
use xs_transport::mock::Fault;

use crate::support::daemon::start;
use crate::support::waiting::{in_time, wait_until};
use crate::support::wakers::{counting_waker, poll, waker};

#[test]
fn panicking_waker_does_not_keep_others_from_being_woken() {
    let (xenstored, client) = start();
    let fault = xenstored.inject(Fault::delay().times(2));
    let mut pending = [(); 2].map(|()| client.start(&op::read("/")).unwrap());
    let (counting, woken) = counting_waker();
    let wakers = [waker(|| panic!("a panic that the test expects")), counting];
    for (pending, waker) in pending.iter_mut().zip(&wakers) {
        assert!(poll(pending, waker).is_pending());
    }
    fault.release();
    assert!(client.read("/").is_ok(), "the panic has reached the thread that receives");
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    for pending in &mut pending {
        assert!(poll(pending, Waker::noop()).is_ready());
    }
}

/// Returns the only waker of a task that has a request in flight.
///
/// As with a simple executor, the waker owns the task: dropping the waker drops the request.
fn last_waker(client: &Client) -> Waker {
    let request = Mutex::new(client.start(&op::read("/")).unwrap());
    waker(move || {
        let _ = &request;
    })
}

/// Runs `user` with a daemon that answers nothing. It hangs if a waker is dropped under a lock.
fn without_answers(user: impl FnOnce(&Client) + Send + 'static) {
    let (xenstored, client) = start();
    xenstored.inject(Fault::ignore().times(u64::MAX));
    in_time(move || user(&client));
}

#[test]
fn last_waker_may_be_dropped_with_its_request() {
    without_answers(|client| {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(client)).is_pending());
        drop(pending);
    });
}

#[test]
fn last_waker_may_be_replaced() {
    without_answers(|client| {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(client)).is_pending());
        assert!(poll(&mut pending, Waker::noop()).is_pending());
    });
}

#[test]
fn last_waker_may_be_dropped_at_deadline() {
    without_answers(|client| {
        let client = client.with_timeout(Duration::from_millis(1));
        let mut pending = client.start(&op::read("/")).unwrap();
        let _ = poll(&mut pending, &last_waker(&client));
        wait_until(|| pending.try_take().is_some(), "the deadline does not pass");
    });
}

#[test]
fn last_waker_may_be_dropped_when_request_is_answered() {
    let (xenstored, client) = start();
    let fault = xenstored.inject(Fault::delay().times(2));
    in_time(move || {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(&client)).is_pending());
        fault.release();
        client.read("/").unwrap();
        assert!(poll(&mut pending, Waker::noop()).is_ready());
    });
}
