//! Watches as streams.

use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{or, yield_now, zip};
use xs_client::futures::Client;
use xs_client::{DomId, ErrorKind, EventKind};

use crate::everywhere;
use crate::support::daemon::start;
use crate::support::runtimes::block_on_tokio;

#[test]
fn watch_is_a_stream_of_events() {
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
fn all_watches_can_be_removed_and_reset() {
    everywhere(|client, xenstored| async move {
        let mut watches = [client.watch("/a").await.unwrap(), client.watch("/b").await.unwrap()];
        client.unwatch_all().await.unwrap();
        assert!(xenstored.watches(DomId::DOM0).is_empty());
        for watch in &mut watches {
            let error = watch.wait().await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
        }
        let mut watch = client.watch("/a").await.unwrap();
        client.reset_watches().await.unwrap();
        assert!(xenstored.watches(DomId::DOM0).is_empty());
        assert!(watch.next().await.is_none());
    });
}

#[test]
fn stream_reports_loss_once_and_ends() {
    everywhere(|client, _| async move {
        let mut watch = client.watch("/w").await.unwrap();
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
        let close = async {
            yield_now().await;
            client.blocking().close();
        };
        let (event, ()) = zip(watch.next(), close).await;
        assert!(event.unwrap().unwrap_err().is_lost());
        assert!(watch.next().await.is_none());
    });
}

#[test]
fn events_are_received_before_queue_overflows() {
    let (xenstored, blocking) = start();
    // These exceed the queue of a watch, and all of them occur before the watch is read.
    let fire = || (0..3000).for_each(|at| xenstored.set(&format!("/w/{at}"), "").unwrap());

    let mut watch = blocking.watch("/w").unwrap();
    assert_eq!(&*watch.wait().unwrap().path, "/w");
    fire();
    for at in 0..3000 {
        let event = watch.wait().unwrap();
        assert_eq!((event.kind, &*event.path), (EventKind::Fired, &*format!("/w/{at}")));
    }
    drop(watch);

    block_on_tokio(async {
        let (client, driver) = Client::with_tokio_driver(blocking).unwrap();
        tokio::spawn(driver);
        let mut watch = client.watch("/w").await.unwrap();
        assert_eq!(&*watch.wait().await.unwrap().path, "/w");
        fire();
        // The driver learns of the events and is polled before this task reads them.
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
fn racing_watches_lose_no_events() {
    everywhere(|client, _| async move {
        let mut a = client.watch("/a").await.unwrap();
        let mut b = client.watch("/b").await.unwrap();
        a.wait().await.unwrap();
        b.wait().await.unwrap();
        let mut seen = (0, 0);
        for round in 0..200 {
            let path = format!("/{}/{round}", if round % 3 == 0 { "a" } else { "b" });
            client.write(&path, "").await.unwrap();
            // `or` drops the future that loses the race.
            let event = or(async { a.wait().await }, async { b.wait().await }).await;
            assert_eq!(*event.unwrap().path, *path);
            if round % 3 == 0 { seen.0 += 1 } else { seen.1 += 1 }
        }
        assert_eq!(seen, (67, 133));
    });
}
