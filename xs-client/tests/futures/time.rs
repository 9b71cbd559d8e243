//! The clock of tokio while it is paused, and drivers that are not polled.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_lite::future::{or, zip};
use tokio::time::Instant;
use xs_client::futures::Client;
use xs_client::{ErrorKind, EventKind};
use xs_transport::mock::{Fault, Xenstored};

use crate::support::daemon::{TestDaemon, start};
use crate::support::waiting::in_time;

/// Longer than a test can wait.
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a test on a runtime of tokio whose clock is paused.
fn paused<F: Future<Output = ()>>(
    test: impl FnOnce(Xenstored, xs_client::Client) -> F + Send + 'static,
) {
    in_time(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        let (xenstored, client) = start();
        runtime.block_on(test(xenstored, client.with_timeout(HOUR)));
    });
}

#[test]
fn timeouts_take_no_time_under_paused_clock() {
    paused(|xenstored, client| async move {
        let client = Client::on_tokio(client).unwrap();
        let mut watch = client.watch("/w").await.unwrap();
        watch.wait().await.unwrap();
        for _ in 0..3 {
            let start = Instant::now();
            xenstored.inject(Fault::ignore());
            let error = client.read("/a").await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TimedOut), "{error}");
            assert_eq!(watch.next_timeout(HOUR).await.unwrap(), None);
            assert!(start.elapsed() >= 2 * HOUR);
            let error = client.wait_for("/a", HOUR, |value| value.is_some()).await.unwrap_err();
            assert!(error.is_timeout(), "{error}");
        }
    });
}

#[test]
fn driver_rests_under_paused_clock() {
    paused(|xenstored, client| async move {
        let (client, driver) = Client::with_tokio_driver(client).unwrap();
        let polls = Arc::new(AtomicUsize::new(0));
        let (counted, mut driver) = (polls.clone(), Box::pin(driver));
        tokio::spawn(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            driver.as_mut().poll(cx)
        }));
        xenstored.inject(Fault::ignore());
        assert!(client.read("/a").await.unwrap_err().is_timeout());
        let polls = polls.load(Ordering::SeqCst);
        assert!(polls < 1000, "{polls} polls for one request");
    });
}

#[test]
fn paused_clock_stands_still_while_the_daemon_answers() {
    paused(|_, client| async move {
        for is_spawned in [true, false] {
            let client = if is_spawned {
                Client::on_tokio(client.clone()).unwrap()
            } else {
                let (xenstored, client) = start();
                let (client, driver) = Client::with_tokio_driver(client).unwrap();
                tokio::spawn(driver);
                drop(xenstored);
                client
            };
            let start = Instant::now();
            for at in 0..10 {
                client.write_display("/state", at).await.unwrap();
                let values = client.read_many(["/state"; 100]).await;
                assert!(values.into_iter().all(|value| value.is_ok()));
                client.transaction(async |tx| tx.write("/tx", "1").await).await.unwrap();
            }
            let wait = client.wait_for("/state", HOUR, |value| value == Some(b"done"));
            let (value, written) = zip(wait, client.write("/state", "done")).await;
            assert_eq!(value.unwrap().as_deref(), Some(&b"done"[..]));
            written.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
    });
}

#[test]
fn client_connects_again_under_paused_clock() {
    paused(|_, _| async move {
        let daemon = TestDaemon::new();
        let client = Client::on_tokio(daemon.client()).unwrap();
        let mut watch = client.watch("/w").await.unwrap();
        watch.wait().await.unwrap();
        daemon.set_down(true);
        daemon.hang_up();
        while daemon.attempts() < 10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        daemon.set_down(false);
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Reconnected);
    });
}

#[test]
fn calls_end_at_their_deadlines_while_the_driver_is_not_polled() {
    paused(|_, client| async move {
        let (client, mut driver) = Client::with_tokio_driver(client).unwrap();
        let error = client.write("/a", "1").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotDriven), "{error}");
        assert!(error.is_timeout() && error.to_string().contains("not polled"), "{error}");

        // A driver that was polled before makes no difference.
        let written = client.write("/a", "1");
        or(written, async { panic!("the driver has ended: {:?}", (&mut driver).await) })
            .await
            .unwrap();
        let error = client.read("/a").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotDriven), "{error}");
        assert!(client.directory_many(["/a", "/"]).await.iter().all(Result::is_err));
        let waited = client.wait_for("/a", HOUR, |_| false).await;
        assert!(waited.unwrap_err().is_timeout());
    });
}

#[test]
fn daemon_that_does_not_answer_is_no_missing_driver() {
    paused(|xenstored, client| async move {
        let (client, driver) = Client::with_tokio_driver(client).unwrap();
        tokio::spawn(driver);
        xenstored.inject(Fault::ignore());
        let error = client.read("/a").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut), "{error}");
    });
}

#[cfg(feature = "smol")]
#[test]
fn calls_on_smol_end_while_the_driver_is_not_polled() {
    in_time(|| {
        smol::block_on(async {
            let (_xenstored, client) = start();
            let client = client.with_timeout(Duration::from_millis(20));
            let (client, _driver) = Client::with_smol_driver(client).unwrap();
            let error = client.read("/").await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NotDriven), "{error}");
        });
    });
}

/// The driver was polled by a task, which keeps it and polls it no more.
#[test]
fn calls_end_at_their_deadlines_while_another_task_keeps_the_driver() {
    paused(|_, client| async move {
        let (client, driver) = Client::with_tokio_driver(client).unwrap();
        let (sender, stop) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut driver = driver;
            let stopped = async {
                stop.await.unwrap();
                Ok(())
            };
            or(&mut driver, stopped).await.unwrap();
            std::future::pending::<()>().await;
            drop(driver);
        });
        client.write("/a", "1").await.unwrap();
        sender.send(()).unwrap();
        tokio::task::yield_now().await;
        for _ in 0..2 {
            let reads = [(); 2].map(|()| client.read("/a"));
            for read in reads {
                let error = read.await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::NotDriven), "{error}");
            }
        }
    });
}

#[test]
fn client_on_tokio_needs_a_runtime() {
    let (_xenstored, client) = start();
    let error = Client::on_tokio(client.clone()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::System(_)), "{error}");
    client.exists("/").unwrap();
}
