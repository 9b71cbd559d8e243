//! Operations and transactions.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, yield_now, zip};
use xs_client::futures::Client;
use xs_client::{DomId, ErrorCode, ErrorKind, EventKind, Retries};
use xs_transport::mock::{Flavour, Xenstored};

use crate::everywhere;
use crate::support::daemon::{FULL, start};
use crate::support::runtimes::block_on_tokio;

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
fn arrays_and_batches_name_the_path_of_their_errors() {
    everywhere(|client, _| async move {
        client.write("/a", "1").await.unwrap();
        client.mkdir("/a/b").await.unwrap();
        assert_eq!(client.read_array(["/a", "/a/b"]).await.unwrap(), [&b"1"[..], &b""[..]]);
        let error = client.read_array(["/a", "/none"]).await.unwrap_err();
        assert_eq!(error.path(), Some("/none"));
        let perms = "n0 r5".parse().unwrap();
        let set = client.set_perms_many([("/a", &perms), ("/none", &perms)]).await;
        assert!(set[0].is_ok() && set[1].is_err());
        assert_eq!(client.get_perms_many(["/a"]).await.remove(0).unwrap(), perms);
        let exist: Vec<_> = client.exists_many(["/a", "/none"]).await;
        assert_eq!(exist.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [true, false]);
        let names = client.directory_many(["/a", "/none"]).await;
        assert_eq!(names[0].as_ref().unwrap(), &["b"]);
        assert!(names[1].as_ref().unwrap_err().is_not_found());
    });
}

#[test]
fn features_quotas_and_domains_are_those_of_the_blocking_client() {
    everywhere(|client, xenstored| async move {
        let guest = DomId::new(5);
        assert_eq!(client.get_features().await.ok(), client.blocking().get_features().ok());
        let quotas = client.quotas().await.unwrap();
        assert_eq!(quotas, client.blocking().quotas().unwrap());
        client.set_quota("nodes", 77).await.unwrap();
        assert_eq!(client.get_quota("nodes").await.unwrap(), 77);
        xenstored.add_guest(guest);
        client.set_domain_quota(guest, "nodes", 78).await.unwrap();
        assert_eq!(client.get_domain_quota(guest, "nodes").await.unwrap(), 78);
        let features = client.get_domain_features(guest).await.unwrap();
        assert_eq!(features, client.blocking().get_domain_features(guest).unwrap());
        assert!(client.is_domain_introduced(guest).await.unwrap());
        assert_eq!(client.transport_name(), client.blocking().transport_name());
    });
}

#[test]
fn unsupported_request_is_never_sent_without_payload() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    let client = xs_client::Client::from_transport(xenstored.connect(DomId::DOM0));
    let client = Client::on_thread(client).unwrap();
    xenstored.record();
    let error = block_on(client.get_features()).unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::NotSupported));
    let error = block_on(client.quotas()).unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::NotSupported));
    assert_eq!(xenstored.take_records().len(), 2);
}

#[test]
fn walk_is_a_stream_of_nodes_in_the_order_of_the_blocking_walk() {
    everywhere(|client, xenstored| async move {
        // The nodes exceed a query, and one list of children exceeds a message.
        for at in 0..700 {
            xenstored.set(&format!("/t/{}/{at:06}", at % 3), "v").unwrap();
            xenstored.set(&format!("/t/long/{at:06}"), "v").unwrap();
        }
        let mut walk = client.walk("/t").with_values().with_perms();
        let mut blocking = client.blocking().walk("/t").with_values().with_perms();
        while let Some(node) = walk.next().await {
            let expected = blocking.next().unwrap();
            assert_eq!((&node.path, node.depth), (&expected.path, expected.depth));
            assert_eq!(node.children.unwrap(), expected.children.unwrap());
            assert_eq!(node.value.unwrap().unwrap(), expected.value.unwrap().unwrap());
            assert_eq!(node.perms.unwrap().unwrap(), expected.perms.unwrap().unwrap());
        }
        assert!(blocking.next().is_none());
        let count = client.walk("/t").fold(0, |count, _| count + 1).await;
        assert_eq!(count, 1 + 4 + 1400);

        // Walks may be dropped anywhere, and continue inside of transactions.
        for taken in [0, 1, 2, 400] {
            let mut walk = client.walk("/t");
            for _ in 0..taken {
                walk.next().await.unwrap();
            }
        }
        let depth = client.transaction(async |tx| Ok(tx.walk("/t/0").count().await)).await;
        assert_eq!(depth.unwrap(), 1 + 234);
        let missing = client.walk("/none").next().await.unwrap();
        assert!(missing.children.unwrap_err().is_not_found());
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
fn transaction_may_capture_by_reference_on_a_spawned_task() {
    block_on_tokio(async {
        let (_xenstored, client) = start();
        let client = Client::on_tokio(client).unwrap();
        let task = tokio::spawn(async move {
            let (attempts, path) = (AtomicUsize::new(0), String::from("/counter"));
            let transaction = client.transaction(async |tree| {
                attempts.fetch_add(1, Ordering::Relaxed);
                tree.write(&path, "7").await?;
                tree.read_parsed::<u32>(&path).await
            });
            let value = transaction.await.unwrap();
            (value, attempts.into_inner())
        });
        assert_eq!(task.await.unwrap(), (7, 1));
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

#[test]
fn tasks_that_wait_for_room_are_woken_as_often_as_there_is_room() {
    const TASKS: usize = 10 * FULL;
    let (_xenstored, client) = start();
    let polls = Arc::new(AtomicUsize::new(0));
    block_on_tokio(async {
        let client = Client::on_tokio(client).unwrap();
        let read = || {
            let (client, polls) = (client.clone(), polls.clone());
            let mut read = Box::pin(async move { client.read("/").await });
            tokio::spawn(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                read.as_mut().poll(cx)
            }))
        };
        let tasks: Vec<_> = (0..TASKS).map(|_| read()).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    // The first poll finds no room, the second one submits, the third one has the reply.
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= 4 * TASKS, "{polls} polls of {TASKS} tasks");
}

#[test]
fn tasks_that_are_not_polled_do_not_keep_the_room() {
    everywhere(|client, _| async move {
        let mut unpolled = Vec::new();
        for _ in 0..3 * FULL {
            let mut read = Box::pin(client.read("/"));
            // The waker of this task would lead to a poll of its own read.
            if read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                unpolled.push(read);
            }
        }
        client.read("/").await.unwrap();
        for read in unpolled {
            read.await.unwrap();
        }
    });
}
