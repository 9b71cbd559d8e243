//! Sets of watches as streams.

use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{or, yield_now, zip};
use xs_client::{DomId, ErrorKind};

use crate::everywhere;

#[test]
fn set_is_a_stream_of_events_of_its_watches() {
    everywhere(|client, xenstored| async move {
        let mut set = client.watch_set();
        let a = set.add("/a").await.unwrap();
        let b = client.watch_builder("/b").depth(1).capacity(4).add_to(&set).await.unwrap();
        for token in [a, b] {
            assert_eq!(set.next().await.unwrap().unwrap().token, token);
        }
        client.write("/b/c", "").await.unwrap();
        client.write("/b/c/d", "").await.unwrap();
        let event = set.next().await.unwrap().unwrap();
        assert_eq!((event.token, &*event.watched, &*event.path), (b, "/b", "/b/c"));
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(set.next_until(Some(soon)).await.unwrap().is_none());

        set.remove(b).await.unwrap();
        client.write("/b/c", "").await.unwrap();
        client.write("/a", "").await.unwrap();
        assert_eq!(set.wait().await.unwrap().token, a);
        assert_eq!((set.len(), set.contains(b)), (1, false));
        drop(set);
        client.exists("/").await.unwrap();
        client.exists("/").await.unwrap();
        assert_eq!(xenstored.watches(DomId::DOM0), []);
    });
}

#[test]
fn watches_are_added_and_removed_while_task_waits() {
    everywhere(|client, _| async move {
        let mut set = client.watch_set();
        let handle = set.handle();
        let change = async {
            yield_now().await;
            let removed = handle.add("/removed").await.unwrap();
            handle.remove(removed).await.unwrap();
            handle.add("/a").await.unwrap()
        };
        let wait = async {
            loop {
                let event = set.wait().await.unwrap();
                if &*event.watched == "/a" {
                    return event.token;
                }
            }
        };
        let (added, fired) = zip(change, wait).await;
        assert_eq!(added, fired);
    });
}

#[test]
fn closing_ends_the_stream() {
    everywhere(|client, xenstored| async move {
        let mut set = client.watch_set();
        set.add("/a").await.unwrap();
        set.wait().await.unwrap();
        let handle = set.handle();
        let close = async {
            yield_now().await;
            handle.close().await.unwrap();
        };
        let (item, ()) = zip(set.next(), close).await;
        assert!(item.is_none());
        assert_eq!(xenstored.watches(DomId::DOM0), []);
        let error = handle.add("/a").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WatchRemoved), "{error}");
    });
}

#[test]
fn stream_of_a_set_reports_loss_once_and_ends() {
    everywhere(|client, _| async move {
        let mut set = client.watch_set();
        let close = async {
            yield_now().await;
            client.blocking().close();
        };
        let (item, ()) = zip(set.next(), close).await;
        assert!(item.unwrap().unwrap_err().is_lost());
        assert!(set.next().await.is_none());
    });
}

#[test]
fn racing_sets_lose_no_events() {
    everywhere(|client, _| async move {
        let (mut one, mut other) = (client.watch_set(), client.watch_set());
        one.add("/a").await.unwrap();
        other.add("/b").await.unwrap();
        one.wait().await.unwrap();
        other.wait().await.unwrap();
        for round in 0..100 {
            let path = format!("/{}/{round}", if round % 3 == 0 { "a" } else { "b" });
            client.write(&path, "").await.unwrap();
            // `or` drops the future that loses the race.
            let event = or(async { one.wait().await }, async { other.wait().await }).await;
            assert_eq!(*event.unwrap().path, *path);
        }
    });
}
