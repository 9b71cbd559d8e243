//! While there is no daemon: deadlines pass, nobody spins, and all goes on when it comes back.

mod host;

use std::io;
use std::os::fd::BorrowedFd;
#[cfg(any(feature = "mio", feature = "tokio"))]
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, ErrorKind, EventKind, op};
use xs_proto::{Limits, MessageType};
use xs_transport::mock::{Fault, Pipe};
use xs_transport::{Interest, Sent, Transport, Wait};

use host::{Host, PATIENCE, in_time};

#[test]
fn what_cannot_be_sent_says_why() {
    let host = Host::new();
    let client = host.client();
    host.go_down(&client);
    let error = client.with_timeout(Duration::from_millis(20)).write("/a", "1").unwrap_err();
    let ErrorKind::Unreachable(why) = error.kind() else { panic!("{error}") };
    assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.is_lost(), "{error}");
    host.set_down(false);
    client.write("/a", "1").unwrap();
}

#[test]
fn a_watch_that_is_looked_at_has_nothing_until_there_is_a_connection() {
    let host = Host::new();
    let client = host.client();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
    host.go_down(&client);
    assert_eq!(watch.try_next().unwrap(), None);
    host.set_down(false);
    // It connects by itself: nobody else does here.
    let next = in_time(move || {
        loop {
            if let Some(event) = watch.try_next().unwrap() {
                return event.kind;
            }
            thread::yield_now();
        }
    });
    assert_eq!(next, EventKind::Reconnected);
}

#[test]
fn what_is_started_makes_an_attempt_itself() {
    let host = Host::new();
    let client = host.client();
    host.go_down(&client);
    host.set_down(false);
    let start = Instant::now();
    let pending = loop {
        match client.start(&op::directory("/")) {
            Ok(pending) => break pending,
            Err(error) => assert!(error.is_lost() && start.elapsed() < PATIENCE, "{error}"),
        }
    };
    pending.wait().unwrap();
}

#[test]
fn to_wait_for_a_value_outlasts_a_lost_read() {
    let host = Host::new();
    let client = host.client();
    client.write("/state", "4").unwrap();
    host.xenstored.inject(Fault::close().on(MessageType::Read).at("/state"));
    let value = client.wait_for("/state", PATIENCE, |value| value == Some(b"4")).unwrap();
    assert_eq!(value.as_deref(), Some(b"4".as_slice()));
}

#[test]
fn to_remove_a_watch_while_the_daemon_restarts_is_no_error() {
    let host = Host::new();
    let client = host.client();
    let watch = client.watch("/a").unwrap();
    host.go_down(&client);
    host.set_down(false);
    client.unwatch(watch.token()).unwrap();
}

/// Like the device, whose write of a WATCH ends when the daemon has answered.
#[derive(Debug)]
struct Stuck {
    pipe: Arc<Pipe>,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
    is_stuck: mpsc::Sender<()>,
}

impl Transport for Stuck {
    fn limits(&self) -> Limits {
        self.pipe.limits().with_one_at_a_time()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        if let Some(gate) = self.gate.lock().unwrap().take() {
            let _ = self.is_stuck.send(());
            let _ = gate.recv();
        }
        self.pipe.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.pipe.recv(buf, wait)
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
        "stuck".into()
    }
}

#[test]
fn a_send_that_hangs_does_not_hang_the_next_connection() {
    let host = Host::new();
    let opener = host.clone();
    let (go, gate) = mpsc::channel();
    let (sending, is_stuck) = mpsc::channel();
    let gate = Mutex::new(Some(gate));
    let builder = Client::builder().reconnect(true).timeout(PATIENCE);
    let client = builder
        .over_each(move |_| {
            let gate = Mutex::new(gate.lock().unwrap().take());
            Ok(Box::new(Stuck { pipe: opener.connect()?, gate, is_stuck: sending.clone() }))
        })
        .unwrap();
    let sets = client.clone();
    let setting = thread::spawn(move || drop(sets.watch("/a")));
    is_stuck.recv().unwrap();
    host.cut();
    assert!(client.read("/").unwrap_err().is_lost());
    client.exists("/").expect("there is another connection");
    drop(go);
    setting.join().unwrap();
}

#[cfg(feature = "mio")]
#[test]
fn an_event_loop_does_not_spin() {
    let host = Host::new();
    let client = host.client();
    let mut source = client.event_source().unwrap();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
    let mut poll = mio::Poll::new().unwrap();
    poll.registry().register(&mut source, mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(4);
    host.set_down(true);
    host.cut();
    let before = host.attempts.load(Ordering::SeqCst);
    let mut turns = 0;
    let mut turn = |turns: &mut usize| {
        let left = source.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, Some(left.unwrap_or(PATIENCE))).unwrap();
        *turns += 1;
        source.process().unwrap()
    };
    while host.attempts.load(Ordering::SeqCst) < before + 5 {
        assert_eq!(turn(&mut turns), [], "there is nothing to take");
    }
    // Two for each attempt, and some for what there was before.
    assert!(turns < 20, "{turns} turns for five attempts");
    host.set_down(false);
    while turn(&mut turns).is_empty() {}
    assert_eq!(watch.try_next().unwrap().unwrap().kind, EventKind::Reconnected);
}

#[cfg(feature = "tokio")]
mod tasks {
    use std::future::poll_fn;

    use futures_lite::future::poll_once;
    use xs_client::futures::Client;

    use super::*;
    use crate::host::waits_to_connect;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn deadlines_pass() {
        let host = Host::new();
        block_on(async {
            let (client, driver) = Client::on_tokio(host.client()).unwrap();
            let driver = tokio::spawn(driver);
            let mut watch = client.watch("/a").await.unwrap();
            watch.wait().await.unwrap();
            host.set_down(true);
            host.cut();
            // The pauses between attempts have grown to a second and more by then.
            let attempts = host.attempts.load(Ordering::SeqCst);
            while host.attempts.load(Ordering::SeqCst) < attempts + 7 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let start = Instant::now();
            let short = Duration::from_millis(20);
            assert_eq!(watch.next_until(Some(start + short)).await.unwrap(), None);
            assert!(client.with_timeout(short).read("/").await.unwrap_err().is_lost());
            let attempts = host.attempts.load(Ordering::SeqCst) - attempts;
            assert!(attempts < 9, "it took until the next attempt: {:?}", start.elapsed());
            driver.abort();
        });
    }

    #[test]
    fn a_driver_does_not_spin_while_a_thread_connects() {
        let host = Host::new();
        let (client, is_opening, go) = waits_to_connect(&host, xs_client::Client::builder());
        let (tasks, driver) = block_on(async { Client::on_tokio(client.clone()) }).unwrap();
        host.cut();
        let blocking = client.clone();
        let reading = thread::spawn(move || while blocking.read("/").is_err() {});
        is_opening.recv().unwrap();
        let mut driver = Box::pin(driver);
        block_on(async {
            let mut polls = 0;
            let driving = poll_fn(|cx| {
                polls += 1;
                driver.as_mut().poll(cx)
            });
            let some_time = tokio::time::sleep(Duration::from_millis(50));
            futures_lite::future::or(async { drop(driving.await) }, some_time).await;
            assert!(polls < 20, "{polls} polls while somebody else connects");
        });
        go.send(()).unwrap();
        reading.join().unwrap();
        drop((tasks, driver));
    }

    #[test]
    fn there_is_some_time_to_connect() {
        let host = Host::new();
        let times = Arc::new(Mutex::new(Vec::new()));
        let (opener, kept) = (host.clone(), times.clone());
        let builder = xs_client::Client::builder().reconnect(true);
        let client = builder
            .over_each(move |time| {
                kept.lock().unwrap().push(time);
                opener.open()
            })
            .unwrap();
        block_on(async {
            let (client, driver) = Client::on_tokio(client).unwrap();
            let driver = tokio::spawn(driver);
            host.cut();
            while client.exists("/").await.is_err() {}
            driver.abort();
        });
        let times = times.lock().unwrap();
        assert!(times.len() > 1 && times.iter().all(|time| !time.is_zero()), "{times:?}");
    }

    #[test]
    fn who_gave_up_leaves_no_waker_behind() {
        struct Task;
        impl std::task::Wake for Task {
            fn wake(self: Arc<Self>) {}
        }

        let host = Host::new();
        let client = host.client();
        let tasks = Client::on_thread(client.clone()).unwrap();
        host.go_down(&client);
        let wakers: Vec<_> = (0..100)
            .map(|_| {
                let task = Arc::new(Task);
                let kept = Arc::downgrade(&task);
                let waker = std::task::Waker::from(task);
                let mut read = Box::pin(tasks.read("/"));
                let mut cx = std::task::Context::from_waker(&waker);
                assert!(read.as_mut().poll(&mut cx).is_pending());
                kept
            })
            .collect();
        let start = Instant::now();
        // With the next attempt they are let go.
        while wakers.iter().any(|kept| kept.upgrade().is_some()) {
            assert!(start.elapsed() < PATIENCE, "they are kept");
            thread::yield_now();
        }
    }

    #[test]
    fn a_watch_removed_before_it_is_set_is_not_left_at_the_daemon() {
        let host = Host::new();
        let client = host.client();
        let tasks = Client::on_thread(client.clone()).unwrap();
        host.go_down(&client);
        futures_lite::future::block_on(async {
            let mut setting = Box::pin(tasks.watch("/a"));
            assert!(poll_once(&mut setting).await.is_none());
            let _ = client.with_timeout(Duration::from_millis(1)).unwatch_all();
            host.set_down(false);
            let error = setting.await.map(drop).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        });
        client.exists("/").unwrap();
        assert_eq!(host.watches(), [""; 0]);
    }
}
