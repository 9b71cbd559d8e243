//! The futures, on each runtime: tokio with one thread and with several, smol, and none at all.
#![cfg(all(feature = "tokio", feature = "smol"))]

mod host;

use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future;
use xs_client::futures::{Client, Reactor};
use xs_client::{DomId, ErrorKind, EventKind, Retries};
use xs_proto::Request;
use xs_transport::mock::{Fault, Pipe, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait};

use host::{Edges, Hooked, in_time};

/// Runs a test on each runtime, each with an in-memory xenstored of its own.
fn everywhere<F: Future<Output = ()> + Send>(test: fn(Client, Xenstored) -> F) {
    let start = || {
        let xenstored = Xenstored::new();
        (xs_client::Client::over(xenstored.connect(DomId::DOM0)), xenstored)
    };

    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, xenstored) = start();
            let (client, driver) = Client::on_tokio(client).unwrap();
            let driver = tokio::spawn(driver);
            test(client, xenstored).await;
            // All handles are gone: so ends the driver.
            driver.await.unwrap().unwrap();
        });
    }

    smol::block_on(async {
        let (client, xenstored) = start();
        let (client, driver) = Client::on_smol(client).unwrap();
        let driver = smol::spawn(driver);
        test(client, xenstored).await;
        driver.await.unwrap();
    });

    let (client, xenstored) = start();
    future::block_on(test(Client::on_thread(client).unwrap(), xenstored));
}

#[test]
fn operations() {
    everywhere(|client, _| async move {
        client.write("/a", "1").await.unwrap();
        assert_eq!(client.read("/a").await.unwrap(), b"1");
        assert_eq!(client.read_parsed::<u32>("/a").await.unwrap(), 1);
        client.mkdir("/d/e").await.unwrap();
        assert_eq!(client.directory("/d").await.unwrap(), ["e"]);
        client.rm("/d").await.unwrap();
        assert!(!client.exists("/d").await.unwrap());
        let perms = "n0 r5".parse().unwrap();
        client.set_perms("/a", &perms).await.unwrap();
        assert_eq!(client.get_perms("/a").await.unwrap(), perms);
        let error = client.read("/none").await.unwrap_err();
        assert!(error.is_not_found() && error.path() == Some("/none"));
        let error = client.read("bad path").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)));
        assert_eq!(client.get_domain_path(DomId::new(3)).await.unwrap(), "/local/domain/3");
    });
}

#[test]
fn many_at_once_each_with_its_own_answer() {
    everywhere(|client, _| async move {
        let pairs: Vec<_> = (0..5000).map(|at| (format!("/k{at}"), at.to_string())).collect();
        assert!(client.write_many(pairs.clone()).await.iter().all(Result::is_ok));
        let values = client.read_many(pairs.iter().map(|(path, _)| path)).await;
        for ((_, expected), value) in pairs.iter().zip(values) {
            assert_eq!(value.unwrap(), expected.as_bytes());
        }
        let names = client.directory("/").await.unwrap();
        assert!(names.len() >= 5000);
    });
}

#[test]
fn transactions() {
    everywhere(|client, _| async move {
        client.write("/counter", "0").await.unwrap();
        let tx = client.start_transaction().await.unwrap();
        tx.write("/counter", "7").await.unwrap();
        assert_eq!(client.read("/counter").await.unwrap(), b"0");
        tx.commit().await.unwrap();
        assert_eq!(client.read("/counter").await.unwrap(), b"7");

        let tx = client.start_transaction().await.unwrap();
        tx.write("/counter", "8").await.unwrap();
        tx.abort().await.unwrap();
        assert_eq!(client.read("/counter").await.unwrap(), b"7");

        // The first attempts meet changes made by others.
        let attempts = AtomicUsize::new(0);
        let value = client
            .transaction(|tree| {
                let (attempts, client) = (&attempts, &client);
                async move {
                    let value = tree.read_parsed::<u32>("/counter").await?;
                    if attempts.fetch_add(1, Ordering::Relaxed) < 3 {
                        client.write_display("/counter", value + 10).await?;
                    }
                    tree.write_display("/counter", value + 1).await?;
                    Ok(value + 1)
                }
            })
            .await
            .unwrap();
        assert_eq!((value, attempts.into_inner()), (38, 4));

        let retries = Retries { attempts: 2, ..Retries::default() };
        let result = client
            .transaction_with(retries, |tree| {
                let client = &client;
                async move {
                    tree.read("/counter").await?;
                    client.write("/counter", "x").await?;
                    tree.write("/counter", "y").await
                }
            })
            .await;
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { attempts: 2 }));
    });
}

#[test]
fn watches_are_streams() {
    everywhere(|client, _| async move {
        let mut watch = client.watch("/w").await.unwrap();
        assert_eq!(&*watch.next().await.unwrap().unwrap().path, "/w");
        client.write("/w/a", "1").await.unwrap();
        assert_eq!(&*watch.next().await.unwrap().unwrap().path, "/w/a");
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(watch.next_until(Some(soon)).await.unwrap().is_none());

        client.unwatch(watch.token()).await.unwrap();
        client.write("/w/a", "2").await.unwrap();
        assert!(watch.next().await.is_none());
    });
}

#[test]
fn events_are_taken_before_there_are_too_many() {
    let xenstored = Xenstored::new();
    let blocking = xs_client::Client::over(xenstored.connect(DomId::DOM0));
    // More than a watch's queue takes, and all of them before anybody looks.
    let fire = || (0..3000).for_each(|at| xenstored.set(&format!("/w/{at}"), "").unwrap());

    let mut watch = blocking.watch("/w").unwrap();
    assert_eq!(&*watch.wait().unwrap().path, "/w");
    fire();
    for at in 0..3000 {
        let event = watch.wait().unwrap();
        assert_eq!((event.kind, &*event.path), (EventKind::Fired, &*format!("/w/{at}")));
    }
    drop(watch);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, driver) = Client::on_tokio(blocking).unwrap();
        tokio::spawn(driver);
        let mut watch = client.watch("/w").await.unwrap();
        assert_eq!(&*watch.wait().await.unwrap().path, "/w");
        fire();
        // The driver learns of it, and has its turn, while this task is about something else.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        for at in 0..3000 {
            let event = watch.wait().await.unwrap();
            assert_eq!((event.kind, &*event.path), (EventKind::Fired, &*format!("/w/{at}")));
        }
    });
}

#[test]
fn two_watches_in_a_race_lose_nothing() {
    everywhere(|client, _| async move {
        let mut a = client.watch("/a").await.unwrap();
        let mut b = client.watch("/b").await.unwrap();
        a.wait().await.unwrap();
        b.wait().await.unwrap();
        let mut seen = (0, 0);
        for round in 0..200 {
            let path = format!("/{}/{round}", if round % 3 == 0 { "a" } else { "b" });
            client.write(&path, "").await.unwrap();
            // The future that loses the race is dropped.
            let event = future::or(async { a.wait().await }, async { b.wait().await }).await;
            assert_eq!(*event.unwrap().path, *path);
            if round % 3 == 0 { seen.0 += 1 } else { seen.1 += 1 }
        }
        assert_eq!(seen, (67, 133));
    });
}

#[test]
fn wait_for_a_value() {
    everywhere(|client, _| async move {
        let wait = client.wait_for("/state", Duration::from_secs(20), |value| value == Some(b"4"));
        let write = async {
            for state in 1..=4 {
                client.write_display("/state", state).await.unwrap();
                future::yield_now().await;
            }
        };
        let (value, ()) = future::zip(wait, write).await;
        assert_eq!(value.unwrap().unwrap(), b"4");
        let error = client.wait_for("/state", Duration::from_millis(5), |_| false).await;
        assert!(error.unwrap_err().is_timeout());
    });
}

/// Polls a future a number of times, then drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut pinned = pin!(future);
    for _ in 0..polls {
        let polled = pinned.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return;
        }
        future::yield_now().await;
    }
}

#[test]
fn futures_may_be_dropped_at_any_point() {
    everywhere(|client, xenstored| async move {
        client.write("/a", "1").await.unwrap();
        xenstored.record();
        for polls in 0..4 {
            drop_after(polls, client.read("/a")).await;
            drop_after(polls, client.write("/a", vec![b'x'; 4000])).await;
            drop_after(polls, client.watch("/dropped")).await;
            drop_after(polls, client.start_transaction()).await;
            drop_after(polls, client.transaction(|tree| async move { tree.read("/a").await }))
                .await;
            // Whatever came late was not taken for the answer to something else.
            client.write("/b", polls.to_string()).await.unwrap();
            assert_eq!(client.read_parsed::<usize>("/b").await.unwrap(), polls);
        }
        // What was taken back may have left after the last answer; one more settles it.
        client.read("/a").await.unwrap();
        client.read("/a").await.unwrap();
        assert!(xenstored.watches(DomId::DOM0).is_empty());
        let records = xenstored.take_records();
        let count = |is: fn(&Request<'_>) -> bool| {
            records
                .iter()
                .filter(|record| record.request().is_some_and(|request| is(&request)))
                .count()
        };
        let started = count(|request| *request == Request::TransactionStart);
        let ended = count(|request| matches!(request, Request::TransactionEnd { .. }));
        assert!(started >= 6);
        assert_eq!(started, ended);
    });
}

#[test]
fn an_overdue_answer_is_an_error_and_the_next_one_is_right() {
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
fn when_the_connection_is_lost_everybody_is_told() {
    everywhere(|client, _| async move {
        let mut watch = client.watch("/w").await.unwrap();
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
        let close = async {
            future::yield_now().await;
            client.blocking().close();
        };
        let (event, ()) = future::zip(watch.next(), close).await;
        assert!(event.unwrap().unwrap_err().is_lost());
        assert!(watch.next().await.is_none());
        assert!(client.read("/a").await.unwrap_err().is_lost());
    });
}

#[test]
fn deadlines_pass_while_another_thread_receives() {
    everywhere(|client, xenstored| async move {
        let mut watch = client.blocking().watch("/w").unwrap();
        watch.wait().unwrap();
        let thread = std::thread::spawn(move || watch.wait());
        xenstored.inject(Fault::ignore());
        let error = client.with_timeout(Duration::from_millis(20)).read("/a").await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        client.write("/w", "").await.unwrap();
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn a_deadline_wakes_the_task_that_waits_now() {
    everywhere(|client, xenstored| async move {
        xenstored.inject(Fault::ignore());
        let impatient = client.with_timeout(Duration::from_millis(20));
        let mut read = Box::pin(impatient.read("/a"));
        // First polled elsewhere.
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(read.await.unwrap_err().is_timeout());
    });
}

/// Counts how often somebody is woken.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Receives byte by byte, and waits for the permission to begin.
#[derive(Debug)]
struct Gated {
    pipe: Pipe,
    sends: AtomicUsize,
    entered: mpsc::SyncSender<()>,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Transport for Gated {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        self.sends.fetch_add(1, Ordering::SeqCst);
        self.pipe.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        if wait != Wait::No {
            if let Some(gate) = self.gate.lock().unwrap().take() {
                self.entered.send(()).unwrap();
                gate.recv().unwrap();
            }
        }
        self.pipe.recv(&mut buf[..1], wait)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.pipe.wait(interest, deadline)
    }

    fn wake(&self) {
        self.pipe.wake();
    }

    fn close(&self) {
        self.pipe.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.pipe.fd()
    }

    fn describe(&self) -> String {
        self.pipe.describe()
    }
}

fn gated(xenstored: &Xenstored) -> (Arc<Gated>, mpsc::Receiver<()>) {
    let (entered, is_in) = mpsc::sync_channel(1);
    let pipe = xenstored.connect(DomId::DOM0);
    let (sends, gate) = (AtomicUsize::new(0), Mutex::new(None));
    (Arc::new(Gated { pipe, sends, entered, gate }), is_in)
}

#[test]
fn what_tasks_ask_for_together_leaves_together() {
    let (counted, _) = gated(&Xenstored::new());
    let sends = || counted.sends.swap(0, Ordering::SeqCst);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let blocking = xs_client::Client::over(counted.clone());
        let (client, driver) = Client::on_tokio(blocking).unwrap();
        tokio::spawn(driver);
        client.write("/a", "1").await.unwrap();
        assert_eq!(sends(), 1);

        // One that is alone leaves at once.
        let read = async |client: Client| client.read("/a").await;
        let tasks: Vec<_> = (0..64).map(|_| tokio::spawn(read(client.clone()))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), b"1");
        }
        assert_eq!(sends(), 2);

        assert!(client.read_many(["/a"; 64]).await.iter().all(Result::is_ok));
        assert_eq!(sends(), 2);
    });
}

#[test]
fn what_a_thread_leaves_behind_is_received() {
    let xenstored = Xenstored::new();
    let (gated, is_in) = gated(&xenstored);
    let (open, gate) = mpsc::channel();
    let edge = Arc::new(AtomicBool::new(true));
    let blocking = xs_client::Client::over(gated.clone());
    let mut watch = blocking.watch("/w").unwrap();
    watch.wait().unwrap();
    let (client, driver) = Client::with_reactor(blocking, Edges(edge.clone())).unwrap();
    let mut driver = pin!(driver);
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(calls.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(driver.as_mut().poll(&mut cx).is_pending());

    // A thread receives, and something for it comes, and behind it something for a future.
    *gated.gate.lock().unwrap() = Some(gate);
    let thread = std::thread::spawn(move || watch.wait().map(|_| watch));
    is_in.recv().unwrap();
    xenstored.set("/w", "").unwrap();
    let mut read = pin!(client.read("/w"));
    let mut task = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut task).is_pending());
    edge.store(true, Ordering::SeqCst);
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    calls.0.store(0, Ordering::SeqCst);
    open.send(()).unwrap();
    let _watch = thread.join().unwrap().unwrap();

    // No other edge will come: the thread says that it leaves.
    assert_eq!(calls.0.load(Ordering::SeqCst), 1);
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    assert!(read.as_mut().poll(&mut task).is_ready());
}

/// A reactor that makes each attempt at once, and then never wakes anybody: its runtime is busy.
struct Idle;

impl Reactor for Idle {
    fn register(&mut self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn poll_io(
        &mut self,
        _: &mut Context<'_>,
        _: Interest,
        attempt: &mut dyn FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

#[test]
fn a_driver_that_is_not_polled_any_more_leaves_no_thread_asleep() {
    let (entered, is_in) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let (gate, is_armed) = (Mutex::new(gate), AtomicBool::new(true));
    let (sending, is_sent) = mpsc::channel();
    let mut way = Hooked::new(Xenstored::new().connect(DomId::DOM0));
    way.before_send = Box::new(move || {
        let _ = sending.send(());
        None
    });
    // The driver has seen that nothing is there, and has not left its seat yet.
    way.after_recv = Box::new(move |wait| {
        if wait == Wait::No && is_armed.swap(false, Ordering::SeqCst) {
            entered.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
        }
    });
    let client = xs_client::Client::builder().timeout(None).over(way);
    let (tasks, mut driver) = Client::with_reactor(client.clone(), Idle).unwrap();
    let runtime = std::thread::spawn(move || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(&mut driver).poll(&mut cx).is_pending());
        driver
    });
    is_in.recv().unwrap();
    let reader = client.clone();
    let reading = std::thread::spawn(move || reader.exists("/tool").unwrap());
    // It is about to find the seat occupied.
    is_sent.recv().unwrap();
    go.send(()).unwrap();
    let driver = runtime.join().unwrap();
    assert!(in_time(move || reading.join().unwrap()));
    drop((tasks, driver));
}

#[test]
fn futures_on_the_thread_go_on_when_callbacks_are_stopped() {
    let xenstored = Xenstored::new();
    let client = xs_client::Client::over(xenstored.connect(DomId::DOM0));
    let tasks = Client::on_thread(client.clone()).unwrap();
    let (sender, called) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    called.recv().unwrap().unwrap();
    client.watch_stop();
    in_time(move || {
        future::block_on(async {
            tasks.write("/a", "1").await.unwrap();
            tasks.read("/a").await.unwrap();
        });
        assert!(called.try_recv().is_err(), "callbacks are stopped");
        // The next one starts them again.
        client.watch_with("/b", drop).unwrap();
        called.recv().unwrap().unwrap();
    });
}
