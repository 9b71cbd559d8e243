//! The bytes of every message in both directions. What stands in [`table`] is the protocol.

use std::borrow::Cow;

use xs_proto::{
    Access, ClientConnection, Decoder, DomId, ErrorCode, Event, Limits, MessageType, PAYLOAD_MAX,
    Path, Permissions, Reply, ReqId, Request, ServerConnection, Strings, TxId,
};

/// A message type by its number, a request and a reply of that type, and their payloads.
struct Row {
    number: u32,
    request: Request<'static>,
    asked: &'static [u8],
    reply: Reply<'static>,
    answered: &'static [u8],
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    let row = |number, request, asked, reply, answered| Row { number, request, asked, reply, answered };
    let perms = || Permissions::owned_by(DomId::new(5), Access::None).with(DomId::DOM0, Access::Read).with(DomId::new(65535), Access::ReadWrite);
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
        row(23, Request::GetFeature { domid: None }, b"", Reply::Features(14), b"14\0"),
        row(23, Request::GetFeature { domid: Some(dom7) }, b"7\0", Reply::Features(0), b"0\0"),
        row(24, Request::SetFeature { domid: dom7, features: 4 }, b"7\x004\0", Reply::Done, b"OK\0"),
        row(25, Request::GetQuota { domid: None, quota: None }, b"", text("nodes watches"), b"nodes watches\0"),
        row(25, Request::GetQuota { domid: None, quota: Some("nodes") }, b"nodes\0", text("1000"), b"1000\0"),
        row(25, Request::GetQuota { domid: Some(dom7), quota: Some("nodes") }, b"7\0nodes\0", text("1000"), b"1000\0"),
        row(26, Request::SetQuota { domid: None, quota: "nodes", value: 9 }, b"nodes\x009\0", Reply::Done, b"OK\0"),
        row(26, Request::SetQuota { domid: Some(dom7), quota: "nodes", value: 9 }, b"7\0nodes\x009\0", Reply::Done, b"OK\0"),
    ]
}

#[test]
fn the_table_has_every_type_that_a_client_may_send() {
    let in_table: Vec<u32> = table().iter().map(|row| row.number).collect();
    for number in 0..=26 {
        // 15 and 16 come from the server only, and RESTRICT (20) is gone.
        let expected = !matches!(number, 15 | 16 | 20);
        assert_eq!(in_table.contains(&number), expected, "type {number}");
    }
}

#[test]
fn requests_encode_and_decode() {
    for Row { number, request, asked, .. } in table() {
        let msg_type = MessageType::from_u32(number).unwrap();
        assert_eq!(request.msg_type(), msg_type);

        let mut out = bytes::BytesMut::from("before");
        assert_eq!(request.encode(PAYLOAD_MAX, &mut out), Ok(asked.len()));
        assert_eq!(out.strip_prefix(b"before"), Some(asked), "{request:?}");
        assert_eq!(Request::decode(msg_type, asked), Ok(request));
    }
}

#[test]
fn replies_encode_and_decode() {
    for Row { number, reply, answered, .. } in table() {
        let msg_type = MessageType::from_u32(number).unwrap();
        assert_eq!(reply.msg_type(msg_type), msg_type);

        let mut out = bytes::BytesMut::from("before");
        assert_eq!(reply.encode(PAYLOAD_MAX, &mut out), Ok(answered.len()));
        assert_eq!(out.strip_prefix(b"before"), Some(answered), "{reply:?}");
        assert_eq!(Reply::decode(msg_type, answered), Ok(reply.clone()));
        assert_eq!(reply.clone().into_owned(), reply);
    }
}

#[test]
fn errors_encode_and_decode() {
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
        (ErrorCode::Quota, b"EQUOTA\0"), (ErrorCode::Other("EWHAT".into()), b"EWHAT\0"),
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

/// How input arrives.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    Whole,
    ByteByByte,
    /// With the first bytes of another message behind it.
    Trailing,
}

const ARRIVALS: [Arrival; 3] = [Arrival::Whole, Arrival::ByteByByte, Arrival::Trailing];

/// Presents `message` to `decode`, which returns how many bytes it has consumed and what they
/// say, until it says something; checks that this takes exactly the message.
fn arrive<T>(
    arrival: Arrival,
    message: &[u8],
    mut decode: impl FnMut(&[u8]) -> (usize, Option<T>),
) -> T {
    match arrival {
        Arrival::Whole => {
            let (consumed, said) = decode(message);
            assert_eq!(consumed, message.len());
            said.expect("a whole message")
        }
        Arrival::Trailing => {
            let input = [message, &message[..7]].concat();
            let (consumed, said) = decode(&input);
            assert_eq!(consumed, message.len());
            said.expect("a whole message")
        }
        Arrival::ByteByByte => {
            let (last, first) = message.split_last().unwrap();
            for byte in first {
                let (consumed, said) = decode(&[*byte]);
                assert_eq!((consumed, said.is_none()), (1, true));
            }
            let (consumed, said) = decode(&[*last]);
            assert_eq!(consumed, 1);
            said.expect("a whole message")
        }
    }
}

#[test]
fn the_decoder_gives_every_message_as_it_came() {
    for arrival in ARRIVALS {
        for row in table() {
            for (mut decoder, payload) in
                [(Decoder::for_server(), row.asked), (Decoder::for_client(), row.answered)]
            {
                let bytes = message(row.number, 1, 2, payload);
                let (header, got) = arrive(arrival, &bytes, |input| {
                    let decoded = decoder.decode(input).unwrap();
                    let frame = decoded.frame.map(|frame| (frame.header, frame.payload.to_vec()));
                    (decoded.consumed, frame)
                });
                assert_eq!(
                    (header.msg_type, header.req_id, header.tx_id),
                    (row.number, ReqId(1), TxId(2))
                );
                assert_eq!(got, payload);
            }
        }
    }
}

#[test]
fn the_server_takes_every_request_and_answers_it() {
    for arrival in ARRIVALS {
        for row in table() {
            let mut server = ServerConnection::new();
            let bytes = message(row.number, 77, 3, row.asked);
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
                [message(row.number, 77, 3, row.answered), message(16, 77, 3, b"EBUSY\0")];
            assert_eq!(server.take_output(), expected.concat());
        }
    }
}

#[test]
fn the_client_sends_every_request_and_takes_its_answer() {
    for arrival in ARRIVALS {
        for row in table() {
            for answer in [(row.number, row.answered), (16, b"EBUSY\0")] {
                let mut client = ClientConnection::new(Limits::default());
                // WATCH and UNWATCH are never part of a transaction.
                let tx_id = TxId(if matches!(row.number, 4 | 5) { 0 } else { 3 });
                let req_id = client.submit(tx_id, &row.request, "key").unwrap();
                let sent = client.take_output();
                assert_eq!(sent, message(row.number, req_id.0, tx_id.0, row.asked));

                let bytes = message(answer.0, req_id.0, tx_id.0, answer.1);
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
                match answer.0 {
                    16 => assert_eq!(reply, Reply::Error(ErrorCode::Busy)),
                    _ => assert_eq!(reply, row.reply),
                }
                assert_eq!(client.pending(), 0);
            }
        }
    }
}

#[test]
fn watch_events_go_from_server_to_client() {
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
                let said =
                    received.event.map(|event| assert_eq!(event, Event::Watch { path, token }));
                (received.consumed, said)
            });
        }
    }
}

/// A whole message, put together without the crate's help.
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
