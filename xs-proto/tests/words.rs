//! What people read: names, numbers and errors in words, and the small questions that types answer.

use std::borrow::Cow;

use xs_proto::{
    Access, ClientConnection, ConnectionError, DomId, ErrorCode, FrameError, Limits, MessageType,
    ParseDomIdError, ParsePermissionError, Path, PathError, PayloadError, Permission, Permissions,
    ReqId, Request, RequestError, SubmitError, TxId,
};

/// Each of these prints as the words beside it.
#[track_caller]
fn assert_words<T: std::fmt::Display>(table: impl IntoIterator<Item = (T, &'static str)>) {
    for (value, words) in table {
        assert_eq!(value.to_string(), words);
    }
}

#[test]
fn message_types_have_the_names_of_xs_wire_h() {
    let names: Vec<&str> = MessageType::ALL.iter().map(|msg_type| msg_type.name()).collect();
    #[rustfmt::skip]
    assert_eq!(names, [
        "CONTROL", "DIRECTORY", "READ", "GET_PERMS", "WATCH", "UNWATCH", "TRANSACTION_START",
        "TRANSACTION_END", "INTRODUCE", "RELEASE", "GET_DOMAIN_PATH", "WRITE", "MKDIR", "RM",
        "SET_PERMS", "WATCH_EVENT", "ERROR", "IS_DOMAIN_INTRODUCED", "RESUME", "SET_TARGET",
        "RESET_WATCHES", "DIRECTORY_PART", "GET_FEATURE", "SET_FEATURE", "GET_QUOTA", "SET_QUOTA",
        "INVALID",
    ]);
    assert_words(MessageType::ALL.iter().map(|msg_type| (msg_type, msg_type.name())));
}

#[test]
fn server_errors_give_their_name_and_say_what_it_means() {
    assert_words([
        (ErrorCode::Invalid, "EINVAL (the daemon calls the request invalid)"),
        (ErrorCode::Access, "EACCES (permission denied)"),
        (ErrorCode::Exists, "EEXIST (it exists already)"),
        (ErrorCode::IsDirectory, "EISDIR (it is a directory)"),
        (ErrorCode::NoEntry, "ENOENT (there is no such thing)"),
        (ErrorCode::NoMemory, "ENOMEM (the daemon is out of memory)"),
        (ErrorCode::NoSpace, "ENOSPC (a quota is used up)"),
        (ErrorCode::Io, "EIO (the daemon failed)"),
        (ErrorCode::NotEmpty, "ENOTEMPTY (it is not empty)"),
        (ErrorCode::NotSupported, "ENOSYS (the daemon does not know the operation)"),
        (ErrorCode::ReadOnly, "EROFS (the store is read-only)"),
        (ErrorCode::Busy, "EBUSY (not possible now)"),
        (ErrorCode::Again, "EAGAIN (the transaction met a change made by others)"),
        (ErrorCode::Connected, "EISCONN (the domain is introduced already)"),
        (ErrorCode::TooBig, "E2BIG (too big, or a quota is used up)"),
        (ErrorCode::NotPermitted, "EPERM (only a privileged domain may do this)"),
        (ErrorCode::Quota, "EQUOTA (a quota is used up)"),
        (ErrorCode::Other("EWHAT".into()), "EWHAT (an error that this library has no words for)"),
    ]);
}

#[test]
fn errors_of_the_caller_say_where_they_are() {
    assert_words([
        (PathError::Empty, "the path is empty"),
        (PathError::TooLong { len: 3000, max: 2048 }, "the path has 3000 bytes, 2048 are allowed"),
        (
            PathError::Character { at: 2, byte: 0 },
            "the path has '\\0' at byte 2; only letters, digits and -/_@ are allowed",
        ),
        (PathError::EmptyComponent { at: 3 }, "the path has an empty component at byte 3"),
        (PathError::TrailingSlash, "the path ends with a slash"),
    ]);
    let too_long = RequestError::TooLong { len: 5000, max: 4096 };
    assert_words([
        (RequestError::Nul { field: "token" }, "the token has a NUL inside"),
        (too_long, "the request has 5000 bytes of payload, 4096 are allowed"),
        (RequestError::NoTransaction, "there is no transaction to end"),
        (RequestError::DomainWithoutQuota, "a domain's quota needs the name of the quota"),
    ]);
    assert_words([
        (SubmitError::Invalid(too_long), "the request has 5000 bytes of payload, 4096 are allowed"),
        (SubmitError::Full, "too many requests wait for their replies"),
        (SubmitError::Failed(ConnectionError::Closed), "the other end closed the connection"),
    ]);
    assert_words([(ParseDomIdError, "a domain id is a number from 0 to 65535")]);
    let words = "a permission is one of the letters n, r, w and b and a domain id, such as r5";
    assert_words([(ParsePermissionError, words)]);
}

#[test]
fn errors_of_the_peer_say_what_it_did() {
    let (msg_type, req_id) = (MessageType::Read, ReqId(7));
    let too_long = FrameError { msg_type: 2, len: 5000, max: 4096 };
    assert_words([
        (ConnectionError::Closed, "the other end closed the connection"),
        (
            ConnectionError::Truncated,
            "the other end closed the connection in the middle of a message",
        ),
        (
            ConnectionError::Frame(too_long),
            "a message of type 2 announces 5000 bytes of payload, 4096 are allowed",
        ),
        (ConnectionError::UnknownType { msg_type: 99 }, "a message has the unknown type 99"),
        (
            ConnectionError::UnknownRequest { msg_type, req_id },
            "a reply of type READ answers request 7, which was not made",
        ),
        (
            ConnectionError::WrongType { expected: msg_type, got: MessageType::Rm },
            "a reply has type RM where READ was asked",
        ),
        (
            ConnectionError::WrongTransaction { msg_type, expected: TxId(1), got: TxId(2) },
            "a reply of type READ names transaction 2 instead of 1",
        ),
        (
            ConnectionError::Payload { msg_type, cause: PayloadError::Path(PathError::Empty) },
            "a message of type READ is malformed: a field is not a path: the path is empty",
        ),
    ]);
    assert_words([
        (PayloadError::MissingNul, "a string lacks its final NUL"),
        (PayloadError::TooFew, "a field is missing"),
        (PayloadError::TooMany, "something follows the last field"),
        (PayloadError::Number, "a field is not a number, or out of range"),
        (PayloadError::Word, "a field is not the word expected"),
        (PayloadError::Permission, "a field is not a permission"),
        (PayloadError::Text, "a field is not UTF-8 text"),
        (PayloadError::Direction, "no such message is sent in this direction"),
    ]);
}

#[test]
fn paths_tell_their_kind() {
    for (text, absolute, special) in
        [("/", true, false), ("/a", true, false), ("a", false, false), ("@a", false, true)]
    {
        let path = Path::new(text).unwrap();
        assert_eq!((path.is_absolute(), path.is_special()), (absolute, special), "{text}");
        assert_eq!((path.to_string(), path.as_ref()), (text.to_owned(), text));
        assert_eq!(format!("{path:?}"), format!("{text:?}"));
        assert_eq!(Path::try_from(text), Ok(path));
    }
    assert_eq!(Path::try_from("a/"), Err(PathError::TrailingSlash));
}

#[test]
fn domains_and_access_are_what_they_were_made_from() {
    assert_eq!(DomId::from(5).get(), 5);
    assert_eq!("5".parse(), Ok(DomId::new(5)));
    assert_eq!("65536".parse::<DomId>(), Err(ParseDomIdError));
    for (letter, access, reads, writes) in [
        ('n', Access::None, false, false),
        ('r', Access::Read, true, false),
        ('w', Access::Write, false, true),
        ('b', Access::ReadWrite, true, true),
    ] {
        assert_eq!(Access::from_letter(letter as u8), Some(access));
        assert_eq!(access.letter(), letter);
        assert_eq!((access.can_read(), access.can_write()), (reads, writes));
        let permission = Permission::new(DomId::new(9), access);
        assert_eq!(permission.to_string(), format!("{letter}9"));
    }
    assert_eq!(Access::from_letter(b'B'), None);
    assert_eq!((Access::default(), DomId::default()), (Access::None, DomId::DOM0));
    assert!(TxId::NONE.is_none() && TxId::default().is_none() && !TxId(1).is_none());
}

#[test]
fn a_request_knows_its_path() {
    let path = Path::new("/a").unwrap();
    let perms = Permissions::owned_by(DomId::DOM0, Access::None);
    for request in [
        Request::Directory(path),
        Request::Read(path),
        Request::GetPerms(path),
        Request::Mkdir(path),
        Request::Rm(path),
        Request::Watch { path, token: b"", depth: None },
        Request::Unwatch { path, token: b"" },
        Request::Write { path, value: b"" },
        Request::SetPerms { path, perms: Cow::Borrowed(&perms) },
        Request::DirectoryPart { path, offset: 0 },
    ] {
        assert_eq!(request.path(), Some(path), "{request:?}");
    }
    assert_eq!(Request::ResetWatches.path(), None);
    assert_eq!(Request::Release(DomId::DOM0).path(), None);
}

#[test]
fn limits_are_the_sockets_unless_something_is_said() {
    let limits = Limits::default();
    let said = |limits: Limits| (limits.payload, limits.one_at_a_time, limits.shared_session);
    assert_eq!(said(limits), (4096, false, false));
    assert_eq!(said(limits.with_payload(4080)), (4080, false, false));
    assert_eq!(said(limits.with_payload(5000)), (4096, false, false));
    assert_eq!(said(limits.with_one_at_a_time()), (4096, true, false));
    assert_eq!(said(limits.with_shared_session()), (4096, false, true));
    let device = limits.with_payload(4080).with_one_at_a_time().with_shared_session();
    assert_eq!(ClientConnection::<()>::new(device).limits(), device);
}
