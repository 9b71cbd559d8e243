//! Operations and transactions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{yield_now, zip};
use xs_client::{DomId, ErrorKind, EventKind, Retries};

use crate::everywhere;

#[test]
fn operations_return_results_and_errors() {
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
fn batches_return_results_in_order() {
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
fn transactions_commit_and_abort() {
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
    });
}

#[test]
fn conflicting_transactions_are_retried() {
    everywhere(|client, _| async move {
        client.write("/counter", "7").await.unwrap();
        // Each of the first three attempts conflicts with a write outside the transaction.
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
fn wait_for_returns_accepted_value_or_times_out() {
    everywhere(|client, _| async move {
        let wait = client.wait_for("/state", Duration::from_secs(20), |value| value == Some(b"4"));
        let write = async {
            for state in 1..=4 {
                client.write_display("/state", state).await.unwrap();
                yield_now().await;
            }
        };
        let (value, ()) = zip(wait, write).await;
        assert_eq!(value.unwrap().unwrap(), b"4");
        let error = client.wait_for("/state", Duration::from_millis(5), |_| false).await;
        assert!(error.unwrap_err().is_timeout());
    });
}

#[test]
fn loss_of_connection_reaches_all_futures() {
    everywhere(|client, _| async move {
        let mut watch = client.watch("/w").await.unwrap();
        assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
        let close = async {
            yield_now().await;
            client.blocking().close();
        };
        let (event, ()) = zip(watch.wait(), close).await;
        assert!(event.unwrap_err().is_lost());
        assert!(client.read("/a").await.unwrap_err().is_lost());
    });
}

#[test]
fn long_list_that_changes_for_a_while_is_read_completely() {
    everywhere(|client, xenstored| async move {
        for at in 0..2000 {
            xenstored.set(&format!("/a/{at:06}"), "").unwrap();
        }
        let start = Instant::now();
        let writer = thread::spawn({
            let xenstored = xenstored.clone();
            move || {
                for count in 0.. {
                    xenstored.set(&format!("/a/more-{count}"), "").unwrap();
                    if start.elapsed() >= Duration::from_millis(300) {
                        return;
                    }
                }
            }
        });
        // A list may be read between two changes.
        while !writer.is_finished() {
            assert!(client.directory("/a").await.unwrap().len() >= 2000);
        }
        assert_eq!(client.directory("/a").await.ok(), xenstored.children("/a"));
    });
}
