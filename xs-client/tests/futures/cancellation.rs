//! Futures that are dropped before they are ready.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use futures_lite::future::yield_now;
use xs_client::DomId;
use xs_proto::Request;

use crate::everywhere;

/// Polls a future up to `polls` times, then drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut pinned = pin!(future);
    for _ in 0..polls {
        let polled = pinned.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return;
        }
        yield_now().await;
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
            // Late replies are not mistaken for replies to other requests.
            client.write("/b", polls.to_string()).await.unwrap();
            assert_eq!(client.read_parsed::<usize>("/b").await.unwrap(), polls);
        }
        // Cleanup requests may be sent after the last answer. These reads outlast them.
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
