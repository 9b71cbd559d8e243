//! Connections that are lost and made again, in every way to use the client.

mod host;

#[cfg(feature = "futures")]
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
#[cfg(feature = "futures")]
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "futures")]
use xs_client::futures;
use xs_client::{Client, DomId, ErrorCode, ErrorKind, EventKind, Failure, Watch, op};
use xs_proto::MessageType;
use xs_transport::Transport;
use xs_transport::mock::{Fault, Xenstored};

use host::{Host, PATIENCE, waits_to_connect};

fn next(watch: &mut Watch) -> (EventKind, String) {
    let event = watch.next_timeout(PATIENCE).unwrap().expect("an event comes");
    (event.kind, event.path.to_string())
}

fn fired(path: &str) -> (EventKind, String) {
    (EventKind::Fired, path.into())
}

fn reconnected(path: &str) -> (EventKind, String) {
    (EventKind::Reconnected, path.into())
}

#[test]
fn watches_are_told_and_work_again() {
    let host = Host::new();
    let client = host.client();
    let mut watches = ["/a", "/b"].map(|path| client.watch(path).unwrap());
    let gone = client.watch("/gone").unwrap();
    for (watch, path) in watches.iter_mut().zip(["/a", "/b"]) {
        assert_eq!(next(watch), fired(path));
    }
    host.cut();
    // The loss is noticed, and no other connection made.
    drop(client.start(&op::read("/")));
    drop(gone);
    for (watch, path) in watches.iter_mut().zip(["/a", "/b"]) {
        assert_eq!(next(watch), reconnected(path));
        assert_eq!(next(watch), fired(path));
    }
    assert_eq!(host.watches(), ["/a", "/b"]);
    client.write("/b/c", "").unwrap();
    assert_eq!(next(&mut watches[1]), fired("/b/c"));
    assert!(watches[0].try_next().unwrap().is_none());
    drop(watches);
    client.read("/b/c").unwrap();
    assert!(host.watches().is_empty());
}

/// The daemon that goes away may take a last connection.
#[test]
fn a_watch_is_told_once_it_is_set_again() {
    let host = Host::new();
    let client = host.client();
    let (sender, events) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(events.recv_timeout(PATIENCE).unwrap().unwrap().kind, EventKind::Fired);
    assert_eq!(next(&mut watch), fired("/a"));
    let fault = host.xenstored.inject(Fault::close().on(MessageType::Watch).times(2));
    host.cut();
    assert_eq!(next(&mut watch), reconnected("/a"));
    assert_eq!(fault.hits(), 2);
    assert_eq!(next(&mut watch), fired("/a"));
    for kind in [EventKind::Reconnected, EventKind::Fired] {
        assert_eq!(events.recv_timeout(PATIENCE).unwrap().unwrap().kind, kind);
    }
}

#[test]
fn what_was_under_way_fails_with_the_cause() {
    let host = Host::new();
    let client = host.client();
    let fault = host.xenstored.inject(Fault::ignore().times(2));
    let mut pending = [op::read("/"), op::read("/tool")].map(|op| client.start(&op).unwrap());
    assert_eq!(fault.hits(), 2);
    let tx = client.start_transaction().unwrap();
    host.cut();
    let lost = client.read("/").unwrap_err();
    // There is another connection now.
    client.write("/a", "1").unwrap();
    for pending in &mut pending {
        let error = pending.try_take().expect("it is over").unwrap_err();
        let (ErrorKind::Lost(one), ErrorKind::Lost(other)) = (lost.kind(), error.kind()) else {
            panic!("{lost}, {error}");
        };
        assert!(!matches!(other, Failure::Closed));
        assert_eq!(one.to_string(), other.to_string());
    }
    let error = tx.write("/a", "2").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TransactionLost), "{error}");
    let error = tx.commit().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TransactionLost), "{error}");
    assert_eq!(client.read("/a").unwrap(), b"1");
}

#[test]
fn a_transaction_of_before_that_is_dropped_ends_none_of_after() {
    let host = Host::new();
    let client = host.client();
    let old = client.start_transaction().unwrap();
    host.cut();
    assert!(client.read("/").unwrap_err().is_lost());
    // The daemon counts anew: it has the same name.
    let new = client.start_transaction().unwrap();
    drop(old);
    new.write("/a", "1").unwrap();
    new.commit().unwrap();
}

#[cfg(feature = "futures")]
#[test]
fn a_transaction_of_before_harms_none_of_after() {
    let host = Host::new();
    let client = futures::Client::on_thread(host.client()).unwrap();
    let blocking = client.blocking();
    // Answered, and lost before who asked looks.
    let mut late = [(); 2].map(|()| Box::pin(client.start_transaction()));
    let mut cx = Context::from_waker(Waker::noop());
    let start = host.xenstored.inject(Fault::delay().on(MessageType::TransactionStart).times(2));
    for late in &mut late {
        assert!(late.as_mut().poll(&mut cx).is_pending());
    }
    start.release();
    blocking.read("/").unwrap();
    host.cut();
    while !host.is_reconnected() {
        let _ = blocking.read("/");
    }
    let [first, second] = [(); 2].map(|()| blocking.start_transaction().unwrap());
    let [mut looks, is_dropped] = late;
    let Poll::Ready(Err(error)) = looks.as_mut().poll(&mut cx) else { panic!("it is lost") };
    assert!(error.is_lost(), "{error}");
    drop(is_dropped);
    for (tx, path) in [(first, "/first"), (second, "/second")] {
        tx.write(path, "").unwrap();
        tx.commit().unwrap();
        assert!(blocking.exists(path).unwrap());
    }
}

#[cfg(feature = "futures")]
#[test]
fn a_transaction_may_be_the_first_on_a_new_connection() {
    let host = Host::new();
    let client = futures::Client::on_thread(host.client()).unwrap();
    futures_lite::future::block_on(async {
        host.set_down(true);
        host.cut();
        // The loss is noticed.
        assert!(client.with_timeout(Duration::from_millis(1)).read("/").await.is_err());
        let mut start = Box::pin(client.start_transaction());
        assert!(futures_lite::future::poll_once(&mut start).await.is_none());
        host.set_down(false);
        let tx = start.await.unwrap();
        tx.write("/a", "1").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(client.read("/a").await.unwrap(), b"1");
    });
}

#[test]
fn a_watch_may_be_the_first_to_notice() {
    let host = Host::new();
    let client = host.client();
    host.cut();
    assert!(client.read("/").unwrap_err().is_lost());
    // It is not set twice.
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    assert_eq!(host.watches(), ["/a"]);
}

#[test]
fn callbacks_are_told_and_go_on() {
    let host = Host::new();
    let client = host.client();
    let (sender, events) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    let next = || {
        let event = events.recv_timeout(PATIENCE).expect("it is called").unwrap();
        (event.kind, event.path.to_string())
    };
    assert_eq!(next(), fired("/a"));
    for round in 0..20 {
        host.xenstored.set("/a", "").unwrap();
        if round % 2 == 0 {
            assert_eq!(next(), fired("/a"));
        }
        // Without a pause: the event before may still wait for its turn, or be lost.
        host.cut();
        let mut event = next();
        if event.0 == EventKind::Fired && round % 2 == 1 {
            event = next();
        }
        assert_eq!(event, reconnected("/a"), "in round {round}");
        assert_eq!(next(), fired("/a"));
    }
    // The thread keeps on connecting while there is nobody.
    host.set_down(true);
    let attempts = host.attempts.load(Ordering::SeqCst);
    host.cut();
    host.await_attempts(attempts + 3);
    host.set_down(false);
    assert_eq!(next(), reconnected("/a"));
    assert_eq!(next(), fired("/a"));
}

#[test]
fn events_that_wait_for_a_callback_do_not_make_the_loss_final() {
    let host = Host::new();
    let client = host.client();
    let (sender, events) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let callback = move |event| {
        sender.send(event).unwrap();
        gate.recv().unwrap();
    };
    client.watch_with("/a", callback).unwrap();
    let next = || events.recv_timeout(PATIENCE).expect("it is called").unwrap().kind;
    assert_eq!(next(), EventKind::Fired);
    // While the callback is running, another event comes, and then the end.
    client.write("/a", "").unwrap();
    host.cut();
    host.set_down(true);
    let error = client.with_timeout(Duration::ZERO).read("/").unwrap_err();
    assert!(error.is_lost(), "{error}");
    go.send(()).unwrap();
    assert_eq!(next(), EventKind::Fired);
    go.send(()).unwrap();
    host.set_down(false);
    assert_eq!(next(), EventKind::Reconnected);
    go.send(()).unwrap();
    assert_eq!(next(), EventKind::Fired);
    go.send(()).unwrap();
}

#[test]
fn stopping_the_thread_while_it_connects_ends_no_watch() {
    let host = Host::new();
    let client = host.client();
    let (sender, events) = mpsc::channel();
    client.watch_with("/a", move |event| drop(sender.send(event))).unwrap();
    let next = || events.recv_timeout(PATIENCE).expect("it is called").unwrap().kind;
    assert_eq!(next(), EventKind::Fired);
    host.set_down(true);
    let attempts = host.attempts.load(Ordering::SeqCst);
    host.cut();
    host.await_attempts(attempts + 1);
    client.watch_stop();
    host.set_down(false);
    client.watch_with("/b", |_| ()).unwrap();
    assert_eq!(next(), EventKind::Reconnected);
    assert_eq!(next(), EventKind::Fired);
}

#[test]
fn a_watch_refused_on_the_new_connection_ends_with_the_error() {
    let host = Host::new();
    let client = host.client();
    let mut good = client.watch("/good").unwrap();
    let mut bad = client.watch("/bad").unwrap();
    let (sender, events) = mpsc::channel();
    client.watch_with("/bad", move |event| drop(sender.send(event))).unwrap();
    assert_eq!(next(&mut good), fired("/good"));
    assert_eq!(next(&mut bad), fired("/bad"));
    assert_eq!(events.recv_timeout(PATIENCE).unwrap().unwrap().kind, EventKind::Fired);
    let refuse = Fault::error(ErrorCode::Quota).on(MessageType::Watch).at("/bad").times(2);
    host.xenstored.inject(refuse);
    host.cut();
    let error = bad.next_timeout(PATIENCE).unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::Quota), "{error}");
    assert_eq!(error.path(), Some("/bad"));
    let error = events.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::Quota), "{error}");
    assert_eq!(error.path(), Some("/bad"));
    assert_eq!(next(&mut good), reconnected("/good"));
    assert_eq!(next(&mut good), fired("/good"));
}

#[test]
fn while_the_daemon_is_down_calls_try_until_their_deadline() {
    let host = Host::new();
    let client = host.client();
    client.write("/a", "1").unwrap();
    host.set_down(true);
    host.cut();
    let error = client.read("/a").unwrap_err();
    assert!(error.is_lost(), "{error}");
    let error = client.with_timeout(Duration::from_millis(20)).read("/a").unwrap_err();
    assert!(error.is_lost(), "{error}");
    let attempts = host.attempts.load(Ordering::SeqCst);
    assert!(attempts >= 2, "{attempts}");
    // Several wait, one of them connects.
    thread::scope(|scope| {
        let reads: Vec<_> = (0..4).map(|_| scope.spawn(|| client.read("/a").unwrap())).collect();
        host.await_attempts(attempts + 2);
        host.set_down(false);
        for read in reads {
            assert_eq!(read.join().unwrap(), b"1");
        }
    });
}

/// A client that has lost its connection, and those who connect are [held up](host::waits_to_connect).
fn lost(host: &Host) -> (Client, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (client, is_opening, go) = waits_to_connect(host, Client::builder().timeout(PATIENCE));
    host.cut();
    assert!(client.read("/").unwrap_err().is_lost());
    (client, is_opening, go)
}

#[test]
fn while_one_connects_no_other_does() {
    let host = Host::new();
    let (client, is_opening, go) = lost(&host);
    thread::scope(|scope| {
        let connecting = scope.spawn(|| client.read("/").unwrap());
        is_opening.recv().unwrap();
        // Others wait for it, and for no longer than they want to; here, until the pause after an
        // attempt would be over.
        let hasty = client.with_timeout(Duration::from_millis(50)).read("/");
        let waiting = scope.spawn(|| client.read("/").unwrap());
        go.send(()).unwrap();
        assert!(hasty.unwrap_err().is_lost());
        connecting.join().unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(host.attempts.load(Ordering::SeqCst), 2);
}

#[test]
fn a_connection_that_is_made_after_the_end_is_not_used() {
    let host = Host::new();
    let (client, is_opening, go) = lost(&host);
    thread::scope(|scope| {
        let connecting = scope.spawn(|| client.read("/").unwrap_err());
        is_opening.recv().unwrap();
        client.close();
        go.send(()).unwrap();
        let error = connecting.join().unwrap();
        assert!(error.is_lost(), "{error}");
    });
    assert!(client.read("/").unwrap_err().is_lost());
}

#[test]
fn closing_ends_who_waits_for_a_connection() {
    let host = Host::new();
    let client = host.client().with_timeout(None);
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    host.set_down(true);
    host.cut();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.wait().unwrap_err());
        host.await_attempts(2);
        let reading = scope.spawn(|| client.read("/a").unwrap_err());
        host.await_attempts(4);
        client.close();
        assert!(waiting.join().unwrap().is_lost());
        assert!(reading.join().unwrap().is_lost());
    });
    let attempts = host.attempts.load(Ordering::SeqCst);
    assert!(client.read("/a").unwrap_err().is_lost());
    assert_eq!(host.attempts.load(Ordering::SeqCst), attempts, "closed is closed");
}

#[test]
fn a_daemon_that_hangs_up_at_once_is_not_called_all_the_time() {
    let host = Host::new();
    let client = host.client();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    host.xenstored.inject(Fault::close().on(MessageType::Watch).times(u64::MAX));
    host.cut();
    let until = Instant::now() + Duration::from_millis(200);
    // It was set again on none of them.
    assert_eq!(watch.next_until(Some(until)).unwrap_or(None), None);
    // 5, 10, 20, … milliseconds: a slow machine has fewer.
    let attempts = host.attempts.load(Ordering::SeqCst);
    assert!(attempts < 20, "{attempts}");
}

#[test]
fn a_panic_in_the_users_way_to_connect_holds_up_nobody() {
    let xenstored = Xenstored::new();
    let opened = AtomicUsize::new(0);
    let line = Arc::new(Mutex::new(None));
    let place = line.clone();
    let client = Client::builder()
        .reconnect(true)
        .over_each(move |_| {
            assert_ne!(opened.fetch_add(1, Ordering::SeqCst), 1, "the second one");
            let pipe = Arc::new(xenstored.connect(DomId::DOM0));
            *place.lock().unwrap() = Some(pipe.clone());
            Ok(Box::new(pipe))
        })
        .unwrap();
    let cut = || line.lock().unwrap().take().expect("it is connected").close();
    cut();
    assert!(client.read("/").unwrap_err().is_lost());
    catch_unwind(AssertUnwindSafe(|| client.read("/"))).unwrap_err();
    client.read("/").unwrap();
}

#[cfg(feature = "tokio")]
mod with_futures {
    use std::future::Future;

    use xs_client::futures::{Client, Watch};

    use super::*;

    /// On tokio, on smol and on the background thread.
    fn everywhere<F: Future<Output = ()>>(test: fn(Host, Client) -> F) {
        let host = Host::new();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                let (client, driver) = Client::on_tokio(host.client()).unwrap();
                let driver = tokio::spawn(driver);
                test(host, client).await;
                driver.await.unwrap().unwrap();
            },
        );

        #[cfg(feature = "smol")]
        smol::block_on(async {
            let host = Host::new();
            let (client, driver) = Client::on_smol(host.client()).unwrap();
            let driver = smol::spawn(driver);
            test(host, client).await;
            driver.await.unwrap();
        });

        let host = Host::new();
        let client = Client::on_thread(host.client()).unwrap();
        futures_lite::future::block_on(test(host, client));
    }

    async fn next(watch: &mut Watch) -> (EventKind, String) {
        let until = Instant::now() + PATIENCE;
        let event = watch.next_until(Some(until)).await.unwrap().expect("an event comes");
        (event.kind, event.path.to_string())
    }

    #[test]
    fn watches_are_told_and_work_again() {
        everywhere(|host, client| async move {
            let mut watch = client.watch("/a").await.unwrap();
            assert_eq!(next(&mut watch).await, fired("/a"));
            for round in 0..3 {
                host.set_down(round > 0);
                let attempts = host.attempts.load(Ordering::SeqCst);
                host.cut();
                if round > 1 {
                    // The driver has its own pace.
                    while host.attempts.load(Ordering::SeqCst) < attempts + 2 {
                        futures_lite::future::yield_now().await;
                    }
                }
                host.set_down(false);
                assert_eq!(next(&mut watch).await, reconnected("/a"));
                assert_eq!(next(&mut watch).await, fired("/a"));
                client.write("/a/b", "").await.unwrap();
                assert_eq!(next(&mut watch).await, fired("/a/b"));
            }
        });
    }

    #[test]
    fn a_thread_may_connect_again_before_the_driver_does() {
        everywhere(|host, client| async move {
            let mut watch = client.watch("/a").await.unwrap();
            assert_eq!(next(&mut watch).await, fired("/a"));
            for _ in 0..3 {
                host.cut();
                // Without giving the driver a chance.
                let _ = client.blocking().read("/");
                client.blocking().write("/b", "").unwrap();
                // In its turn now: it must listen on the new connection.
                assert_eq!(client.read("/b").await.unwrap(), b"");
                assert_eq!(next(&mut watch).await, reconnected("/a"));
                assert_eq!(next(&mut watch).await, fired("/a"));
            }
        });
    }

    #[test]
    fn while_the_daemon_is_down_calls_try_until_their_deadline() {
        everywhere(|host, client| async move {
            client.write("/a", "1").await.unwrap();
            host.set_down(true);
            host.cut();
            let impatient = client.with_timeout(Duration::from_millis(20));
            // Under way when it happens, or not: nothing else can become of it.
            assert!(impatient.read("/a").await.unwrap_err().is_lost());
            assert!(impatient.read("/a").await.unwrap_err().is_lost());
            for error in impatient.read_many(["/a", "/"]).await {
                assert!(error.unwrap_err().is_lost());
            }
            // What is only started does not wait.
            assert!(client.blocking().start(&op::read("/a")).unwrap_err().is_lost());
            let attempts = host.attempts.load(Ordering::SeqCst);
            let reads = client.read_many(["/a", "/a", "/a"]);
            let up = async {
                while host.attempts.load(Ordering::SeqCst) < attempts + 2 {
                    futures_lite::future::yield_now().await;
                }
                host.set_down(false);
            };
            let (values, ()) = futures_lite::future::zip(reads, up).await;
            for value in values {
                assert_eq!(value.unwrap(), b"1");
            }
        });
    }

    #[test]
    fn closed_while_down_who_asks_is_told() {
        everywhere(|host, client| async move {
            host.set_down(true);
            host.cut();
            let _ = client.with_timeout(Duration::from_millis(20)).read("/a").await;
            let close = async {
                futures_lite::future::yield_now().await;
                client.blocking().close();
            };
            let (read, ()) = futures_lite::future::zip(client.read("/a"), close).await;
            assert!(read.unwrap_err().is_lost());
        });
    }

    #[test]
    fn closed_while_down_the_driver_ends_and_so_does_the_watch() {
        everywhere(|host, client| async move {
            let mut watch = client.watch("/a").await.unwrap();
            assert_eq!(next(&mut watch).await, fired("/a"));
            host.set_down(true);
            host.cut();
            while host.attempts.load(Ordering::SeqCst) < 3 {
                futures_lite::future::yield_now().await;
            }
            client.blocking().close();
            assert!(watch.wait().await.unwrap_err().is_lost());
        });
    }

    #[test]
    fn without_its_driver_nobody_waits() {
        let host = Host::new();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                let (client, driver) = Client::on_tokio(host.client()).unwrap();
                let driver = tokio::spawn(driver);
                let mut watch = client.watch("/a").await.unwrap();
                assert_eq!(next(&mut watch).await, fired("/a"));
                host.set_down(true);
                host.cut();
                while host.attempts.load(Ordering::SeqCst) < 3 {
                    tokio::task::yield_now().await;
                }
                let (event, ()) = futures_lite::future::zip(watch.wait(), async {
                    driver.abort();
                })
                .await;
                assert!(event.unwrap_err().is_lost());
                assert!(client.read("/a").await.unwrap_err().is_lost());
            },
        );
    }
}
