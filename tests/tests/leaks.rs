//! Clients leave nothing behind: no descriptor, no thread. Alone in its process, since it counts.
#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use xs_client::Client;
use xs_proto::{MessageType, ReqId, TxId};
use xs_tests::PATIENCE;
use xs_tests::script::{self, message};

/// How many descriptors and threads this process has.
fn held() -> (usize, usize) {
    let count = |path| fs::read_dir(path).expect("it is Linux").count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

#[test]
fn nothing_is_left_behind() {
    // Whatever is made once for the process is made here.
    one(Ending::Dropped);
    let before = held();
    for ending in [Ending::Dropped, Ending::Closed, Ending::HungUp, Ending::Broken] {
        for _ in 0..20 {
            one(ending);
        }
        // A thread is still listed for a moment after it was joined.
        let patience = Instant::now() + PATIENCE;
        while held() != before && Instant::now() < patience {
            thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(held(), before, "{ending:?}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Dropped,
    Closed,
    HungUp,
    Broken,
}

/// The life of a client with a watch of each kind, an event loop's descriptor and a transaction.
fn one(ending: Ending) {
    let (client, mut peer) = script::pair(Client::builder().timeout(PATIENCE));
    let peer = thread::spawn(move || {
        while let Some(request) = peer.request() {
            let payload: &[u8] = match MessageType::from_u32(request.header.msg_type) {
                Some(MessageType::TransactionStart) => b"1\0",
                Some(MessageType::Read) if ending == Ending::HungUp => return,
                Some(MessageType::Read) if ending == Ending::Broken => {
                    peer.send(&message(99, ReqId(0), TxId::NONE, b""));
                    while peer.request().is_some() {}
                    return;
                }
                Some(MessageType::Read) => b"v",
                _ => b"OK\0",
            };
            peer.answer(&request, payload);
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
