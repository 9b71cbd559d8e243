//! Wakers, transports, ways to connect and subscribers are other people's code: what they do, a panic
//! included, must harm nobody else.

mod host;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId, EventKind, Pending, op};
use xs_transport::Transport;
use xs_transport::mock::{Fault, Xenstored};

use host::{Hooked, PATIENCE, in_time};

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
fn unanswered(user: impl FnOnce(&Client) + Send + 'static) {
    let (xenstored, client) = client();
    xenstored.inject(Fault::ignore().times(u64::MAX));
    in_time(move || user(&client));
}

#[test]
fn one_may_be_the_last_of_its_task_when_a_request_is_dropped() {
    unanswered(|client| {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(client)).is_pending());
        drop(pending);
    });
}

#[test]
fn one_may_be_the_last_of_its_task_when_another_takes_its_place() {
    unanswered(|client| {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(client)).is_pending());
        assert!(poll(&mut pending, Waker::noop()).is_pending());
    });
}

#[test]
fn one_may_be_the_last_of_its_task_when_the_deadline_has_passed() {
    unanswered(|client| {
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
    in_time(move || {
        let mut pending = client.start(&op::read("/")).unwrap();
        assert!(poll(&mut pending, &last_waker(&client)).is_pending());
        fault.release();
        client.read("/").unwrap();
        assert!(poll(&mut pending, Waker::noop()).is_ready());
    });
}

#[test]
fn a_transport_that_panics_ends_the_connection() {
    let is_armed = AtomicBool::new(true);
    let mut way = Hooked::new(Xenstored::new().connect(DomId::DOM0));
    way.after_recv =
        Box::new(move |_| assert!(!is_armed.swap(false, Ordering::SeqCst), "as meant"));
    let client = Client::builder().timeout(None).over(way);
    in_time(move || {
        let error = client.read("/").unwrap_err();
        assert!(error.is_lost() && error.to_string().contains("panicked"), "{error}");
        assert!(client.read("/").unwrap_err().is_lost());
    });
}

#[test]
fn a_way_to_connect_that_panics_ends_no_callback() {
    let xenstored = Xenstored::new();
    let opened = AtomicUsize::new(0);
    let line = Arc::new(Mutex::new(None));
    let place = line.clone();
    let (panicking, has_panicked) = mpsc::channel();
    let client = Client::builder()
        .reconnect(true)
        .over_each(move |_| {
            if opened.fetch_add(1, Ordering::SeqCst) == 1 {
                panicking.send(()).unwrap();
                panic!("as it is meant to");
            }
            let pipe = Arc::new(xenstored.connect(DomId::DOM0));
            *place.lock().unwrap() = Some(pipe.clone());
            Ok(Box::new(pipe))
        })
        .unwrap();
    let (sender, events) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    let next = || events.recv_timeout(PATIENCE).unwrap().unwrap().kind;
    assert_eq!(next(), EventKind::Fired);
    line.lock().unwrap().take().expect("it is connected").close();
    has_panicked.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), EventKind::Reconnected);
}

#[test]
fn a_callback_that_panics_when_it_is_dropped_ends_no_other() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("as it is meant to");
        }
    }
    let (_xenstored, client) = client();
    let holds = Panics;
    let bad = move |_| {
        let _ = &holds;
        panic!("and before that");
    };
    client.watch_with("/bad", bad).unwrap();
    let (sender, events) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    let next = || events.recv_timeout(PATIENCE).unwrap().unwrap().kind;
    assert_eq!(next(), EventKind::Fired);
    client.write("/a", "1").unwrap();
    assert_eq!(next(), EventKind::Fired);
}

#[cfg(feature = "tracing")]
mod subscribers {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Does something when it is told of something.
    struct Does<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Subscriber for Does<F> {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            (self.0)();
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn told<R>(does: impl Fn() + Send + Sync + 'static, of: impl FnOnce() -> R) -> R {
        tracing::subscriber::with_default(Does(does), of)
    }

    #[test]
    fn one_may_use_the_client() {
        in_time(|| {
            let (_xenstored, client) = client();
            let used = client.clone();
            told(
                move || drop(used.transport_name()),
                || {
                    drop(client.watch("/a"));
                    client.close();
                },
            );
        });
    }

    #[test]
    fn one_that_panics_holds_up_nobody() {
        in_time(|| {
            let xenstored = Xenstored::new();
            let client = Client::builder().timeout(None).over(xenstored.connect(DomId::DOM0));
            let watch = told(
                || panic!("as it is meant to"),
                || catch_unwind(AssertUnwindSafe(|| client.watch("/a"))),
            );
            drop(watch);
            client.write("/a", "1").unwrap();
        });
    }
}
