//! A peer that is within its rights, if only just.

use std::thread;

use xs_client::{Client, ErrorCode, ErrorKind, EventKind};
use xs_proto::{MessageType, ReqId, TxId};
use xs_tests::PATIENCE;
use xs_tests::script::{self, message};

fn client() -> xs_client::Builder {
    Client::builder().timeout(PATIENCE)
}

#[test]
fn answers_in_any_order() {
    let (client, mut peer) = script::pair(client());
    let peer = thread::spawn(move || {
        let requests: Vec<_> = (0..100).map(|_| peer.expect(MessageType::Read)).collect();
        for request in requests.iter().rev() {
            let path = request.payload.strip_suffix(b"\0").unwrap();
            peer.answer(request, path);
        }
    });
    let paths: Vec<_> = (0..100).map(|n| format!("/{n}")).collect();
    for (path, value) in paths.iter().zip(client.read_many(&paths)) {
        assert_eq!(value.unwrap(), path.as_bytes());
    }
    peer.join().unwrap();
}

#[test]
fn names_of_errors_that_nobody_knows() {
    let (client, mut peer) = script::pair(client());
    let peer = thread::spawn(move || {
        for name in ["EQUOTA", "EWEIRD", ""] {
            let request = peer.expect(MessageType::Read);
            let payload = [name.as_bytes(), &[0]].concat();
            let id = request.header.req_id;
            peer.send(&message(MessageType::Error as u32, id, TxId::NONE, &payload));
        }
    });
    assert_eq!(client.read("/a").unwrap_err().code(), Some(&ErrorCode::Quota));
    let error = client.read("/a").unwrap_err();
    assert_eq!(error.code().unwrap().name(), "EWEIRD");
    assert!(error.to_string().contains("EWEIRD"), "{error}");
    assert_eq!(client.read("/a").unwrap_err().code().unwrap().name(), "");
    peer.join().unwrap();
}

/// oxenstored takes such permissions from any guest: they harm nobody but who asks for them.
#[test]
fn permissions_of_domains_that_cannot_be() {
    let (client, mut peer) = script::pair(client());
    let peer = thread::spawn(move || {
        for entries in [&b"n5\0b99999\0"[..], b"n-1\0", b"n5\0"] {
            let request = peer.expect(MessageType::GetPerms);
            peer.answer(&request, entries);
        }
    });
    for strange in ["n5 b99999", "n-1"] {
        let error = client.get_perms("/a").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
        assert!(error.to_string().contains(strange), "{error}");
    }
    assert_eq!(client.get_perms("/a").unwrap(), "n5".parse().unwrap());
    peer.join().unwrap();
}

#[test]
fn the_first_event_before_the_answer() {
    let (client, mut peer) = script::pair(client());
    let peer = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        let token = watch.payload.split(|byte| *byte == 0).nth(1).unwrap().to_vec();
        peer.fire("/w", &token);
        peer.answer(&watch, b"OK\0");
        peer
    });
    let mut watch = client.watch("/w").unwrap();
    assert_eq!(&*watch.try_next().unwrap().unwrap().path, "/w");
    drop(peer.join().unwrap());
}

#[test]
fn events_with_garbage_for_ids() {
    let (client, mut peer) = script::pair(client());
    let peer = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        peer.answer(&watch, b"OK\0");
        let token = watch.payload.split(|byte| *byte == 0).nth(1).unwrap();
        let payload = [b"/w\0", token, b"\0"].concat();
        let event = MessageType::WatchEvent as u32;
        peer.send(&message(event, ReqId(0xdead_beef), TxId(0x1234_5678), &payload));
        peer
    });
    let mut watch = client.watch("/w").unwrap();
    assert_eq!(&*watch.wait().unwrap().path, "/w");
    drop(peer.join().unwrap());
}

#[test]
fn events_that_belong_to_nobody() {
    let (client, mut peer) = script::pair(client());
    let peer = thread::spawn(move || {
        let request = peer.expect(MessageType::Read);
        for token in [&b""[..], b"xs-", b"xs-ffff", b"1", b"\xff", b"xs-10000000000000000"] {
            peer.fire("/w", token);
        }
        peer.answer(&request, b"v");
    });
    assert_eq!(client.read("/a").unwrap(), b"v");
    peer.join().unwrap();
}

/// Whoever does not take events is told that there were too many; what others wait for comes.
#[test]
fn a_flood_of_events() {
    let (client, mut peer) = script::pair(client().watch_capacity(100));
    let peer = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        peer.answer(&watch, b"OK\0");
        let token = watch.payload.split(|byte| *byte == 0).nth(1).unwrap().to_vec();
        let request = peer.expect(MessageType::Read);
        for n in 0..50_000 {
            peer.fire(&format!("/w/{n}"), &token);
        }
        peer.answer(&request, b"v");
        peer
    });
    let mut watch = client.watch("/w").unwrap();
    assert_eq!(client.read("/a").unwrap(), b"v");
    let mut events = Vec::new();
    while let Some(event) = watch.try_next().unwrap() {
        events.push(event.kind);
    }
    assert_eq!(events.len(), 101);
    assert_eq!(events.iter().position(|kind| *kind == EventKind::Overflow), Some(100));
    drop(peer.join().unwrap());
}

/// A list of children that goes on for ever, or changes for ever.
#[test]
fn a_directory_without_end() {
    for grows in [false, true] {
        let (client, mut peer) = script::pair(client());
        let peer = thread::spawn(move || {
            let mut generation = 0;
            while let Some(request) = peer.request() {
                if request.header.msg_type == MessageType::Directory as u32 {
                    let id = request.header.req_id;
                    peer.send(&message(MessageType::Error as u32, id, TxId::NONE, b"E2BIG\0"));
                    continue;
                }
                generation += u64::from(!grows);
                let name = vec![b'x'; 4000];
                let part = [format!("{generation}\0").as_bytes(), &name, b"\0"].concat();
                peer.answer(&request, &part);
            }
        });
        let error = client.directory("/a").unwrap_err();
        assert!(matches!(error.kind(), xs_client::ErrorKind::Unexpected(_)), "{error}");
        assert_eq!((error.operation(), error.path()), ("directory", Some("/a")));
        drop(client);
        peer.join().unwrap();
    }
}
