//! A peer that sends unusual messages, all of which the protocol permits.

use std::thread;
use std::time::{Duration, Instant};

use xs_client::{ErrorCode, ErrorKind, EventKind};
use xs_proto::{MessageType, ReqId, TxId};
use xs_tests::HANG_TIMEOUT;
use xs_tests::peer::{self, Peer, message};

use crate::patient;

#[test]
fn replies_may_come_in_any_order() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        let requests: Vec<_> = (0..100).map(|_| peer.expect(MessageType::Read)).collect();
        for request in requests.iter().rev() {
            let path = request.payload.strip_suffix(b"\0").unwrap();
            peer.reply(request, path);
        }
    });
    let paths: Vec<_> = (0..100).map(|n| format!("/{n}")).collect();
    for (path, value) in paths.iter().zip(client.read_many(&paths)) {
        assert_eq!(value.unwrap(), path.as_bytes());
    }
    peer.join().unwrap();
}

#[test]
fn unknown_error_names_are_kept() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        for name in ["EQUOTA", "EWEIRD", ""] {
            let request = peer.expect(MessageType::Read);
            peer.reply_error(&request, name);
        }
    });
    assert_eq!(client.read("/a").unwrap_err().code(), Some(&ErrorCode::Quota));
    let error = client.read("/a").unwrap_err();
    assert_eq!(error.code().unwrap().name(), "EWEIRD");
    assert!(error.to_string().contains("EWEIRD"), "{error}");
    assert_eq!(client.read("/a").unwrap_err().code().unwrap().name(), "");
    peer.join().unwrap();
}

/// oxenstored accepts such permissions from any guest. They must affect only the clients that read
/// them, and only that operation.
#[test]
fn permissions_of_impossible_domains_fail_one_operation() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        for entries in [&b"n5\0b99999\0"[..], b"n-1\0", b"n5\0"] {
            let request = peer.expect(MessageType::GetPerms);
            peer.reply(&request, entries);
        }
    });
    for entries in ["n5 b99999", "n-1"] {
        let error = client.get_perms("/a").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
        assert!(error.to_string().contains(entries), "{error}");
    }
    assert_eq!(client.get_perms("/a").unwrap(), "n5".parse().unwrap());
    peer.join().unwrap();
}

#[test]
fn first_event_may_precede_the_reply() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        let watch = peer.expect(MessageType::Watch);
        peer.send_event("/w", watch.token());
        peer.reply(&watch, b"OK\0");
        peer
    });
    let mut watch = client.watch("/w").unwrap();
    assert_eq!(&*watch.try_next().unwrap().unwrap().path, "/w");
    drop(peer.join().unwrap());
}

#[test]
fn ids_of_events_are_ignored() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        let watch = peer.accept(MessageType::Watch);
        let payload = [b"/w\0", watch.token(), b"\0"].concat();
        let event = MessageType::WatchEvent as u32;
        peer.send(&message(event, ReqId(0xdead_beef), TxId(0x1234_5678), &payload));
        peer
    });
    let mut watch = client.watch("/w").unwrap();
    assert_eq!(&*watch.wait().unwrap().path, "/w");
    drop(peer.join().unwrap());
}

#[test]
fn events_with_unknown_tokens_are_ignored() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        let request = peer.expect(MessageType::Read);
        for token in [&b""[..], b"xs-", b"xs-ffff", b"1", b"\xff", b"xs-10000000000000000"] {
            peer.send_event("/w", token);
        }
        peer.reply(&request, b"v");
    });
    assert_eq!(client.read("/a").unwrap(), b"v");
    peer.join().unwrap();
}

/// The queue of a watch that is not read overflows. Replies are not delayed.
#[test]
fn flood_of_events_overflows_one_watch_only() {
    let (client, mut peer) = peer::connect(patient().watch_capacity(100));
    let peer = thread::spawn(move || {
        let watch = peer.accept(MessageType::Watch);
        let request = peer.expect(MessageType::Read);
        for n in 0..50_000 {
            peer.send_event(&format!("/w/{n}"), watch.token());
        }
        peer.reply(&request, b"v");
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

/// Answers requests for lists with parts whose generation differs from that of the part before, for
/// a number of parts. Each list has two parts, or no end.
fn serve_parts(mut peer: Peer, changes: u64, is_endless: bool) {
    let mut generation = 0;
    while let Some(request) = peer.request() {
        if request.header.msg_type == MessageType::Directory as u32 {
            peer.reply_error(&request, "E2BIG");
            continue;
        }
        generation = changes.min(generation + 1);
        let is_first = request.payload.ends_with(b"\x000\0");
        let end: &[u8] = if is_first || is_endless { b"\0" } else { b"\0\0" };
        let name = vec![b'x'; 2000];
        peer.reply(&request, &[format!("{generation}\0").as_bytes(), &name, end].concat());
    }
}

#[test]
fn endless_directories_are_errors() {
    let (client, peer) = peer::connect(patient());
    let peer = thread::spawn(move || serve_parts(peer, 0, true));
    let error = client.directory("/a").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
    assert_eq!((error.operation(), error.path()), ("directory", Some("/a")));
    drop(client);
    peer.join().unwrap();
}

#[test]
fn directories_that_keep_changing_fail_at_the_deadline() {
    let timeout = Duration::from_millis(300);
    let (client, peer) = peer::connect(patient().timeout(timeout));
    let peer = thread::spawn(move || serve_parts(peer, u64::MAX, false));
    let start = Instant::now();
    let error = client.directory("/a").unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!((error.operation(), error.path()), ("directory", Some("/a")));
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
    drop(client);
    peer.join().unwrap();
}

#[test]
fn directories_may_change_often_before_they_are_read() {
    for timeout in [Some(HANG_TIMEOUT), None] {
        let (client, peer) = peer::connect(patient().timeout(timeout));
        let peer = thread::spawn(move || serve_parts(peer, 300, false));
        assert_eq!(client.directory("/a").unwrap().len(), 2);
        drop(client);
        peer.join().unwrap();
    }
}
