//! Wakers are other people's code: what they do when called, or dropped, must harm nobody.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId, Pending, op};
use xs_transport::mock::{Fault, Xenstored};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

fn client() -> (Xenstored, Client) {
    let xenstored = Xenstored::new();
    let client = Client::over(xenstored.connect(DomId::DOM0));
    (xenstored, client)
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn one_that_panics_keeps_nobody_from_being_woken() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as it is meant to");
        }
    }
    #[derive(Default)]
    struct Counts(AtomicU32);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (xenstored, client) = client();
    let fault = xenstored.inject(Fault::delay().times(2));
    let mut pending = [(); 2].map(|()| client.start(&op::read("/")).unwrap());
    let counts = Arc::new(Counts::default());
    let wakers = [Waker::from(Arc::new(Panics)), Waker::from(counts.clone())];
    for (pending, waker) in pending.iter_mut().zip(&wakers) {
        assert!(poll(pending, waker).is_pending());
    }
    fault.release();
    assert!(client.read("/").is_ok(), "who receives is none of their business");
    assert_eq!(counts.0.load(Ordering::SeqCst), 1);
    for pending in &mut pending {
        assert!(poll(pending, Waker::noop()).is_ready());
    }
}

/// A task, as a simple executor has it: it goes with the last of its wakers.
struct Task(#[expect(dead_code, reason = "it is there to be dropped")] Mutex<Pending<Vec<u8>>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

/// The only waker of a task with a request under way.
fn last_waker(client: &Client) -> Waker {
    Waker::from(Arc::new(Task(Mutex::new(client.start(&op::read("/")).unwrap()))))
}

/// Runs `user`, which hangs if a waker is dropped under a lock.
fn in_time(user: impl FnOnce(&Client) + Send + 'static) {
    let (xenstored, client) = client();
    xenstored.inject(Fault::ignore().times(u64::MAX));
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        user(&client);
        sender.send(()).unwrap();
    });
    done.recv_timeout(PATIENCE).expect("it ends");
}

#[test]
fn one_may_be_the_last_of_its_task_when_a_request_is_dropped() {
    in_time(|client| {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(client)).is_pending());
        drop(pending);
    });
}

#[test]
fn one_may_be_the_last_of_its_task_when_another_takes_its_place() {
    in_time(|client| {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(client)).is_pending());
        assert!(poll(&mut pending, Waker::noop()).is_pending());
    });
}

#[test]
fn one_may_be_the_last_of_its_task_when_the_deadline_has_passed() {
    in_time(|client| {
        let client = client.with_timeout(Duration::from_millis(1));
        let mut pending = client.start(&op::read("/")).unwrap();
        let _ = poll(&mut pending, &last_waker(&client));
        while pending.try_take().is_none() {
            thread::yield_now();
        }
    });
}

#[test]
fn one_may_be_the_last_of_its_task_when_a_request_is_answered() {
    let (xenstored, client) = client();
    let fault = xenstored.inject(Fault::delay().times(2));
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(&client)).is_pending());
        fault.release();
        client.read("/").unwrap();
        assert!(poll(&mut pending, Waker::noop()).is_ready());
        sender.send(()).unwrap();
    });
    done.recv_timeout(PATIENCE).expect("it ends");
}
