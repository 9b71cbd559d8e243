//! Clients leave no descriptors and no threads behind. This is the only test of its process, since
//! it counts them.
#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use xs_client::Client;
use xs_proto::{MessageType, ReqId, TxId};
use xs_tests::HANG_TIMEOUT;
use xs_tests::peer::{self, message};

/// How the life of a client ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Dropped,
    Closed,
    /// The peer disconnects.
    Disconnected,
    /// The peer breaks the protocol.
    Broken,
}

#[test]
fn clients_leave_no_descriptors_and_threads() {
    // The first client creates what exists once for the process.
    live(Ending::Dropped);
    let before = count();
    for ending in [Ending::Dropped, Ending::Closed, Ending::Disconnected, Ending::Broken] {
        for _ in 0..20 {
            live(ending);
        }
        // A joined thread is still listed for a moment.
        let deadline = Instant::now() + HANG_TIMEOUT;
        while count() != before && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(count(), before, "{ending:?}");
    }
}

/// Counts the descriptors and threads of this process.
fn count() -> (usize, usize) {
    let count = |path| fs::read_dir(path).expect("/proc is mounted").count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Creates and ends a client that has a watch of each kind and a transaction.
fn live(ending: Ending) {
    let (client, mut peer) = peer::connect(Client::builder().timeout(HANG_TIMEOUT));
    let peer = thread::spawn(move || {
        while let Some(request) = peer.request() {
            let payload: &[u8] = match MessageType::from_u32(request.header.msg_type) {
                Some(MessageType::TransactionStart) => b"1\0",
                Some(MessageType::Read) if ending == Ending::Disconnected => return,
                Some(MessageType::Read) if ending == Ending::Broken => {
                    peer.send(&message(99, ReqId(0), TxId::NONE, b""));
                    while peer.request().is_some() {}
                    return;
                }
                Some(MessageType::Read) => b"v",
                _ => b"OK\0",
            };
            peer.reply(&request, payload);
        }
    });
    client.watch_with("/c", |_| ()).unwrap();
    let watch = client.watch("/w").unwrap();
    let tx = client.start_transaction().unwrap();
    if ending == Ending::Closed {
        client.close();
    }
    assert_eq!(client.read("/a").is_ok(), ending == Ending::Dropped);
    drop((watch, tx, client));
    peer.join().unwrap();
}
