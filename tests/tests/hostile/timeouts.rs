//! A peer that answers late or never, or does not even read.

use std::thread;
use std::time::Duration;

use xs_client::{Client, ErrorKind, Failure, op};
use xs_proto::{ClientConnection, MessageType};
use xs_tests::{HANG_TIMEOUT, SHORT_TIMEOUT, peer};

use crate::patient;

/// How many requests can be in flight.
const MAX_PENDING: usize = ClientConnection::<()>::MAX_PENDING;

/// Returns a builder for clients whose operations time out.
fn impatient() -> xs_client::Builder {
    Client::builder().timeout(SHORT_TIMEOUT)
}

#[test]
fn late_replies_are_discarded() {
    let (client, mut peer) = peer::connect(patient());
    let error = client.with_timeout(SHORT_TIMEOUT).read("/late").unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!((error.operation(), error.path()), ("read", Some("/late")));
    assert_eq!(error.io_kind(), std::io::ErrorKind::TimedOut);

    // The late reply comes right before the next one.
    let late = peer.expect(MessageType::Read);
    let peer = thread::spawn(move || {
        let next = peer.expect(MessageType::Read);
        peer.reply(&late, b"late");
        peer.reply(&next, b"next");
        peer
    });
    assert_eq!(client.read("/next").unwrap(), b"next");
    drop(peer.join().unwrap());
}

#[test]
fn every_operation_of_a_batch_times_out() {
    let (client, mut peer) = peer::connect(impatient());
    let results = client.read_many(["/a", "/b", "/c"]);
    for (result, path) in results.into_iter().zip(["/a", "/b", "/c"]) {
        let error = result.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.path(), Some(path));
    }
    for _ in 0..3 {
        peer.expect(MessageType::Read);
    }
}

#[test]
fn transaction_that_starts_late_is_aborted() {
    let (client, mut peer) = peer::connect(patient());
    let tx = client.with_timeout(SHORT_TIMEOUT).start_transaction();
    assert!(tx.unwrap_err().is_timeout());
    let start = peer.expect(MessageType::TransactionStart);
    let peer = thread::spawn(move || {
        let read = peer.expect(MessageType::Read);
        peer.reply(&start, b"17\0");
        peer.reply(&read, b"v");
        let end = peer.accept(MessageType::TransactionEnd);
        assert_eq!((end.header.tx_id.0, &*end.payload), (17, &b"F\0"[..]));
    });
    client.read("/a").unwrap();
    peer.join().unwrap();
}

#[test]
fn unconfirmed_watches_are_removed() {
    let (client, mut peer) = peer::connect(impatient());
    assert!(client.watch("/w").unwrap_err().is_timeout());
    let error = client.watch_with("/w", |_| ()).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    for _ in 0..2 {
        let watch = peer.expect(MessageType::Watch);
        let unwatch = peer.expect(MessageType::Unwatch);
        assert_eq!(watch.token(), unwatch.token());
    }
}

#[test]
fn wait_for_times_out() {
    let (client, peer) = peer::connect(Client::builder());
    let error = client.wait_for("/a", SHORT_TIMEOUT, |_| true).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.path(), Some("/a"));
    drop(peer);
}

#[test]
fn unwatch_times_out() {
    let (client, mut peer) = peer::connect(impatient());
    let server = thread::spawn(move || {
        peer.accept(MessageType::Watch);
        peer
    });
    let watch = client.with_timeout(HANG_TIMEOUT).watch("/w").unwrap();
    let peer = server.join().unwrap();
    assert!(client.unwatch(watch.token()).unwrap_err().is_timeout());
    drop((watch, peer));
}

/// Setting the watch has to succeed and removing it to time out, with the same timeout. If it is
/// too short for this machine, a longer one is tried.
#[test]
fn watch_removal_times_out_with_the_timeout_of_its_client() {
    let mut timeout = SHORT_TIMEOUT;
    while !watch_removal_times_out(timeout) {
        timeout *= 2;
        assert!(timeout < HANG_TIMEOUT, "the watch is never confirmed");
    }
}

/// Returns whether the watch could be set in time.
fn watch_removal_times_out(timeout: Duration) -> bool {
    let (client, mut peer) = peer::connect(Client::builder().timeout(timeout));
    let server = thread::spawn(move || {
        peer.accept(MessageType::Watch);
        peer.expect(MessageType::Unwatch);
        peer
    });
    let watch = client.watch("/w");
    if let Ok(watch) = watch {
        assert!(watch.remove().unwrap_err().is_timeout());
        drop(server.join().unwrap());
        return true;
    }
    // The cleanup of the late watch ends the server.
    drop(server.join().unwrap());
    false
}

/// Aborts and removals wait while the in-flight table is full, and are sent when slots are free.
#[test]
fn cleanup_waits_for_free_slots() {
    let (client, mut peer) = peer::connect(patient());
    let server = thread::spawn(move || {
        peer.accept(MessageType::Watch);
        for tx_id in [b"1\0", b"2\0"] {
            let start = peer.expect(MessageType::TransactionStart);
            peer.reply(&start, tx_id);
        }
        let reads: Vec<_> = (0..MAX_PENDING).map(|_| peer.expect(MessageType::Read)).collect();
        for (read, cleanup) in reads.iter().zip([
            MessageType::TransactionEnd,
            MessageType::Unwatch,
            MessageType::TransactionEnd,
        ]) {
            peer.reply(read, b"");
            let request = peer.expect(cleanup);
            assert_eq!(request.header.tx_id.0 != 0, cleanup == MessageType::TransactionEnd);
        }
    });
    let watch = client.watch("/w").unwrap();
    let [one, other] = [(); 2].map(|()| client.start_transaction().unwrap());
    let mut reads: Vec<_> =
        (0..MAX_PENDING).map(|_| client.start(&op::read("/a")).expect("a slot is free")).collect();
    assert!(client.start(&op::read("/a")).is_err(), "the table has more slots than expected");
    drop(one);
    drop(watch);
    drop(other);
    for read in reads.drain(..3) {
        read.wait().unwrap();
    }
    server.join().unwrap();
}

/// Unanswered requests stay in the in-flight table, whose size bounds the memory that they take.
/// Requests that do not fit time out as well.
#[test]
fn requests_beyond_the_table_time_out() {
    let (client, mut peer) = peer::connect(impatient());
    let reader = thread::spawn(move || {
        let mut count = 0;
        while peer.request().is_some() {
            count += 1;
        }
        count
    });
    for _ in 0..3 {
        for result in client.run_many((0..3000).map(|_| op::read("/a"))) {
            assert!(result.unwrap_err().is_timeout());
        }
    }
    drop(client);
    assert!(reader.join().unwrap() <= MAX_PENDING);
}

#[test]
fn peer_that_does_not_read_causes_timeouts_only() {
    let (client, peer) = peer::connect(impatient());
    let value = vec![0; 4000];
    for result in client.write_many((0..2000).map(|_| ("/a", &value))) {
        assert!(result.unwrap_err().is_timeout());
    }
    // Cleanup requests cannot be sent either, and delay nothing.
    assert!(client.watch("/w").is_err());
    drop(client);
    drop(peer);
}

#[test]
fn close_wakes_threads_that_wait_without_a_timeout() {
    let (client, mut peer) = peer::connect(Client::builder().timeout(None));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.read("/a").unwrap_err());
        peer.expect(MessageType::Read);
        client.close();
        let error = waiting.join().unwrap();
        assert!(matches!(error.kind(), ErrorKind::Lost(Failure::Closed)), "{error}");
    });
    assert!(peer.request().is_none(), "the connection is still open");
}
