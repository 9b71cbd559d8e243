//! The driver, which moves the bytes of all futures, beside other tasks and threads.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread;

use xs_client::futures::Client;
use xs_client::{DomId, EventKind};
use xs_transport::Wait;
use xs_transport::mock::Xenstored;

use crate::support::daemon::TestDaemon;
use crate::support::intercept::Intercept;
use crate::support::reactor::EdgeTriggered;
use crate::support::runtimes::{block_on_tokio, on_each_runtime};
use crate::support::threads::Gate;
use crate::support::waiting::{in_time, wait_until};
use crate::support::wakers::{counting_waker, waker};

#[test]
fn concurrent_requests_are_sent_together() {
    let count = Arc::new(AtomicUsize::new(0));
    let sent = count.clone();
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .on_send(move |below, bytes| {
            sent.fetch_add(1, Ordering::SeqCst);
            below.send(bytes)
        })
        .on_recv(|below, buf, wait| below.recv(&mut buf[..1], wait));
    let take_sends = || count.swap(0, Ordering::SeqCst);
    block_on_tokio(async {
        let (client, driver) =
            Client::with_tokio_driver(xs_client::Client::from_transport(transport)).unwrap();
        tokio::spawn(driver);
        client.write("/a", "1").await.unwrap();
        assert_eq!(take_sends(), 1);

        // The first request is sent at once, the others together.
        let read = async |client: Client| client.read("/a").await;
        let tasks: Vec<_> = (0..64).map(|_| tokio::spawn(read(client.clone()))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), b"1");
        }
        assert_eq!(take_sends(), 2);

        assert!(client.read_many(["/a"; 64]).await.iter().all(Result::is_ok));
        assert_eq!(take_sends(), 2);
    });
}

#[test]
fn driver_receives_what_another_reader_leaves() {
    let xenstored = Xenstored::new();
    let gate = Gate::opened();
    let reader_gate = gate.clone();
    // Receives single bytes, so that a reader leaves the bytes behind its event.
    let transport =
        Intercept::new(xenstored.connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            if wait != Wait::No {
                reader_gate.pass();
            }
            below.recv(&mut buf[..1], wait)
        });
    let edge = Arc::new(AtomicBool::new(true));
    let blocking = xs_client::Client::from_transport(transport);
    let mut watch = blocking.watch("/w").unwrap();
    watch.wait().unwrap();
    let (client, driver) = Client::with_reactor(blocking, EdgeTriggered(edge.clone())).unwrap();
    let mut driver = pin!(driver);
    let (waker, woken) = counting_waker();
    let mut cx = Context::from_waker(&waker);
    assert!(driver.as_mut().poll(&mut cx).is_pending());

    // A thread has the reader role. Its event arrives, followed by the reply to a future.
    gate.close();
    let thread = thread::spawn(move || watch.wait().map(|_| watch));
    gate.wait_for_arrival();
    xenstored.set("/w", "").unwrap();
    let mut read = pin!(client.read("/w"));
    let mut task = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut task).is_pending());
    edge.store(true, Ordering::SeqCst);
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    woken.store(0, Ordering::SeqCst);
    gate.open();
    let _watch = thread.join().unwrap().unwrap();

    // There is no further edge: the thread wakes the driver when it gives up the reader role.
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    assert!(read.as_mut().poll(&mut task).is_ready());
}

#[test]
fn driver_that_is_no_longer_polled_gives_up_reader_role() {
    // The driver has seen that there is nothing to receive, and still has the reader role.
    let gate = Gate::closed();
    let driver_gate = gate.clone();
    let sends = Arc::new(AtomicUsize::new(0));
    let sent = sends.clone();
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .on_send(move |below, bytes| {
            sent.fetch_add(1, Ordering::SeqCst);
            below.send(bytes)
        })
        .on_recv(move |below, buf, wait| {
            let received = below.recv(buf, wait);
            if wait == Wait::No {
                driver_gate.pass();
            }
            received
        });
    let client = xs_client::Client::builder().timeout(None).from_transport(transport);
    // This reactor wakes no task, as if its runtime were busy.
    let ready = EdgeTriggered(Arc::new(AtomicBool::new(true)));
    let (tasks, mut driver) = Client::with_reactor(client.clone(), ready).unwrap();
    let runtime = thread::spawn(move || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(&mut driver).poll(&mut cx).is_pending());
        driver
    });
    gate.wait_for_arrival();
    let reader = client.clone();
    let reading = thread::spawn(move || reader.exists("/tool").unwrap());
    // The thread is about to find the reader role taken.
    wait_until(|| sends.load(Ordering::SeqCst) > 0, "the request is not sent");
    gate.open();
    let driver = runtime.join().unwrap();
    assert!(in_time(move || reading.join().unwrap()));
    drop((tasks, driver));
}

/// One receive has a reply for a task, whose waker uses the client, and leaves a transaction to
/// abort, so that the driver sends at once.
#[test]
fn driver_wakes_tasks_when_it_holds_no_role() {
    let blocking = xs_client::Client::builder()
        .timeout(None)
        .from_transport(Xenstored::new().connect(DomId::DOM0));
    let edge = EdgeTriggered(Arc::new(AtomicBool::new(true)));
    let (client, driver) = Client::with_reactor(blocking.clone(), edge).unwrap();
    in_time(move || {
        let mut task = Context::from_waker(Waker::noop());
        let mut cancelled = Box::pin(client.start_transaction());
        assert!(cancelled.as_mut().poll(&mut task).is_pending());
        drop(cancelled);
        let has_read = Arc::new(AtomicBool::new(false));
        let (user, done) = (blocking.clone(), has_read.clone());
        let reads = waker(move || done.store(user.read("/").is_ok(), Ordering::SeqCst));
        let mut read = pin!(client.read("/"));
        assert!(read.as_mut().poll(&mut Context::from_waker(&reads)).is_pending());
        assert!(pin!(driver).poll(&mut task).is_pending());
        assert!(has_read.load(Ordering::SeqCst));
    });
}

/// A driver that went on to receive would let a flood keep a task from its reply.
#[test]
fn driver_lets_woken_tasks_run_before_it_receives_again() {
    let receives = Arc::new(AtomicUsize::new(0));
    let received = receives.clone();
    let transport =
        Intercept::new(Xenstored::new().connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            received.fetch_add(1, Ordering::SeqCst);
            below.recv(buf, wait)
        });
    let edge = EdgeTriggered(Arc::new(AtomicBool::new(true)));
    let (client, driver) =
        Client::with_reactor(xs_client::Client::from_transport(transport), edge).unwrap();
    let mut task = Context::from_waker(Waker::noop());
    let mut read = pin!(client.read("/"));
    assert!(read.as_mut().poll(&mut task).is_pending());
    assert!(pin!(driver).poll(&mut task).is_pending());
    assert_eq!(receives.load(Ordering::SeqCst), 1);
    assert!(read.as_mut().poll(&mut task).is_ready());
}

#[test]
fn new_connection_is_watched_later_if_it_cannot_be_watched_at_once() {
    let start = || {
        let daemon = TestDaemon::new();
        (daemon.client_without_descriptors(3), daemon)
    };
    on_each_runtime(start, async |client, daemon| {
        let mut watch = client.watch("/a").await.unwrap();
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
        daemon.hang_up();
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Reconnected);
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
    });
}

#[test]
fn driver_that_cannot_be_created_leaves_the_connection_open() {
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .on_fd(|_| Err(io::Error::from_raw_os_error(libc::EMFILE)));
    let client = xs_client::Client::from_transport(transport);
    let idle = EdgeTriggered(Arc::default());
    assert!(Client::with_reactor(client.clone(), idle).is_err());
    client.exists("/").unwrap();
}

/// A driver that woke itself would keep its runtime busy for as long as the daemon is slow.
#[test]
fn driver_rests_while_transport_is_full() {
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .on_send(|_, _| Err(io::ErrorKind::WouldBlock.into()));
    let reactor = EdgeTriggered(Arc::new(AtomicBool::new(true)));
    let (client, driver) =
        Client::with_reactor(xs_client::Client::from_transport(transport), reactor).unwrap();
    let mut driver = pin!(driver);
    let mut read = pin!(client.read("/"));
    assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (waker, woken) = counting_waker();
    woken.store(1, Ordering::SeqCst);
    let mut polls = 0;
    while woken.swap(0, Ordering::SeqCst) > 0 {
        assert!(driver.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        polls += 1;
        assert!(polls < 10, "the driver wakes itself without end");
    }
}
