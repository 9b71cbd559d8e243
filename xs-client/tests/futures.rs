//! The futures, on each runtime: tokio with one thread and with several, smol, and none at all.
#![cfg(all(feature = "tokio", feature = "smol"))]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future;
use xs_client::futures::Client;
use xs_client::{DomId, ErrorKind, EventKind, Retries};
use xs_proto::Request;
use xs_transport::mock::{Fault, Xenstored};

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
