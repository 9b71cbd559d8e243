//! Odd turns of events: callbacks that are stopped while they run, event sources that follow each
//! other, resets and refusals that come late, transports that do strange things.
#![cfg(all(feature = "futures", feature = "mio"))]

mod host;

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId, ErrorCode, ErrorKind, futures};
use xs_proto::{Limits, MessageType};
use xs_transport::mock::{Fault, Pipe, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait};

use host::{Edges, Host, PATIENCE, in_time, start};

/// A callback that is not to come, or a loop that is to rest, gets so long to show that it does not.
const QUIET: Duration = Duration::from_millis(300);

#[test]
fn deadlines_pass_while_each_attempt_takes_its_time() {
    let xenstored = Xenstored::new();
    let opened = AtomicUsize::new(0);
    let client = Client::builder()
        .timeout(Duration::from_millis(200))
        .reconnect(true)
        .over_each({
            let xenstored = xenstored.clone();
            move |timeout| {
                if opened.fetch_add(1, Ordering::SeqCst) > 0 {
                    // As connect(2) does when the daemon hangs and its backlog is full.
                    thread::sleep(timeout);
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Ok(Box::new(xenstored.connect(DomId::DOM0)))
            }
        })
        .unwrap();
    let tasks = futures::Client::on_thread(client).unwrap();
    futures_lite::future::block_on(tasks.read("/")).unwrap();
    xenstored.disconnect_all();
    thread::sleep(Duration::from_millis(50));
    in_time(move || futures_lite::future::block_on(tasks.read("/")).unwrap_err());
}

#[test]
fn no_callback_runs_when_stop_returns() {
    for with_tasks in [false, true] {
        stop_while_one_runs(with_tasks);
    }
}

/// With futures that rely on the thread, it goes on; without any, it ends.
fn stop_while_one_runs(with_tasks: bool) {
    let (_xenstored, client) = start();
    let _tasks = with_tasks.then(|| futures::Client::on_thread(client.clone()).unwrap());
    let (entered, is_in) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let finished = Arc::new(AtomicBool::new(false));
    let (user, done) = (client.clone(), finished.clone());
    client
        .watch_with("/a", move |_| {
            user.watch_stop();
            entered.send(()).unwrap();
            gone.recv().unwrap();
            done.store(true, Ordering::SeqCst);
        })
        .unwrap();
    is_in.recv_timeout(PATIENCE).unwrap();
    thread::spawn(move || {
        thread::sleep(QUIET);
        go.send(())
    });
    client.watch_stop();
    assert!(finished.load(Ordering::SeqCst), "the callback still runs: {with_tasks}");
}

#[test]
fn none_runs_when_the_second_stop_returns() {
    let (_xenstored, client) = start();
    let (entered, is_in) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let finished = Arc::new(AtomicBool::new(false));
    let done = finished.clone();
    client
        .watch_with("/a", move |_| {
            entered.send(()).unwrap();
            gone.recv().unwrap();
            done.store(true, Ordering::SeqCst);
        })
        .unwrap();
    is_in.recv().unwrap();
    let other = client.clone();
    thread::spawn(move || other.watch_stop());
    thread::sleep(QUIET);
    thread::spawn(move || {
        thread::sleep(QUIET);
        go.send(())
    });
    client.watch_stop();
    assert!(finished.load(Ordering::SeqCst), "the callback still runs");
}

#[test]
fn a_paused_callback_is_not_told_of_the_end() {
    let (_xenstored, client) = start();
    let _tasks = futures::Client::on_thread(client.clone()).unwrap();
    let (sender, called) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    called.recv_timeout(PATIENCE).unwrap().unwrap();
    client.watch_stop();
    client.close();
    let called = called.recv_timeout(QUIET);
    assert!(matches!(called, Err(mpsc::RecvTimeoutError::Timeout)), "{called:?}");
}

#[test]
fn futures_start_no_stopped_callback() {
    for before in [false, true] {
        let (_xenstored, client) = start();
        let _tasks = before.then(|| futures::Client::on_thread(client.clone()).unwrap());
        let (sender, called) = mpsc::channel();
        client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
        called.recv_timeout(PATIENCE).unwrap().unwrap();
        client.watch_stop();
        let _tasks = futures::Client::on_thread(client.clone()).unwrap();
        client.write("/a", "1").unwrap();
        let called = called.recv_timeout(QUIET);
        assert!(called.is_err(), "{before}: {called:?}");
    }
}

#[test]
fn an_event_source_that_goes_leaves_the_next_one_alone() {
    let (xenstored, client) = start();
    let first = client.event_source().unwrap();
    let mut source = client.event_source().unwrap();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    source.process().unwrap();
    drop(first);
    xenstored.set("/a", "1").unwrap();
    client.read("/a").unwrap();
    let mut poll = mio::Poll::new().unwrap();
    poll.registry().register(&mut source, mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "the event is hidden: {:?}", watch.try_next());
}

#[derive(Debug)]
struct Odd {
    way: Pipe,
    panics: bool,
    more: bool,
    on_drop: Option<Arc<OnceLock<Client>>>,
}

impl Odd {
    fn new(way: Pipe) -> Self {
        Odd { way, panics: false, more: false, on_drop: None }
    }
}

impl Transport for Odd {
    fn limits(&self) -> Limits {
        assert!(!self.panics, "as meant");
        self.way.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let sent = self.way.send(bytes)?;
        Ok(if self.more { Sent::Bytes(bytes.len() + 1) } else { sent })
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.way.recv(buf, wait)
    }

    fn wait(&self, i: Interest, d: Option<Instant>) -> io::Result<()> {
        self.way.wait(i, d)
    }

    fn wake(&self) {
        self.way.wake()
    }

    fn close(&self) {
        self.way.close()
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.way.fd()
    }

    fn describe(&self) -> String {
        "odd".into()
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        if let Some(client) = self.on_drop.as_ref().and_then(|place| place.get()) {
            println!("{} has gone", client.transport_name());
        }
    }
}

#[test]
fn limits_that_panic_hold_up_nobody() {
    let xenstored = Xenstored::new();
    let opened = AtomicUsize::new(0);
    let host = xenstored.clone();
    let client = Client::builder()
        .timeout(None)
        .reconnect(true)
        .over_each(move |_| {
            let mut way = Odd::new(host.connect(DomId::DOM0));
            way.panics = opened.fetch_add(1, Ordering::SeqCst) == 1;
            Ok(Box::new(way))
        })
        .unwrap();
    xenstored.disconnect_all();
    assert!(client.read("/").is_err());
    let bad = catch_unwind(AssertUnwindSafe(|| client.read("/")));
    assert!(bad.is_err());
    in_time(move || client.read("/").unwrap());
}

#[test]
fn a_refused_watch_is_not_left_behind() {
    let host = Host::new();
    let client = host.client();
    // What comes is received by those who wait: it tells of nothing.
    let rests = Edges(Arc::default());
    let (tasks, _driver) = futures::Client::with_reactor(client.clone(), rests).unwrap();
    host.xenstored.inject(Fault::error(ErrorCode::NoSpace).on(MessageType::Watch));
    let mut setting = Box::pin(tasks.watch("/a"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(setting.as_mut().poll(&mut cx).is_pending());
    client.read("/").unwrap();
    // The refusal is here, and not fetched yet.
    host.cut();
    while client.read("/").is_err() {}
    client.read("/").unwrap();
    let error = futures_lite::future::block_on(setting).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Refused(_)), "{error}");
    for _ in 0..2 {
        client.exists("/").unwrap();
    }
    assert_eq!(host.watches(), Vec::<String>::new());
}

#[test]
fn a_transport_that_is_dropped_may_use_the_client() {
    let xenstored = Xenstored::new();
    let place: Arc<OnceLock<Client>> = Arc::default();
    let (host, shared) = (xenstored.clone(), place.clone());
    let client = Client::builder()
        .timeout(PATIENCE)
        .reconnect(true)
        .over_each(move |_| {
            let mut way = Odd::new(host.connect(DomId::DOM0));
            way.on_drop = Some(shared.clone());
            Ok(Box::new(way))
        })
        .unwrap();
    place.set(client.clone()).unwrap();
    xenstored.disconnect_all();
    assert!(client.read("/").is_err());
    in_time(move || client.read("/").unwrap());
}

#[test]
fn looking_rings_nothing() {
    let (_xenstored, client) = start();
    let mut source = client.event_source().unwrap();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut poll = mio::Poll::new().unwrap();
    poll.registry().register(&mut source, mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(4);
    let mut turns = 0;
    loop {
        poll.poll(&mut events, Some(QUIET)).unwrap();
        if events.is_empty() {
            break;
        }
        source.process().unwrap();
        while watch.try_next().unwrap().is_some() {}
        turns += 1;
        assert!(turns < 100, "it spins");
    }
}

#[test]
fn a_reset_ends_a_transaction_whose_start_was_under_way() {
    let (xenstored, client) = start();
    let fault = xenstored.inject(Fault::merge().on(MessageType::TransactionStart));
    let user = client.clone();
    let starting = thread::spawn(move || user.start_transaction().unwrap());
    while fault.hits() == 0 {
        thread::yield_now();
    }
    client.reset_watches().unwrap();
    let tx = starting.join().unwrap();
    let error = tx.commit().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TransactionEnded), "{error:?}");
}

#[test]
fn a_transport_that_says_too_much_holds_up_nobody() {
    let mut way = Odd::new(Xenstored::new().connect(DomId::DOM0));
    way.more = true;
    let client = Client::builder().timeout(None).over(way);
    let _ = catch_unwind(AssertUnwindSafe(|| client.read("/")));
    in_time(move || drop(client.read("/")));
}

#[test]
fn a_reset_drops_callbacks_that_nobody_runs() {
    let (_xenstored, client) = start();
    let (sender, called) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    called.recv_timeout(PATIENCE).unwrap().unwrap();
    client.watch_stop();
    client.reset_watches().unwrap();
    assert_eq!(called.try_recv().map(drop), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_reset_that_is_late_drops_callbacks() {
    let (xenstored, client) = start();
    let (sender, called) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    called.recv_timeout(PATIENCE).unwrap().unwrap();
    let fault = xenstored.inject(Fault::delay().on(MessageType::ResetWatches));
    assert!(
        client.with_timeout(Duration::from_millis(50)).reset_watches().unwrap_err().is_timeout()
    );
    fault.release();
    for _ in 0..3 {
        client.exists("/").unwrap();
    }
    assert_eq!(xenstored.watches(DomId::DOM0), []);
    let called = called.recv_timeout(PATIENCE);
    assert!(matches!(called, Err(mpsc::RecvTimeoutError::Disconnected)), "{called:?}");
}
