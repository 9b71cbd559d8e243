//! What the xenbus device asks for.

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
fn the_next_request_leaves_when_the_one_before_is_answered() {
    let mut client = device();
    let first = client.submit(TxId::NONE, &READ, "first").unwrap();
    let second = client.submit(TxId::NONE, &WATCH, "second").unwrap();
    assert!(client.has_output());
    assert_eq!(client.take_output(), message(MessageType::Read, first, b"/\0"));
    assert!(!client.has_output());
    assert!(client.take_output().is_empty());

    // A watch event is no answer.
    let event = message(MessageType::WatchEvent, first, b"/\0tok\0");
    assert!(client.receive(&event).unwrap().event.is_some());
    assert!(!client.has_output());

    // Neither is half of one.
    let reply = message(MessageType::Read, first, b"value");
    assert_eq!(client.receive(&reply[..18]).unwrap(), Received { consumed: 18, event: None });
    assert!(!client.has_output());
    assert!(client.receive(&reply[18..]).unwrap().event.is_some());
    assert!(client.has_output());
    assert_eq!(client.take_output(), message(MessageType::Watch, second, b"/\0tok\0"));
}

#[test]
fn the_answer_to_a_forgotten_request_lets_the_next_one_leave() {
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

/// Older kernels answer WATCH and UNWATCH themselves, and outside of any transaction.
#[test]
fn an_answer_with_id_zero_is_for_the_one_that_waits() {
    for tx_id in [TxId::NONE, TxId(7)] {
        let mut client = device();
        let req_id = client.submit(tx_id, &WATCH, "watch").unwrap();
        client.take_output();
        let reply = message(MessageType::Watch, ReqId(0), b"OK\0");
        let event = Event::Reply { req_id, key: "watch", reply: Reply::Done };
        assert_eq!(client.receive(&reply).unwrap().event, Some(event));
        assert_eq!(client.pending(), 0);
        // There is none for a second one.
        let (msg_type, req_id) = (MessageType::Watch, ReqId(0));
        let unknown = ConnectionError::UnknownRequest { msg_type, req_id };
        assert_eq!(client.receive(&reply), Err(unknown));
    }
}

#[test]
fn elsewhere_an_answer_with_id_zero_is_for_nobody() {
    let mut client = ClientConnection::new(Limits::default());
    client.submit(TxId::NONE, &WATCH, "watch").unwrap();
    client.take_output();
    let reply = message(MessageType::Watch, ReqId(0), b"OK\0");
    let (msg_type, req_id) = (MessageType::Watch, ReqId(0));
    let unknown = ConnectionError::UnknownRequest { msg_type, req_id };
    assert_eq!(client.receive(&reply), Err(unknown));
}

#[test]
fn id_zero_does_not_excuse_the_wrong_type() {
    let mut client = device();
    client.submit(TxId::NONE, &READ, "read").unwrap();
    client.take_output();
    let reply = message(MessageType::Watch, ReqId(0), b"OK\0");
    let (expected, got) = (MessageType::Read, MessageType::Watch);
    assert_eq!(client.receive(&reply), Err(ConnectionError::WrongType { expected, got }));
}

#[test]
fn a_refused_message_is_over() {
    let mut client = device();
    assert_eq!(client.refused(), None);
    let first = client.submit(TxId::NONE, &WATCH, "first").unwrap();
    let second = client.submit(TxId::NONE, &WATCH, "second").unwrap();
    let third = client.submit(TxId::NONE, &READ, "third").unwrap();
    // Nothing has left that could be refused.
    assert_eq!(client.refused(), None);

    client.take_output();
    assert_eq!(client.refused(), Some((first, Some("first"))));
    assert_eq!(client.refused(), None);

    client.forget(second);
    client.take_output();
    assert_eq!(client.refused(), Some((second, None)));

    assert_eq!(client.take_output(), message(MessageType::Read, third, b"/\0"));
    assert_eq!(client.pending(), 1);
    // A reply to what was refused is a reply to nothing.
    let reply = message(MessageType::Watch, first, b"OK\0");
    let (msg_type, req_id) = (MessageType::Watch, first);
    let unknown = ConnectionError::UnknownRequest { msg_type, req_id };
    assert_eq!(client.receive(&reply), Err(unknown));
}
