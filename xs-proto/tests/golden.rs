//! The exact bytes of every message, encoded and decoded. [`table`] lists them.

use std::borrow::Cow;

use xs_proto::{
    Access, ClientConnection, Decoder, DomId, ErrorCode, Event, Features, Limits, MessageType,
    PAYLOAD_MAX, Path, Permissions, Reply, ReqId, Request, ServerConnection, Strings, TxId,
};

/// A request and its reply, with their payloads and the number of their message type.
struct Row {
    number: u32,
    request: Request<'static>,
    request_payload: &'static [u8],
    reply: Reply<'static>,
    reply_payload: &'static [u8],
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    let row = |number, request, request_payload, reply, reply_payload| Row { number, request, request_payload, reply, reply_payload };
    let perms = || Permissions::owned_by(DomId::new(5)).with(DomId::DOM0, Access::Read).with(DomId::new(65535), Access::ReadWrite);
    let (dom5, dom7) = (DomId::new(5), DomId::new(7));
    vec![
        row(0, Request::Control(strings(b"quota\0max\0")), b"quota\0max\0", text("done\n"), b"done\n\0"),
        row(0, Request::Control(strings(b"")), b"", text(""), b"\0"),
        row(1, Request::Directory(path("/local")), b"/local\0", children(b"domain\0pool\0"), b"domain\0pool\0"),
        row(1, Request::Directory(Path::ROOT), b"/\0", children(b""), b""),
        row(2, Request::Read(path("name")), b"name\0", value(b"guest"), b"guest"),
        row(2, Request::Read(path("/a")), b"/a\0", value(b"\0\xff\0"), b"\0\xff\0"),
        row(2, Request::Read(path("/a")), b"/a\0", value(b""), b""),
        row(3, Request::GetPerms(path("/a")), b"/a\0", Reply::Permissions(perms()), b"n5\0r0\0b65535\0"),
        row(4, Request::Watch { path: path("/a"), token: b"tok", depth: None }, b"/a\0tok\0", Reply::Done, b"OK\0"),
        row(4, Request::Watch { path: path("@releaseDomain"), token: b"\xff", depth: Some(0) }, b"@releaseDomain\0\xff\x000\0", Reply::Done, b"OK\0"),
        row(4, Request::Watch { path: path("a"), token: b"", depth: Some(4294967295) }, b"a\0\x004294967295\0", Reply::Done, b"OK\0"),
        row(5, Request::Unwatch { path: path("/a"), token: b"tok" }, b"/a\0tok\0", Reply::Done, b"OK\0"),
        row(6, Request::TransactionStart, b"\0", Reply::Transaction(TxId(4294967295)), b"4294967295\0"),
        row(7, Request::TransactionEnd { commit: true }, b"T\0", Reply::Done, b"OK\0"),
        row(7, Request::TransactionEnd { commit: false }, b"F\0", Reply::Done, b"OK\0"),
        row(8, Request::Introduce { domid: dom7, gfn: 18446744073709551615, evtchn: 3 }, b"7\x0018446744073709551615\x003\0", Reply::Done, b"OK\0"),
        row(9, Request::Release(dom7), b"7\0", Reply::Done, b"OK\0"),
        row(10, Request::GetDomainPath(dom7), b"7\0", text("/local/domain/7"), b"/local/domain/7\0"),
        row(11, Request::Write { path: path("/a"), value: b"v\0\xff" }, b"/a\0v\0\xff", Reply::Done, b"OK\0"),
        row(11, Request::Write { path: path("/a"), value: b"" }, b"/a\0", Reply::Done, b"OK\0"),
        row(12, Request::Mkdir(path("/a")), b"/a\0", Reply::Done, b"OK\0"),
        row(13, Request::Rm(path("/a/b")), b"/a/b\0", Reply::Done, b"OK\0"),
        row(14, Request::SetPerms { path: path("/a"), perms: Cow::Owned(perms()) }, b"/a\0n5\0r0\0b65535\0", Reply::Done, b"OK\0"),
        row(17, Request::IsDomainIntroduced(dom7), b"7\0", Reply::Boolean(true), b"T\0"),
        row(17, Request::IsDomainIntroduced(DomId::new(65535)), b"65535\0", Reply::Boolean(false), b"F\0"),
        row(18, Request::Resume(dom7), b"7\0", Reply::Done, b"OK\0"),
        row(19, Request::SetTarget { domid: dom5, target: dom7 }, b"5\x007\0", Reply::Done, b"OK\0"),
        row(21, Request::ResetWatches, b"\0", Reply::Done, b"OK\0"),
        row(22, Request::DirectoryPart { path: path("/a"), offset: 0 }, b"/a\x000\0", part(9, b"b\0", false), b"9\0b\0"),
        row(22, Request::DirectoryPart { path: path("/a"), offset: 2 }, b"/a\x002\0", part(9, b"c\0", true), b"9\0c\0\0"),
        row(22, Request::DirectoryPart { path: path("/a"), offset: 4 }, b"/a\x004\0", part(18446744073709551615, b"", true), b"18446744073709551615\0\0"),
        row(22, Request::DirectoryPart { path: path("/a"), offset: 4 }, b"/a\x004\0", part(9, b"", false), b"9\0"),
        row(23, Request::GetFeature { domid: None }, b"", Reply::Features(Features::from_bits(14)), b"14\0"),
        row(23, Request::GetFeature { domid: Some(dom7) }, b"7\0", Reply::Features(Features::NONE), b"0\0"),
        row(24, Request::SetFeature { domid: dom7, features: Features::WATCH_DEPTH }, b"7\x004\0", Reply::Done, b"OK\0"),
        row(25, Request::GetQuota { domid: None, quota: None }, b"", text("nodes watches"), b"nodes watches\0"),
        row(25, Request::GetQuota { domid: None, quota: Some("nodes") }, b"nodes\0", text("1000"), b"1000\0"),
        row(25, Request::GetQuota { domid: Some(dom7), quota: Some("nodes") }, b"7\0nodes\0", text("1000"), b"1000\0"),
        row(26, Request::SetQuota { domid: None, quota: "nodes", value: 9 }, b"nodes\x009\0", Reply::Done, b"OK\0"),
        row(26, Request::SetQuota { domid: Some(dom7), quota: "nodes", value: 9 }, b"7\0nodes\x009\0", Reply::Done, b"OK\0"),
    ]
}

#[test]
fn table_covers_every_request_type() {
    let in_table: Vec<u32> = table().iter().map(|row| row.number).collect();
    for number in 0..=26 {
        // Only the server sends 15 and 16, and RESTRICT (20) was removed.
        let expected = !matches!(number, 15 | 16 | 20);
        assert_eq!(in_table.contains(&number), expected, "type {number}");
    }
}

#[test]
fn requests_have_the_expected_bytes() {
    for Row { number, request, request_payload, .. } in table() {
        let msg_type = MessageType::from_u32(number).unwrap();
        assert_eq!(request.msg_type(), msg_type);

        let mut out = bytes::BytesMut::from("before");
        assert_eq!(request.encode(PAYLOAD_MAX, &mut out), Ok(request_payload.len()));
        assert_eq!(out.strip_prefix(b"before"), Some(request_payload), "{request:?}");
        assert_eq!(Request::decode(msg_type, request_payload), Ok(request));
    }
}

#[test]
fn replies_have_the_expected_bytes() {
    for Row { number, reply, reply_payload, .. } in table() {
        let msg_type = MessageType::from_u32(number).unwrap();
        assert_eq!(reply.msg_type(msg_type), msg_type);

        let mut out = bytes::BytesMut::from("before");
        assert_eq!(reply.encode(PAYLOAD_MAX, &mut out), Ok(reply_payload.len()));
        assert_eq!(out.strip_prefix(b"before"), Some(reply_payload), "{reply:?}");
        assert_eq!(Reply::decode(msg_type, reply_payload), Ok(reply.clone()));
        assert_eq!(reply.clone().into_owned(), reply);
    }
}

#[test]
fn errors_have_the_expected_bytes() {
    #[rustfmt::skip]
    let codes: &[(ErrorCode, &[u8])] = &[
        (ErrorCode::Invalid, b"EINVAL\0"), (ErrorCode::Access, b"EACCES\0"),
        (ErrorCode::Exists, b"EEXIST\0"), (ErrorCode::IsDirectory, b"EISDIR\0"),
        (ErrorCode::NoEntry, b"ENOENT\0"), (ErrorCode::NoMemory, b"ENOMEM\0"),
        (ErrorCode::NoSpace, b"ENOSPC\0"), (ErrorCode::Io, b"EIO\0"),
        (ErrorCode::NotEmpty, b"ENOTEMPTY\0"), (ErrorCode::NotSupported, b"ENOSYS\0"),
        (ErrorCode::ReadOnly, b"EROFS\0"), (ErrorCode::Busy, b"EBUSY\0"),
        (ErrorCode::Again, b"EAGAIN\0"), (ErrorCode::Connected, b"EISCONN\0"),
        (ErrorCode::TooBig, b"E2BIG\0"), (ErrorCode::NotPermitted, b"EPERM\0"),
        (ErrorCode::Quota, b"EQUOTA\0"), (ErrorCode::Other("ENEW".into()), b"ENEW\0"),
    ];
    assert_eq!(codes.len(), ErrorCode::KNOWN.len() + 1);
    for (code, payload) in codes {
        let reply = Reply::Error(code.clone());
        assert_eq!(reply.msg_type(MessageType::Read), MessageType::Error);
        let mut out = bytes::BytesMut::new();
        assert_eq!(reply.encode(PAYLOAD_MAX, &mut out), Ok(payload.len()));
        assert_eq!(out, payload);
        assert_eq!(Reply::decode(MessageType::Error, payload), Ok(reply));
    }
}

/// The way in which the bytes of a message arrive.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    Whole,
    ByteByByte,
    /// Followed by the first bytes of another message.
    Trailing,
}

const ARRIVALS: [Arrival; 3] = [Arrival::Whole, Arrival::ByteByByte, Arrival::Trailing];

/// Passes `message` to `decode` and returns the decoded value. Checks that exactly the message is
/// consumed.
///
/// `decode` returns the number of consumed bytes and, if the message is complete, the value.
fn arrive<T>(
    arrival: Arrival,
    message: &[u8],
    mut decode: impl FnMut(&[u8]) -> (usize, Option<T>),
) -> T {
    let input = match arrival {
        Arrival::Trailing => [message, &message[..7]].concat(),
        Arrival::Whole | Arrival::ByteByByte => message.to_vec(),
    };
    let mut start = 0;
    if let Arrival::ByteByByte = arrival {
        start = message.len() - 1;
        for byte in &message[..start] {
            let (consumed, value) = decode(&[*byte]);
            assert_eq!((consumed, value.is_none()), (1, true));
        }
    }
    let (consumed, value) = decode(&input[start..]);
    assert_eq!(start + consumed, message.len());
    value.expect("a complete message")
}

#[test]
fn decoder_returns_every_message_unchanged() {
    for arrival in ARRIVALS {
        for row in table() {
            for (mut decoder, payload) in [
                (Decoder::for_server(), row.request_payload),
                (Decoder::for_client(), row.reply_payload),
            ] {
                let bytes = message(row.number, 1, 2, payload);
                let (header, decoded) = arrive(arrival, &bytes, |input| {
                    let decoded = decoder.decode(input).unwrap();
                    let frame = decoded.frame.map(|frame| (frame.header, frame.payload.to_vec()));
                    (decoded.consumed, frame)
                });
                assert_eq!(
                    (header.msg_type, header.req_id, header.tx_id),
                    (row.number, ReqId(1), TxId(2))
                );
                assert_eq!(decoded, payload);
            }
        }
    }
}

#[test]
fn server_decodes_and_answers_every_request() {
    for arrival in ARRIVALS {
        for row in table() {
            let mut server = ServerConnection::new();
            let bytes = message(row.number, 77, 3, row.request_payload);
            let header = arrive(arrival, &bytes, |input| {
                let received = server.receive(input).unwrap();
                let header = received.event.map(|incoming| {
                    assert_eq!(incoming.msg_type().map(|ty| ty as u32), Some(row.number));
                    assert_eq!(incoming.request().as_ref(), Ok(&row.request));
                    incoming.header
                });
                (received.consumed, header)
            });
            server.reply(header, &row.reply).unwrap();
            server.reply(header, &Reply::Error(ErrorCode::Busy)).unwrap();
            let expected =
                [message(row.number, 77, 3, row.reply_payload), message(16, 77, 3, b"EBUSY\0")];
            assert_eq!(server.take_output(), expected.concat());
        }
    }
}

#[test]
fn client_encodes_every_request_and_decodes_its_reply() {
    for arrival in ARRIVALS {
        for row in table() {
            for (msg_type, payload) in [(row.number, row.reply_payload), (16, b"EBUSY\0")] {
                let mut client = ClientConnection::new(Limits::default());
                // WATCH and UNWATCH are never part of a transaction.
                let tx_id = TxId(if matches!(row.number, 4 | 5) { 0 } else { 3 });
                let req_id = client.submit(tx_id, &row.request, "key").unwrap();
                let sent = client.take_output();
                assert_eq!(sent, message(row.number, req_id.0, tx_id.0, row.request_payload));

                let bytes = message(msg_type, req_id.0, tx_id.0, payload);
                let reply = arrive(arrival, &bytes, |input| {
                    let received = client.receive(input).unwrap();
                    let reply = received.event.map(|event| match event {
                        Event::Reply { req_id: id, key: "key", reply } if id == req_id => {
                            reply.into_owned()
                        }
                        other => panic!("{other:?}"),
                    });
                    (received.consumed, reply)
                });
                match msg_type {
                    16 => assert_eq!(reply, Reply::Error(ErrorCode::Busy)),
                    _ => assert_eq!(reply, row.reply),
                }
                assert_eq!(client.pending(), 0);
            }
        }
    }
}

#[test]
fn watch_events_have_the_expected_bytes() {
    let events: [(&str, &[u8], &[u8]); 3] = [
        ("/local/domain/5/data", b"tok", b"/local/domain/5/data\0tok\0"),
        ("data", b"", b"data\0\0"),
        ("@releaseDomain", b"\xff 1", b"@releaseDomain\0\xff 1\0"),
    ];
    for arrival in ARRIVALS {
        for (path, token, payload) in events {
            let mut server = ServerConnection::new();
            server.watch_event(path, token).unwrap();
            let bytes = server.take_output();
            assert_eq!(bytes, message(15, 0, 0, payload));

            let mut client = ClientConnection::<()>::new(Limits::default());
            arrive(arrival, &bytes, |input| {
                let received = client.receive(input).unwrap();
                let event = received.event;
                (
                    received.consumed,
                    event.map(|event| assert_eq!(event, Event::Watch { path, token })),
                )
            });
        }
    }
}

/// Encodes a message without using the crate.
fn message(msg_type: u32, req_id: u32, tx_id: u32, payload: &[u8]) -> Vec<u8> {
    let words = [msg_type, req_id, tx_id, payload.len() as u32];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [&header, payload].concat()
}

fn path(text: &'static str) -> Path<'static> {
    Path::new(text).unwrap()
}

fn strings(bytes: &'static [u8]) -> Strings<'static> {
    Strings::new(bytes).unwrap()
}

fn value(bytes: &'static [u8]) -> Reply<'static> {
    Reply::Value(bytes.into())
}

fn text(text: &'static str) -> Reply<'static> {
    Reply::Text(text.into())
}

fn children(bytes: &'static [u8]) -> Reply<'static> {
    Reply::Children(strings(bytes))
}

fn part(generation: u64, names: &'static [u8], last: bool) -> Reply<'static> {
    Reply::Part { generation, children: strings(names), last }
}
