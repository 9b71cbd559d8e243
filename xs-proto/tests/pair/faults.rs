//! Protocol violations of the peer and the end of a connection. The error names the cause, and it
//! persists.

use xs_proto::{
    ClientConnection, ConnectionError, DIRECTORY_REPLY_MAX, FrameError, Header, Limits,
    MessageType as T, PAYLOAD_MAX, Path, PayloadError, ReqId, Request, ServerConnection,
    SubmitError, TxId,
};

const TX: TxId = TxId(3);

/// Returns a client with a READ in transaction 3 in flight, and the id of that request.
fn waiting() -> (ClientConnection<&'static str>, ReqId) {
    let mut client = ClientConnection::new(Limits::default());
    let req_id = client.submit(TX, &Request::Read(Path::ROOT), "key").unwrap();
    client.take_output();
    (client, req_id)
}

fn message(msg_type: u32, req_id: ReqId, tx_id: TxId, payload: &[u8]) -> Vec<u8> {
    let header = Header { msg_type, req_id, tx_id, len: payload.len() as u32 };
    [&header.encode()[..], payload].concat()
}

/// Checks that every call of the client fails with `error`, and that it has no output.
fn assert_failed(
    client: &mut ClientConnection<&'static str>,
    req_id: ReqId,
    error: ConnectionError,
) {
    let valid = message(2, req_id, TX, b"value");
    assert_eq!(client.receive(&valid), Err(error));
    assert_eq!(client.receive(b""), Err(error));
    let read = Request::Read(Path::ROOT);
    assert_eq!(client.submit(TX, &read, ""), Err(SubmitError::Failed(error)));
    assert!(!client.has_output() && client.take_output().is_empty());
    assert_eq!(client.end_of_input(), error);
    // The caller can still find out which requests were in flight.
    assert_eq!((client.pending(), client.forget(req_id)), (1, Some("key")));
}

#[test]
fn protocol_violations_end_the_connection() {
    let (_, req_id) = waiting();
    let stale = ReqId(req_id.0 + (1 << 12));
    let next = ReqId(req_id.0 + 1);
    let read = T::Read;
    let unknown = |msg_type, req_id| ConnectionError::UnknownRequest { msg_type, req_id };
    let wrong_type = |got| ConnectionError::WrongType { expected: read, got };
    let wrong_tx =
        |msg_type, got| ConnectionError::WrongTransaction { msg_type, expected: TX, got };
    let payload = |msg_type, cause| ConnectionError::Payload { msg_type, cause };
    #[rustfmt::skip]
    let table = [
        (message(2, stale, TX, b""), unknown(read, stale)),
        (message(2, next, TX, b""), unknown(read, next)),
        (message(2, ReqId(0), TX, b""), unknown(read, ReqId(0))),
        (message(16, next, TX, b"ENOENT\0"), unknown(T::Error, next)),
        (message(11, req_id, TX, b"OK\0"), wrong_type(T::Write)),
        (message(65535, req_id, TX, b""), wrong_type(T::Invalid)),
        (message(2, req_id, TxId(4), b""), wrong_tx(read, TxId(4))),
        (message(2, req_id, TxId::NONE, b""), wrong_tx(read, TxId::NONE)),
        (message(16, req_id, TxId(4), b"ENOENT\0"), wrong_tx(T::Error, TxId(4))),
        (message(16, req_id, TX, b"ENOENT"), payload(T::Error, PayloadError::MissingNul)),
        (message(20, req_id, TX, b""), ConnectionError::UnknownType { msg_type: 20 }),
        (message(27, req_id, TX, b""), ConnectionError::UnknownType { msg_type: 27 }),
        (message(15, ReqId(0), TX, b""), payload(T::WatchEvent, PayloadError::TooFew)),
        (message(15, ReqId(0), TX, b"/a\0"), payload(T::WatchEvent, PayloadError::TooFew)),
        (message(15, ReqId(0), TX, b"/a\0tok"), payload(T::WatchEvent, PayloadError::MissingNul)),
        (message(15, ReqId(0), TX, b"\xff\0tok\0"), payload(T::WatchEvent, PayloadError::Text)),
        (message(15, ReqId(0), TX, b"/a\0tok\0\0"), payload(T::WatchEvent, PayloadError::TooMany)),
    ];
    for (bytes, error) in table {
        let (mut client, req_id) = waiting();
        assert_eq!(client.receive(&bytes), Err(error));
        assert_failed(&mut client, req_id, error);

        // The same, byte by byte.
        let (mut client, req_id) = waiting();
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            assert_eq!(client.receive(&[*byte]).unwrap().event, None);
        }
        assert_eq!(client.receive(&[*last]), Err(error));
        assert_failed(&mut client, req_id, error);
    }
}

#[test]
fn oversized_messages_are_rejected_at_the_header() {
    for (msg_type, max) in
        [(2, PAYLOAD_MAX), (15, PAYLOAD_MAX), (99, PAYLOAD_MAX), (1, DIRECTORY_REPLY_MAX)]
    {
        let (mut client, req_id) = waiting();
        let len = max as u32 + 1;
        let error = ConnectionError::Frame(FrameError { msg_type, len, max });
        let header = Header { msg_type, req_id, tx_id: TX, len }.encode();
        assert!(client.receive(&header[..15]).is_ok());
        assert_eq!(client.receive(&header[15..]), Err(error));
        assert_failed(&mut client, req_id, error);
    }
    for msg_type in [1, 2, 99] {
        let mut server = ServerConnection::default();
        let len = PAYLOAD_MAX as u32 + 1;
        let error = ConnectionError::Frame(FrameError { msg_type, len, max: PAYLOAD_MAX });
        let header = Header { msg_type, req_id: ReqId(0), tx_id: TX, len }.encode();
        assert!(server.receive(&header[..15]).is_ok());
        assert_eq!(server.receive(&header[15..]), Err(error));
        assert_eq!(server.receive(&message(2, ReqId(0), TX, b"/\0")), Err(error));
        assert_eq!(server.end_of_input(), error);
    }
}

#[test]
fn client_accepts_oversized_directory_replies() {
    let mut client = ClientConnection::new(Limits::default());
    let req_id = client.submit(TxId::NONE, &Request::Directory(Path::ROOT), ()).unwrap();
    client.take_output();
    let names = b"child\0".repeat(DIRECTORY_REPLY_MAX / 6);
    let bytes = message(1, req_id, TxId::NONE, &names);
    let (first, last) = bytes.split_at(100_000);
    assert_eq!(client.receive(first).unwrap().event, None);
    match client.receive(last).unwrap().event {
        Some(xs_proto::Event::Reply { reply: xs_proto::Reply::Children(children), .. }) => {
            assert_eq!(children.iter().count(), DIRECTORY_REPLY_MAX / 6);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn end_of_input_inside_a_message_is_truncation() {
    let (_, req_id) = waiting();
    let event = message(15, ReqId(0), TxId::NONE, b"/\0tok\0");
    let reply = message(2, req_id, TX, b"value");
    let stream = [event.clone(), reply.clone(), event.clone()].concat();
    let ends = [0, event.len(), event.len() + reply.len(), stream.len()];
    for end in 0..=stream.len() {
        for size in [1, 7, stream.len()] {
            let (mut client, _) = waiting();
            let mut server = ServerConnection::new();
            for mut input in stream[..end].chunks(size) {
                while !input.is_empty() {
                    let consumed = client.receive(input).unwrap().consumed;
                    // The server does not check message types, so it accepts the same stream.
                    assert_eq!(server.receive(input).unwrap().consumed, consumed);
                    input = &input[consumed..];
                }
            }
            let error = match ends.contains(&end) {
                true => ConnectionError::Closed,
                false => ConnectionError::Truncated,
            };
            assert_eq!(client.end_of_input(), error, "at {end}");
            assert_eq!(client.receive(&event), Err(error));
            assert_eq!(server.end_of_input(), error, "at {end}");
            assert_eq!(server.receive(&event), Err(error));
            assert_eq!(server.end_of_input(), error);
        }
    }
}

#[test]
fn output_is_discarded_after_a_failure() {
    let (mut client, _) = waiting();
    client.submit(TX, &Request::Read(Path::ROOT), "late").unwrap();
    assert!(client.has_output());
    client.end_of_input();
    assert!(!client.has_output());
    assert!(client.take_output().is_empty());
}
