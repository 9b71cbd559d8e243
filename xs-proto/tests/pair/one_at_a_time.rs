//! The behavior of `Limits::one_at_a_time`, which the xenbus device needs.

use xs_proto::{
    ClientConnection, ConnectionError, Event, Header, Limits, MessageType, Path, Received, Reply,
    ReqId, Request, TxId,
};

const WATCH: Request<'static> = Request::Watch { path: Path::ROOT, token: b"tok", depth: None };
const READ: Request<'static> = Request::Read(Path::ROOT);

fn device() -> ClientConnection<&'static str> {
    ClientConnection::new(Limits::default().with_one_at_a_time())
}

fn message(msg_type: MessageType, req_id: ReqId, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let header = Header { msg_type: msg_type as u32, req_id, tx_id: TxId::NONE, len };
    [&header.encode()[..], payload].concat()
}

#[test]
fn next_request_waits_for_the_reply_to_the_previous_one() {
    let mut client = device();
    let first = client.submit(TxId::NONE, &READ, "first").unwrap();
    let second = client.submit(TxId::NONE, &WATCH, "second").unwrap();
    assert!(client.has_output());
    assert_eq!(client.take_output(), message(MessageType::Read, first, b"/\0"));
    assert!(!client.has_output());
    assert!(client.take_output().is_empty());

    // A watch event is not a reply.
    let event = message(MessageType::WatchEvent, first, b"/\0tok\0");
    assert!(client.receive(&event).unwrap().event.is_some());
    assert!(!client.has_output());

    // Neither is a part of a reply.
    let reply = message(MessageType::Read, first, b"value");
    assert_eq!(client.receive(&reply[..18]).unwrap(), Received { consumed: 18, event: None });
    assert!(!client.has_output());
    assert!(client.receive(&reply[18..]).unwrap().event.is_some());
    assert!(client.has_output());
    assert_eq!(client.take_output(), message(MessageType::Watch, second, b"/\0tok\0"));
}

#[test]
fn reply_to_a_forgotten_request_releases_the_next_one() {
    let mut client = device();
    let first = client.submit(TxId::NONE, &READ, "first").unwrap();
    client.submit(TxId::NONE, &READ, "second").unwrap();
    client.take_output();
    client.forget(first);
    assert!(!client.has_output());
    let reply = message(MessageType::Read, first, b"");
    assert_eq!(client.receive(&reply).unwrap().event, None);
    assert!(client.has_output());
}

/// Older kernels answer WATCH and UNWATCH themselves, with request id and transaction id 0.
#[test]
fn reply_with_id_zero_matches_the_request_in_flight() {
    for tx_id in [TxId::NONE, TxId(7)] {
        let mut client = device();
        let req_id = client.submit(tx_id, &WATCH, "watch").unwrap();
        client.take_output();
        let reply = message(MessageType::Watch, ReqId(0), b"OK\0");
        let event = Event::Reply { req_id, key: "watch", reply: Reply::Done };
        assert_eq!(client.receive(&reply).unwrap().event, Some(event));
        assert_eq!(client.pending(), 0);
        // No request is in flight for a second reply.
        let (msg_type, req_id) = (MessageType::Watch, ReqId(0));
        let unknown = ConnectionError::UnknownRequest { msg_type, req_id };
        assert_eq!(client.receive(&reply), Err(unknown));
    }
}

#[test]
fn reply_with_id_zero_is_an_error_without_one_at_a_time() {
    let mut client = ClientConnection::new(Limits::default());
    client.submit(TxId::NONE, &WATCH, "watch").unwrap();
    client.take_output();
    let reply = message(MessageType::Watch, ReqId(0), b"OK\0");
    let (msg_type, req_id) = (MessageType::Watch, ReqId(0));
    let unknown = ConnectionError::UnknownRequest { msg_type, req_id };
    assert_eq!(client.receive(&reply), Err(unknown));
}

#[test]
fn reply_with_id_zero_must_have_the_right_type() {
    let mut client = device();
    client.submit(TxId::NONE, &READ, "read").unwrap();
    client.take_output();
    let reply = message(MessageType::Watch, ReqId(0), b"OK\0");
    let (expected, got) = (MessageType::Read, MessageType::Watch);
    assert_eq!(client.receive(&reply), Err(ConnectionError::WrongType { expected, got }));
}

#[test]
fn refused_requests_are_no_longer_in_flight() {
    let mut client = device();
    assert_eq!(client.refused(), None);
    let first = client.submit(TxId::NONE, &WATCH, "first").unwrap();
    let second = client.submit(TxId::NONE, &WATCH, "second").unwrap();
    let third = client.submit(TxId::NONE, &READ, "third").unwrap();
    // No request has been sent yet.
    assert_eq!(client.refused(), None);

    client.take_output();
    assert_eq!(client.refused(), Some((first, Some("first"))));
    assert_eq!(client.refused(), None);

    client.forget(second);
    client.take_output();
    assert_eq!(client.refused(), Some((second, None)));

    assert_eq!(client.take_output(), message(MessageType::Read, third, b"/\0"));
    assert_eq!(client.pending(), 1);
    // A reply to a refused request is an error.
    let reply = message(MessageType::Watch, first, b"OK\0");
    let (msg_type, req_id) = (MessageType::Watch, first);
    let unknown = ConnectionError::UnknownRequest { msg_type, req_id };
    assert_eq!(client.receive(&reply), Err(unknown));
}
