//! A peer that does not answer, not in time, or does not even read.

use std::thread;
use std::time::Duration;

use xs_client::{Client, ErrorKind, op};
use xs_proto::MessageType;
use xs_tests::PATIENCE;
use xs_tests::script::{self, Message};

/// Long enough to be missed, short enough to be waited for.
const SOON: Duration = Duration::from_millis(20);

fn token(request: &Message) -> Vec<u8> {
    request.payload.split(|byte| *byte == 0).nth(1).expect("it has a token").to_vec()
}

#[test]
fn a_late_answer_is_discarded() {
    let (client, mut peer) = script::pair(Client::builder().timeout(PATIENCE));
    let error = client.with_timeout(SOON).read("/late").unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!((error.operation(), error.path()), ("read", Some("/late")));
    assert_eq!(error.io_kind(), std::io::ErrorKind::TimedOut);

    // It comes after all, right before the next one.
    let late = peer.expect(MessageType::Read);
    let peer = thread::spawn(move || {
        let next = peer.expect(MessageType::Read);
        peer.answer(&late, b"late");
        peer.answer(&next, b"next");
        peer
    });
    assert_eq!(client.read("/next").unwrap(), b"next");
    drop(peer.join().unwrap());
}

#[test]
fn each_of_a_batch_is_told() {
    let (client, mut peer) = script::pair(Client::builder().timeout(SOON));
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
fn a_transaction_that_starts_too_late_is_aborted() {
    let (client, mut peer) = script::pair(Client::builder().timeout(PATIENCE));
    let tx = client.with_timeout(SOON).start_transaction();
    assert!(tx.unwrap_err().is_timeout());
    let start = peer.expect(MessageType::TransactionStart);
    let peer = thread::spawn(move || {
        let read = peer.expect(MessageType::Read);
        peer.answer(&start, b"17\0");
        peer.answer(&read, b"v");
        let end = peer.expect(MessageType::TransactionEnd);
        assert_eq!((end.header.tx_id.0, &*end.payload), (17, &b"F\0"[..]));
        peer.answer(&end, b"OK\0");
    });
    client.read("/a").unwrap();
    peer.join().unwrap();
}

#[test]
fn a_watch_that_is_not_confirmed_is_taken_back() {
    let (client, mut peer) = script::pair(Client::builder().timeout(SOON));
    assert!(client.watch("/w").unwrap_err().is_timeout());
    let error = client.watch_with("/w", |_| ()).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    for _ in 0..2 {
        let watch = peer.expect(MessageType::Watch);
        let unwatch = peer.expect(MessageType::Unwatch);
        assert_eq!(token(&watch), token(&unwatch));
    }
}

#[test]
fn waiting_for_a_value_ends_in_time() {
    let (client, peer) = script::pair(Client::builder());
    let error = client.wait_for("/a", SOON, |_| true).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.path(), Some("/a"));
    drop(peer);
}

#[test]
fn removing_a_watch_ends_in_time() {
    let (client, mut peer) = script::pair(Client::builder().timeout(SOON));
    let server = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        peer.answer(&watch, b"OK\0");
        peer
    });
    let watch = client.with_timeout(PATIENCE).watch("/w").unwrap();
    let peer = server.join().unwrap();
    assert!(client.unwatch(watch.token()).unwrap_err().is_timeout());
    drop((watch, peer));
}

#[test]
fn a_watch_takes_its_time_to_be_removed_and_no_more() {
    let (client, mut peer) = script::pair(Client::builder().timeout(Duration::from_secs(1)));
    let server = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        peer.answer(&watch, b"OK\0");
        peer.expect(MessageType::Unwatch);
        peer
    });
    let watch = client.watch("/w").unwrap();
    assert!(watch.remove().unwrap_err().is_timeout());
    drop(server.join().unwrap());
}

/// As many requests under way as there may be, and something to be taken back: that waits for
/// room, and is not forgotten.
#[test]
fn what_cannot_be_taken_back_at_once_is_taken_back_later() {
    const MANY: usize = 4096;
    let (client, mut peer) = script::pair(Client::builder().timeout(PATIENCE));
    let server = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        peer.answer(&watch, b"OK\0");
        for tx_id in [b"1\0", b"2\0"] {
            let start = peer.expect(MessageType::TransactionStart);
            peer.answer(&start, tx_id);
        }
        let reads: Vec<_> = (0..MANY).map(|_| peer.expect(MessageType::Read)).collect();
        for (read, left) in reads.iter().zip([
            MessageType::TransactionEnd,
            MessageType::Unwatch,
            MessageType::TransactionEnd,
        ]) {
            peer.answer(read, b"");
            assert_eq!(peer.expect(left).header.tx_id.0 != 0, left == MessageType::TransactionEnd);
        }
    });
    let watch = client.watch("/w").unwrap();
    let [one, other] = [(); 2].map(|()| client.start_transaction().unwrap());
    let mut reads: Vec<_> =
        (0..MANY).map(|_| client.start(&op::read("/a")).expect("there is room")).collect();
    assert!(client.start(&op::read("/a")).is_err(), "there is more room than was thought");
    drop(one);
    drop(watch);
    drop(other);
    for read in reads.drain(..3) {
        read.wait().unwrap();
    }
    server.join().unwrap();
}

/// More requests than can be in flight, none answered: each is given up in time, and the memory
/// that they take is bounded.
#[test]
fn more_requests_than_fit() {
    let (client, mut peer) = script::pair(Client::builder().timeout(SOON));
    let reader = thread::spawn(move || {
        let mut seen = 0;
        while peer.request().is_some() {
            seen += 1;
        }
        seen
    });
    for _ in 0..3 {
        for result in client.run_all((0..3000).map(|_| op::read("/a"))) {
            assert!(result.unwrap_err().is_timeout());
        }
    }
    drop(client);
    assert!(reader.join().unwrap() <= 4096);
}

#[test]
fn a_peer_that_does_not_read() {
    let (client, peer) = script::pair(Client::builder().timeout(SOON));
    let value = vec![0; 4000];
    for result in client.write_many((0..2000).map(|_| ("/a", &value))) {
        assert!(result.unwrap_err().is_timeout());
    }
    // Nor does it delay what nobody waits for.
    assert!(client.watch("/w").is_err());
    drop(client);
    drop(peer);
}

#[test]
fn closing_frees_who_waits_for_ever() {
    let (client, mut peer) = script::pair(Client::builder().timeout(None));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.read("/a").unwrap_err());
        peer.expect(MessageType::Read);
        client.close();
        let error = waiting.join().unwrap();
        assert!(matches!(error.kind(), ErrorKind::Lost(xs_client::Failure::Closed)), "{error}");
    });
    assert!(peer.request().is_none(), "the connection is closed");
}
