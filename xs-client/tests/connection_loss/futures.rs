//! Futures while the connection is lost and made again.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{yield_now, zip};
use xs_client::futures::{Client, Watch};
use xs_client::op;

use crate::support::daemon::TestDaemon;
use crate::support::runtimes::{block_on_tokio, on_each_runtime};
use crate::support::waiting::{HANG_GUARD, wait_until};
use crate::support::wakers::{poll, tracked_waker};
use crate::{Event, event, fired, reconnected};

/// Runs a test on each runtime, each time with a new daemon.
fn everywhere<F: Future<Output = ()>>(test: fn(TestDaemon, Client) -> F) {
    let start = || {
        let daemon = TestDaemon::new();
        (daemon.client(), daemon)
    };
    on_each_runtime(start, |client, daemon| test(daemon, client));
}

/// Waits for the next event of a watch.
async fn next(watch: &mut Watch) -> Event {
    let until = Instant::now() + HANG_GUARD;
    event(watch.next_until(Some(until)).await.unwrap().expect("no event arrives"))
}

/// Waits, as a task, until there have been so many attempts to connect.
async fn attempts_reach(daemon: &TestDaemon, attempts: usize) {
    let start = Instant::now();
    while daemon.attempts() < attempts {
        assert!(start.elapsed() < HANG_GUARD, "the driver does not connect again");
        yield_now().await;
    }
}

#[test]
fn watches_report_reconnect_and_fire_again() {
    everywhere(|daemon, client| async move {
        let mut watch = client.watch("/a").await.unwrap();
        assert_eq!(next(&mut watch).await, fired("/a"));
        for round in 0..3 {
            daemon.set_down(round > 0);
            let attempts = daemon.attempts();
            daemon.hang_up();
            if round > 1 {
                attempts_reach(&daemon, attempts + 2).await;
            }
            daemon.set_down(false);
            assert_eq!(next(&mut watch).await, reconnected("/a"));
            assert_eq!(next(&mut watch).await, fired("/a"));
            client.write("/a/b", "").await.unwrap();
            assert_eq!(next(&mut watch).await, fired("/a/b"));
        }
    });
}

#[test]
fn thread_may_reconnect_before_driver() {
    everywhere(|daemon, client| async move {
        let mut watch = client.watch("/a").await.unwrap();
        assert_eq!(next(&mut watch).await, fired("/a"));
        for _ in 0..3 {
            daemon.hang_up();
            // With one thread, the driver is not polled meanwhile.
            let _ = client.blocking().read("/");
            client.blocking().write("/b", "").unwrap();
            // The driver has to receive from the new connection.
            assert_eq!(client.read("/b").await.unwrap(), b"");
            assert_eq!(next(&mut watch).await, reconnected("/a"));
            assert_eq!(next(&mut watch).await, fired("/a"));
        }
    });
}

#[test]
fn futures_try_until_their_deadline() {
    everywhere(|daemon, client| async move {
        client.write("/a", "1").await.unwrap();
        daemon.set_down(true);
        daemon.hang_up();
        let impatient = client.with_timeout(Duration::from_millis(20));
        // The first read may be in flight when the connection is lost, or may not be sent at all.
        assert!(impatient.read("/a").await.unwrap_err().is_lost());
        assert!(impatient.read("/a").await.unwrap_err().is_lost());
        for result in impatient.read_many(["/a", "/"]).await {
            assert!(result.unwrap_err().is_lost());
        }
        // `start` does not wait for a connection.
        assert!(client.blocking().start(&op::read("/a")).unwrap_err().is_lost());
        let attempts = daemon.attempts();
        let reads = client.read_many(["/a", "/a", "/a"]);
        let up = async {
            attempts_reach(&daemon, attempts + 2).await;
            daemon.set_down(false);
        };
        let (values, ()) = zip(reads, up).await;
        for value in values {
            assert_eq!(value.unwrap(), b"1");
        }
    });
}

#[test]
fn close_while_daemon_is_down_fails_futures() {
    everywhere(|daemon, client| async move {
        daemon.set_down(true);
        daemon.hang_up();
        let _ = client.with_timeout(Duration::from_millis(20)).read("/a").await;
        let close = async {
            yield_now().await;
            client.blocking().close();
        };
        let (read, ()) = zip(client.read("/a"), close).await;
        assert!(read.unwrap_err().is_lost());
    });
}

#[test]
fn close_while_daemon_is_down_ends_driver_and_watches() {
    everywhere(|daemon, client| async move {
        let mut watch = client.watch("/a").await.unwrap();
        assert_eq!(next(&mut watch).await, fired("/a"));
        daemon.set_down(true);
        daemon.hang_up();
        attempts_reach(&daemon, 3).await;
        client.blocking().close();
        assert!(watch.wait().await.unwrap_err().is_lost());
    });
}

#[test]
fn dropped_driver_fails_futures_while_daemon_is_down() {
    let daemon = TestDaemon::new();
    block_on_tokio(async {
        let (client, driver) = Client::with_tokio_driver(daemon.client()).unwrap();
        let driver = tokio::spawn(driver);
        let mut watch = client.watch("/a").await.unwrap();
        assert_eq!(next(&mut watch).await, fired("/a"));
        daemon.set_down(true);
        daemon.hang_up();
        attempts_reach(&daemon, 3).await;
        let (event, ()) = zip(watch.wait(), async { driver.abort() }).await;
        assert!(event.unwrap_err().is_lost());
        assert!(client.read("/a").await.unwrap_err().is_lost());
    });
}

#[test]
fn deadlines_pass_during_pause_between_attempts() {
    let daemon = TestDaemon::new();
    block_on_tokio(async {
        let (client, driver) = Client::with_tokio_driver(daemon.client()).unwrap();
        let driver = tokio::spawn(driver);
        let mut watch = client.watch("/a").await.unwrap();
        watch.wait().await.unwrap();
        daemon.set_down(true);
        daemon.hang_up();
        // By then, the pauses have grown to a second and more.
        let attempts = daemon.attempts();
        attempts_reach(&daemon, attempts + 7).await;
        let start = Instant::now();
        let short = Duration::from_millis(20);
        assert_eq!(watch.next_until(Some(start + short)).await.unwrap(), None);
        assert!(client.with_timeout(short).read("/").await.unwrap_err().is_lost());
        let attempts = daemon.attempts() - attempts;
        assert!(attempts < 9, "it took until the next attempt: {:?}", start.elapsed());
        driver.abort();
    });
}

#[test]
fn driver_does_not_spin_while_thread_connects() {
    let daemon = TestDaemon::new();
    let (client, connecting) = daemon.gated_client(xs_client::Client::builder());
    block_on_tokio(async {
        let (_tasks, driver) = Client::with_tokio_driver(client.clone()).unwrap();
        daemon.hang_up();
        let blocking = client.clone();
        let reading = thread::spawn(move || while blocking.read("/").is_err() {});
        connecting.wait_for_arrival();
        let polls = Arc::new(AtomicUsize::new(0));
        let (counted, mut driver) = (polls.clone(), Box::pin(driver));
        let driving = tokio::spawn(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            driver.as_mut().poll(cx)
        }));
        // A driver that is always woken is polled once for each of these turns of the runtime.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let polls = polls.load(Ordering::SeqCst);
        assert!((1..20).contains(&polls), "{polls} polls while a thread connects");
        connecting.open();
        reading.join().unwrap();
        driving.abort();
    });
}

#[test]
fn connector_of_driver_gets_time_to_connect() {
    let daemon = TestDaemon::new();
    let timeouts = Arc::new(Mutex::new(Vec::new()));
    let recorded = timeouts.clone();
    let client = daemon.client_over(xs_client::Client::builder(), move |attempt| {
        recorded.lock().unwrap().push(attempt.timeout);
        attempt.connect()
    });
    block_on_tokio(async {
        let (client, driver) = Client::with_tokio_driver(client).unwrap();
        let driver = tokio::spawn(driver);
        daemon.hang_up();
        while client.exists("/").await.is_err() {}
        driver.abort();
    });
    let timeouts = timeouts.lock().unwrap();
    let has_time = |timeout: &Duration| !timeout.is_zero();
    assert!(timeouts.len() > 1 && timeouts.iter().all(has_time), "{timeouts:?}");
}

#[test]
fn dropped_futures_keep_no_wakers_while_daemon_is_down() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let tasks = Client::on_thread(client.clone()).unwrap();
    daemon.go_down(&client);
    let wakers: Vec<_> = (0..100)
        .map(|_| {
            let (waker, kept) = tracked_waker();
            let mut read = Box::pin(tasks.read("/"));
            assert!(poll(&mut read, &waker).is_pending());
            kept
        })
        .collect();
    // The next attempt to connect drops them.
    let are_dropped = || wakers.iter().all(|kept| kept.upgrade().is_none());
    wait_until(are_dropped, "the client keeps wakers");
}
