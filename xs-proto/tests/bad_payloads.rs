//! Payloads that do not decode, with the exact error for every message type, and messages that
//! cannot be encoded.

use std::borrow::Cow;

use xs_proto::{
    Access, ClientConnection, DomId, ErrorCode, Limits, MessageType as T, PAYLOAD_MAX, Path,
    PathError, PayloadError as E, Permission, Permissions, Reply, Request, RequestError,
    ServerConnection, Strings, SubmitError, TxId,
};

const EMPTY: E = E::Path(PathError::Empty);
const SPACE: E = E::Path(PathError::Character { at: 2, byte: b' ' });

#[test]
fn malformed_requests_are_rejected_with_the_reason() {
    #[rustfmt::skip]
    let table: &[(T, &[u8], E)] = &[
        (T::Control, b"help", E::MissingNul),
        (T::Control, b"help\0x", E::MissingNul),

        (T::Write, b"", E::TooFew),
        (T::Write, b"/a", E::MissingNul),
        (T::Write, b"\0value", EMPTY),
        (T::Write, b"/a/\0value", E::Path(PathError::TrailingSlash)),
        (T::Write, b"/a//b\0value", E::Path(PathError::EmptyComponent { at: 3 })),

        (T::Watch, b"", E::TooFew),
        (T::Watch, b"/a", E::MissingNul),
        (T::Watch, b"/a\0", E::TooFew),
        (T::Watch, b"/a\0tok", E::MissingNul),
        (T::Watch, b"/a \0tok\0", SPACE),
        (T::Watch, b"/a\0tok\0\0", E::Number),
        (T::Watch, b"/a\0tok\0-1\0", E::Number),
        (T::Watch, b"/a\0tok\x004294967296\0", E::Number),
        (T::Watch, b"/a\0tok\x001", E::MissingNul),
        (T::Watch, b"/a\0tok\x001\0x", E::TooMany),

        (T::Unwatch, b"/a\0", E::TooFew),
        (T::Unwatch, b"/a\0tok", E::MissingNul),
        (T::Unwatch, b"\0tok\0", EMPTY),
        (T::Unwatch, b"/a\0tok\0\0", E::TooMany),

        (T::TransactionStart, b"\0\0", E::TooMany),
        (T::TransactionStart, b"x", E::TooMany),
        (T::ResetWatches, b"\0\0", E::TooMany),
        (T::ResetWatches, b"x\0", E::TooMany),

        (T::TransactionEnd, b"", E::TooFew),
        (T::TransactionEnd, b"T", E::MissingNul),
        (T::TransactionEnd, b"\0", E::Word),
        (T::TransactionEnd, b"t\0", E::Word),
        (T::TransactionEnd, b"TF\0", E::Word),
        (T::TransactionEnd, b"T\0\0", E::TooMany),

        (T::Introduce, b"7\0", E::TooFew),
        (T::Introduce, b"7\x001\0", E::TooFew),
        (T::Introduce, b"7\x001\x003", E::MissingNul),
        (T::Introduce, b"65536\x001\x003\0", E::Number),
        (T::Introduce, b"7\x0018446744073709551616\x003\0", E::Number),
        (T::Introduce, b"7\x001\x004294967296\0", E::Number),
        (T::Introduce, b"7\x001\x003\0x", E::TooMany),

        (T::SetPerms, b"/a\0", E::TooFew),
        (T::SetPerms, b"/a\0n5", E::MissingNul),
        (T::SetPerms, b"/a\0\0", E::Permission),
        (T::SetPerms, b"/a\0x5\0", E::Permission),
        (T::SetPerms, b"/a\0n5\0r65536\0", E::Number),
        (T::SetPerms, b"/a\0n5\0r\0", E::Permission),
        (T::SetPerms, b"/a\0n5\0r0", E::MissingNul),
        (T::SetPerms, b"\0n5\0", EMPTY),

        (T::SetTarget, b"5\0", E::TooFew),
        (T::SetTarget, b"5\x007", E::MissingNul),
        (T::SetTarget, b"5\0\0", E::Number),
        (T::SetTarget, b"5\x007\x009\0", E::TooMany),

        (T::DirectoryPart, b"/a\0", E::TooFew),
        (T::DirectoryPart, b"/a\x000", E::MissingNul),
        (T::DirectoryPart, b"/a\0\0", E::Number),
        (T::DirectoryPart, b"/a\x000x1\0", E::Number),
        (T::DirectoryPart, b"/a \x000\0", SPACE),
        (T::DirectoryPart, b"/a\x000\0\0", E::TooMany),

        (T::GetFeature, b"\0", E::Number),
        (T::GetFeature, b"7", E::MissingNul),
        (T::GetFeature, b"7\x008\0", E::TooMany),
        (T::SetFeature, b"", E::TooFew),
        (T::SetFeature, b"7\0", E::TooFew),
        (T::SetFeature, b"7\0x\0", E::Number),
        (T::SetFeature, b"7\x004\0x", E::TooMany),

        (T::GetQuota, b"nodes", E::MissingNul),
        (T::GetQuota, b"7\0nodes", E::MissingNul),
        (T::GetQuota, b"\xff\0", E::Text),
        (T::GetQuota, b"x\0nodes\0", E::Number),
        (T::GetQuota, b"7\0\xff\0", E::Text),
        (T::GetQuota, b"7\0nodes\0x\0", E::TooMany),
        (T::SetQuota, b"", E::TooFew),
        (T::SetQuota, b"nodes\0", E::TooFew),
        (T::SetQuota, b"nodes\x009", E::MissingNul),
        (T::SetQuota, b"nodes\0nine\0", E::Number),
        (T::SetQuota, b"\xff\x009\0", E::Text),
        (T::SetQuota, b"x\0nodes\x009\0", E::Number),
        (T::SetQuota, b"7\0nodes\x009", E::MissingNul),
        (T::SetQuota, b"7\0nodes\x009\0\0", E::TooMany),

        (T::WatchEvent, b"/a\0tok\0", E::Direction),
        (T::Error, b"ENOENT\0", E::Direction),
        (T::Invalid, b"", E::Direction),
    ];
    for (msg_type, payload, error) in table {
        let shown = payload.escape_ascii();
        assert_eq!(Request::decode(*msg_type, payload), Err(*error), "{msg_type} {shown}");
    }
    for msg_type in [T::Directory, T::Read, T::GetPerms, T::Mkdir, T::Rm] {
        let decode = |payload| Request::decode(msg_type, payload).unwrap_err();
        assert_eq!(decode(b""), E::TooFew, "{msg_type}");
        assert_eq!(decode(b"/a"), E::MissingNul, "{msg_type}");
        assert_eq!(decode(b"\0"), EMPTY, "{msg_type}");
        assert_eq!(decode(b"/a \0"), SPACE, "{msg_type}");
        assert_eq!(decode(b"/a\0\0"), E::TooMany, "{msg_type}");
        assert_eq!(decode(b"/a\0x"), E::TooMany, "{msg_type}");
    }
    for msg_type in [T::Release, T::GetDomainPath, T::IsDomainIntroduced, T::Resume] {
        let decode = |payload| Request::decode(msg_type, payload).unwrap_err();
        assert_eq!(decode(b""), E::TooFew, "{msg_type}");
        assert_eq!(decode(b"7"), E::MissingNul, "{msg_type}");
        assert_eq!(decode(b"\0"), E::Number, "{msg_type}");
        assert_eq!(decode(b"65536\0"), E::Number, "{msg_type}");
        assert_eq!(decode(b"7\0\0"), E::TooMany, "{msg_type}");
    }
}

#[test]
fn requests_without_fields_may_omit_their_nul() {
    let decoded = Request::decode(T::TransactionStart, b"");
    assert_eq!(decoded, Ok(Request::TransactionStart));
    assert_eq!(Request::decode(T::ResetWatches, b""), Ok(Request::ResetWatches));
}

#[test]
fn malformed_replies_are_rejected_with_the_reason() {
    #[rustfmt::skip]
    let table: &[(T, &[u8], E)] = &[
        (T::Directory, b"a", E::MissingNul),
        (T::Directory, b"a\0b", E::MissingNul),

        (T::DirectoryPart, b"", E::TooFew),
        (T::DirectoryPart, b"9", E::MissingNul),
        (T::DirectoryPart, b"\0", E::Number),
        (T::DirectoryPart, b"x\0\0", E::Number),
        (T::DirectoryPart, b"18446744073709551616\0\0", E::Number),
        (T::DirectoryPart, b"9\0a", E::MissingNul),

        (T::GetPerms, b"", E::TooFew),
        (T::GetPerms, b"n5", E::MissingNul),
        (T::GetPerms, b"\0", E::Permission),
        (T::GetPerms, b"n5\0q0\0", E::Permission),
        (T::GetPerms, b"n5\0\0", E::Permission),
        (T::GetPerms, b"n5\0r0", E::MissingNul),

        (T::TransactionStart, b"", E::TooFew),
        (T::TransactionStart, b"1", E::MissingNul),
        (T::TransactionStart, b"x\0", E::Number),
        (T::TransactionStart, b"4294967296\0", E::Number),
        (T::TransactionStart, b"1\0\0", E::TooMany),
        // Id 0 means that there is no transaction.
        (T::TransactionStart, b"0\0", E::Number),

        (T::IsDomainIntroduced, b"", E::TooFew),
        (T::IsDomainIntroduced, b"T", E::MissingNul),
        (T::IsDomainIntroduced, b"yes\0", E::Word),
        (T::IsDomainIntroduced, b"T\0\0", E::TooMany),

        (T::GetFeature, b"", E::TooFew),
        (T::GetFeature, b"-1\0", E::Number),
        (T::GetFeature, b"14\0x", E::TooMany),

        (T::GetDomainPath, b"", E::TooFew),
        (T::GetDomainPath, b"/local", E::MissingNul),
        (T::GetDomainPath, b"\xff\0", E::Text),
        (T::GetDomainPath, b"/a\0/b\0", E::TooMany),
        (T::GetQuota, b"1000", E::MissingNul),
        (T::GetQuota, b"\xff\0", E::Text),
        (T::GetQuota, b"1000\x001000\0", E::TooMany),

        (T::Error, b"", E::TooFew),
        (T::Error, b"ENOENT", E::MissingNul),
        (T::Error, b"\xff\0", E::Text),
        (T::Error, b"ENOENT\0\0", E::TooMany),

        (T::WatchEvent, b"/a\0tok\0", E::Direction),
        (T::Invalid, b"", E::Direction),
    ];
    for (msg_type, payload, error) in table {
        let shown = payload.escape_ascii();
        assert_eq!(Reply::decode(*msg_type, payload), Err(*error), "{msg_type} {shown}");
    }
    let types_with_reply_ok = [
        T::Watch,
        T::Unwatch,
        T::TransactionEnd,
        T::Introduce,
        T::Release,
        T::Write,
        T::Mkdir,
        T::Rm,
        T::SetPerms,
        T::Resume,
        T::SetTarget,
        T::ResetWatches,
        T::SetFeature,
        T::SetQuota,
    ];
    for msg_type in types_with_reply_ok {
        let decode = |payload| Reply::decode(msg_type, payload).unwrap_err();
        assert_eq!(decode(b""), E::TooFew, "{msg_type}");
        assert_eq!(decode(b"OK"), E::MissingNul, "{msg_type}");
        assert_eq!(decode(b"\0"), E::Word, "{msg_type}");
        assert_eq!(decode(b"ok\0"), E::Word, "{msg_type}");
        assert_eq!(decode(b"OK\0\0"), E::TooMany, "{msg_type}");
    }
}

#[test]
fn control_output_is_accepted_in_any_form() {
    for (payload, text) in [
        (b"".as_slice(), ""),
        (b"no NUL", "no NUL"),
        (b"two\0lines\0", "two\0lines"),
        (b"\xff\0", "\u{fffd}"),
    ] {
        assert_eq!(Reply::decode(T::Control, payload), Ok(Reply::Text(text.into())));
    }
}

#[test]
fn invalid_requests_are_rejected_before_anything_is_sent() {
    let a = Path::new("/a").unwrap();
    // Each entry takes seven bytes: "b65535" and its NUL.
    let entry = Permission::new(DomId::new(65535), Access::ReadWrite);
    let many = Permissions::from_list([entry; 900]).unwrap();
    let (value, token) = ([b'x'; PAYLOAD_MAX], [b'x'; PAYLOAD_MAX]);
    let too_long = |len| RequestError::TooLong { len, max: PAYLOAD_MAX };
    #[rustfmt::skip]
    let table = [
        (Request::Write { path: a, value: &value[2..] }, too_long(4097)),
        (Request::Write { path: a, value: &value }, too_long(4099)),
        (Request::Watch { path: a, token: b"t\0", depth: None }, RequestError::Nul { field: "token" }),
        (Request::Watch { path: a, token: &token, depth: None }, too_long(4100)),
        (Request::Watch { path: a, token: &token[4..], depth: Some(1) }, too_long(4098)),
        (Request::Unwatch { path: a, token: b"\0" }, RequestError::Nul { field: "token" }),
        (Request::SetPerms { path: a, perms: Cow::Owned(many) }, too_long(6303)),
        (Request::Control(Strings::from_list([value]).unwrap()), too_long(4097)),
        (Request::GetQuota { domid: None, quota: Some("a\0b") }, RequestError::Nul { field: "quota" }),
        (Request::GetQuota { domid: Some(DomId::DOM0), quota: None }, RequestError::DomainWithoutQuota),
        (Request::SetQuota { domid: None, quota: "\0", value: 1 }, RequestError::Nul { field: "quota" }),
        (Request::TransactionEnd { commit: true }, RequestError::NoTransaction),
    ];
    let mut client = ClientConnection::new(Limits::default());
    for (request, error) in table {
        let submitted = client.submit(TxId::NONE, &request, ());
        assert_eq!(submitted, Err(SubmitError::Invalid(error)), "{:?}", request.msg_type());
        assert!(!client.has_output() && client.take_output().is_empty());
        assert_eq!(client.pending(), 0);
    }

    let longest = Request::Write { path: a, value: &value[3..] };
    client.submit(TxId::NONE, &longest, ()).unwrap();
    assert_eq!(client.take_output().len(), 16 + PAYLOAD_MAX);
}

#[test]
fn rejected_requests_do_not_affect_earlier_ones() {
    let a = Path::new("/a").unwrap();
    let mut client = ClientConnection::new(Limits::default());
    let first = client.submit(TxId::NONE, &Request::Read(a), ()).unwrap();
    let bad = Request::Unwatch { path: a, token: b"\0" };
    assert!(client.submit(TxId::NONE, &bad, ()).is_err());
    let second = client.submit(TxId::NONE, &Request::Rm(a), ()).unwrap();
    assert_ne!(first, second);

    let sent = client.take_output();
    let mut server = ServerConnection::new();
    let received = server.receive(&sent).unwrap();
    let (consumed, read) = (received.consumed, received.event.unwrap());
    assert_eq!((read.header.req_id, read.request()), (first, Ok(Request::Read(a))));
    let received = server.receive(&sent[consumed..]).unwrap();
    let rm = received.event.unwrap();
    assert_eq!((rm.header.req_id, rm.request()), (second, Ok(Request::Rm(a))));
    assert_eq!(consumed + received.consumed, sent.len());
}

#[test]
fn payload_limit_never_exceeds_payload_max() {
    let path = Path::new("/a").unwrap();
    let value = [b'x'; PAYLOAD_MAX];
    let write = |len| Request::Write { path, value: &value[..len] };

    let mut device = ClientConnection::new(Limits::default().with_payload(4080));
    let error = RequestError::TooLong { len: 4081, max: 4080 };
    assert_eq!(device.submit(TxId::NONE, &write(4078), ()), Err(SubmitError::Invalid(error)));
    assert!(device.submit(TxId::NONE, &write(4077), ()).is_ok());

    let mut excessive = Limits::default();
    excessive.payload = usize::MAX;
    let mut client = ClientConnection::new(excessive);
    assert_eq!(client.limits(), Limits::default());
    let error = RequestError::TooLong { len: 4097, max: PAYLOAD_MAX };
    assert_eq!(client.submit(TxId::NONE, &write(4094), ()), Err(SubmitError::Invalid(error)));
    client.restart(excessive);
    assert_eq!(client.limits(), Limits::default());
    client.restart(Limits::default().with_payload(4080));
    assert_eq!(client.limits().payload, 4080);
}

#[test]
fn invalid_replies_and_events_are_rejected_before_anything_is_sent() {
    let mut server = ServerConnection::new();
    let mut client = ClientConnection::new(Limits::default());
    client.submit(TxId::NONE, &Request::Read(Path::ROOT), ()).unwrap();
    let sent = client.take_output();
    let header = server.receive(&sent).unwrap().event.unwrap().header;

    let value = vec![b'x'; PAYLOAD_MAX + 1];
    let too_long = Err(RequestError::TooLong { len: PAYLOAD_MAX + 1, max: PAYLOAD_MAX });
    assert_eq!(server.reply(header, &Reply::Value(value.as_slice().into())), too_long);
    let code = ErrorCode::Other("E\0".into());
    let nul = Err(RequestError::Nul { field: "error" });
    assert_eq!(server.reply(header, &Reply::Error(code)), nul);
    let nul = Err(RequestError::Nul { field: "text" });
    assert_eq!(server.reply(header, &Reply::Text("a\0b".into())), nul);
    assert_eq!(server.watch_event("a\0b", b""), Err(RequestError::Nul { field: "path" }));
    assert_eq!(server.watch_event("a", b"\0"), Err(RequestError::Nul { field: "token" }));
    assert_eq!(
        server.watch_event("a", &value),
        Err(RequestError::TooLong { len: PAYLOAD_MAX + 4, max: PAYLOAD_MAX })
    );
    assert_eq!(server.output_len(), 0);

    server.reply(header, &Reply::Value(value[1..].into())).unwrap();
    assert_eq!(server.output_len(), 16 + PAYLOAD_MAX);
}

#[test]
fn server_recognizes_types_that_clients_may_not_send() {
    for (number, is_request) in [(15, false), (16, false), (20, false), (65535, false), (2, true)] {
        let header = xs_proto::Header {
            msg_type: number,
            req_id: xs_proto::ReqId(1),
            tx_id: TxId::NONE,
            len: 2,
        };
        let input = [&header.encode()[..], b"a\0"].concat();
        let mut server = ServerConnection::new();
        let incoming = server.receive(&input).unwrap().event.unwrap();
        assert_eq!(incoming.msg_type().is_some(), is_request, "{number}");
        assert_eq!(incoming.request().is_ok(), is_request, "{number}");
        assert_eq!((incoming.header, incoming.payload), (header, b"a\0".as_slice()));
    }
}
