//! A peer that breaks the protocol: all waiting operations fail at once with the same cause, and so
//! do all later ones.

use std::sync::mpsc;
use std::thread;

use xs_client::{Client, Error, ErrorKind, Failure, Result};
use xs_proto::{ConnectionError, Header, MessageType, ReqId, TxId};
use xs_tests::HANG_TIMEOUT;
use xs_tests::peer::{self, Message, message, reply};

use crate::patient;

/// The operation that the peer answers.
type Ask = fn(&Client) -> Result<()>;

const READ: Ask = |client| client.read("/a").map(drop);

/// Runs operations of every kind while the peer answers `ask` with `bytes`. Checks that all of them
/// fail with the same cause, and returns it.
fn break_with(ask: Ask, bytes: impl Fn(&Message) -> Vec<u8> + Send + 'static) -> ConnectionError {
    let (client, mut peer) = peer::connect(patient());
    // The peer confirms the watches, waits for three requests, and answers one of them.
    let peer = thread::spawn(move || {
        for _ in 0..2 {
            peer.accept(MessageType::Watch);
        }
        let requests: Vec<_> = (0..3).map_while(|_| peer.request()).collect();
        let is_asked = |request: &&Message| request.payload != b"/others\0";
        let asked = requests.iter().find(is_asked).expect("the request of the test");
        let mut bytes = bytes(asked);
        // Garbage may follow.
        bytes.extend_from_slice(&[0xff; 64]);
        peer.send(&bytes);
        peer
    });

    let mut watch = client.watch("/w").unwrap();
    let (sender, called) = mpsc::channel();
    client.watch_with("/c", move |event| sender.send(event).unwrap()).unwrap();
    let mut errors = thread::scope(|scope| {
        let others = [0, 1].map(|_| scope.spawn(|| client.read("/others").unwrap_err()));
        let waiting = scope.spawn(|| watch.wait().unwrap_err());
        let asked = ask(&client);
        let mut errors = vec![waiting.join().unwrap()];
        // The operation succeeds if its answer comes before the violation.
        let is_late = matches!(cause(&errors[0]), ConnectionError::UnknownRequest { .. });
        assert!(asked.is_err() || is_late, "{asked:?}");
        errors.extend(asked.err());
        errors.extend(others.map(|other| other.join().unwrap()));
        errors
    });
    errors.push(called.recv_timeout(HANG_TIMEOUT).unwrap().unwrap_err());
    // Later operations fail too.
    errors.push(client.write("/b", "x").unwrap_err());
    errors.push(client.watch("/b").unwrap_err());
    errors.push(client.start_transaction().unwrap_err());
    errors.push(client.read_many(["/b"]).remove(0).unwrap_err());
    errors.push(watch.next_timeout(HANG_TIMEOUT).unwrap_err());
    assert!(
        matches!(watch.next(), Some(Err(_))) && watch.next().is_none(),
        "the watch reports the cause once"
    );
    drop(peer.join().unwrap());

    let causes: Vec<_> = errors.iter().map(cause).collect();
    assert!(causes.iter().all(|cause| *cause == causes[0]), "{causes:?}");
    causes[0]
}

fn cause(error: &Error) -> ConnectionError {
    assert!(error.is_lost(), "{error:?}");
    match error.kind() {
        ErrorKind::Lost(Failure::Protocol(cause)) => *cause,
        other => panic!("{other:?}"),
    }
}

/// Encodes a reply to `request` whose header is changed.
fn with_header(request: &Message, change: impl Fn(&mut Header), payload: &[u8]) -> Vec<u8> {
    let mut header = Header { len: payload.len() as u32, ..request.header };
    change(&mut header);
    [&header.encode(), payload].concat()
}

#[test]
fn payload_lengths_above_the_limit_are_rejected() {
    for len in [4097, 1 << 20, u32::MAX] {
        let cause = break_with(READ, move |request| with_header(request, |h| h.len = len, b""));
        assert!(matches!(cause, ConnectionError::Frame(_)), "{cause:?}");
    }
}

#[test]
fn unknown_types_are_rejected() {
    for msg_type in [20, 27, 99, 65535, u32::MAX] {
        let cause =
            break_with(READ, move |request| with_header(request, |h| h.msg_type = msg_type, b"v"));
        assert!(
            matches!(
                cause,
                ConnectionError::UnknownType { .. } | ConnectionError::WrongType { .. }
            ),
            "{cause:?}"
        );
    }
}

#[test]
fn replies_of_another_type_are_rejected() {
    let cause = break_with(READ, |request| {
        with_header(request, |h| h.msg_type = MessageType::Write as u32, b"OK\0")
    });
    assert!(matches!(cause, ConnectionError::WrongType { .. }), "{cause:?}");
}

#[test]
fn replies_to_unknown_requests_are_rejected() {
    for change in [|id: u32| id + 100, |id: u32| id ^ 0x8000_0000, |_| 0, |_| u32::MAX] {
        let cause = break_with(READ, move |request| {
            with_header(request, |h| h.req_id = ReqId(change(h.req_id.0)), b"v")
        });
        assert!(matches!(cause, ConnectionError::UnknownRequest { .. }), "{cause:?}");
    }
}

#[test]
fn second_replies_are_rejected() {
    let cause = break_with(READ, |request| [reply(request, b"v"), reply(request, b"v")].concat());
    assert!(matches!(cause, ConnectionError::UnknownRequest { .. }), "{cause:?}");
}

#[test]
fn replies_from_another_transaction_are_rejected() {
    let cause = break_with(READ, |request| with_header(request, |h| h.tx_id = TxId(7), b"v"));
    assert!(matches!(cause, ConnectionError::WrongTransaction { .. }), "{cause:?}");
}

#[test]
fn malformed_replies_are_rejected() {
    let write: Ask = |client| client.write("/a", "x");
    let perms: Ask = |client| client.get_perms("/a").map(drop);
    let children: Ask = |client| client.directory("/a").map(drop);
    let start: Ask = |client| client.start_transaction().map(drop);
    let known: Ask = |client| client.is_domain_introduced(xs_client::DomId::DOM0).map(drop);
    let home: Ask = |client| client.get_domain_path(xs_client::DomId::DOM0).map(drop);
    let cases: [(&str, Ask, &[u8]); 20] = [
        ("done", write, b""),
        ("done", write, b"OK"),
        ("done", write, b"NO\0"),
        ("done", write, b"OK\0OK\0"),
        ("permissions", perms, b""),
        ("permissions", perms, b"\0"),
        ("permissions", perms, b"n5"),
        ("permissions", perms, b"x5\0"),
        ("permissions", perms, b"n\0"),
        ("permissions", perms, b"nn5\0"),
        ("permissions", perms, b"n5\0r"),
        ("children", children, b"a\0b"),
        ("transaction", start, b""),
        ("transaction", start, b"0\0"),
        ("transaction", start, b"-1\0"),
        ("transaction", start, b"4294967296\0"),
        ("transaction", start, b"1"),
        ("boolean", known, b"X\0"),
        ("text", home, b"/local"),
        ("text", home, b"\xff\0"),
    ];
    for (what, ask, payload) in cases {
        let cause = break_with(ask, move |request| reply(request, payload));
        assert!(matches!(cause, ConnectionError::Payload { .. }), "{what} {payload:?}: {cause:?}");
    }
}

#[test]
fn malformed_errors_and_events_are_rejected() {
    let error = |payload: &'static [u8]| {
        break_with(READ, move |request| {
            with_header(request, |h| h.msg_type = MessageType::Error as u32, payload)
        })
    };
    let event = |payload: &'static [u8]| {
        break_with(READ, move |_| {
            message(MessageType::WatchEvent as u32, ReqId(0), TxId::NONE, payload)
        })
    };
    let causes = [
        error(b""),
        error(b"ENOENT"),
        error(b"\xff\0"),
        error(b"ENOENT\0more\0"),
        event(b""),
        event(b"/w"),
        event(b"/w\0"),
        event(b"/w\0xs-1"),
        event(b"\xff\0xs-1\0"),
    ];
    for cause in causes {
        assert!(matches!(cause, ConnectionError::Payload { .. }), "{cause:?}");
    }
}

#[test]
fn error_names_the_operation_and_the_cause() {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        let request = peer.expect(MessageType::Read);
        peer.send(&with_header(&request, |h| h.len = 5000, b""));
    });
    let error = client.read("/a").unwrap_err();
    peer.join().unwrap();
    assert_eq!((error.operation(), error.path()), ("read", Some("/a")));
    assert_eq!(error.io_kind(), std::io::ErrorKind::InvalidData);
    let text = error.to_string();
    assert!(text.contains("5000"), "{text}");
}
