//! The text form of names, numbers and errors, and small accessors of the value types.

use std::borrow::Cow;
use std::fmt::Display;

use xs_proto::{
    Access, ClientConnection, ConnectionError, DomId, ErrorCode, FrameError, Limits, MessageType,
    ParseDomIdError, ParsePermissionError, Path, PathError, PayloadError, Permission, Permissions,
    ReqId, Request, RequestError, SubmitError, TxId,
};

/// Checks the text form of each value.
#[track_caller]
fn assert_text<T: Display>(table: impl IntoIterator<Item = (T, &'static str)>) {
    for (value, text) in table {
        assert_eq!(value.to_string(), text);
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
    assert_text(MessageType::ALL.iter().map(|msg_type| (msg_type, msg_type.name())));
}

#[test]
fn error_codes_show_name_and_meaning() {
    assert_text([
        (ErrorCode::Invalid, "EINVAL (invalid request)"),
        (ErrorCode::Access, "EACCES (permission denied)"),
        (ErrorCode::Exists, "EEXIST (already exists)"),
        (ErrorCode::IsDirectory, "EISDIR (is a directory)"),
        (ErrorCode::NoEntry, "ENOENT (not found)"),
        (ErrorCode::NoMemory, "ENOMEM (the daemon is out of memory)"),
        (ErrorCode::NoSpace, "ENOSPC (quota exceeded)"),
        (ErrorCode::Io, "EIO (the daemon failed)"),
        (ErrorCode::NotEmpty, "ENOTEMPTY (not empty)"),
        (ErrorCode::NotSupported, "ENOSYS (not supported by the daemon)"),
        (ErrorCode::ReadOnly, "EROFS (the store is read-only)"),
        (ErrorCode::Busy, "EBUSY (not possible in the current state)"),
        (ErrorCode::Again, "EAGAIN (the transaction conflicts with another change)"),
        (ErrorCode::Connected, "EISCONN (the domain is already introduced)"),
        (ErrorCode::TooBig, "E2BIG (too large, or quota exceeded)"),
        (ErrorCode::NotPermitted, "EPERM (reserved for privileged domains)"),
        (ErrorCode::Quota, "EQUOTA (quota exceeded)"),
        (ErrorCode::Other("ENEW".into()), "ENEW (unknown error)"),
        (
            ErrorCode::Other("\u{1b}[2J\r\n\u{9b}\u{7f}".into()),
            "\\u{1b}[2J\\r\\n\\u{9b}\\u{7f} (unknown error)",
        ),
    ]);
}

#[test]
fn path_errors_show_the_position() {
    assert_text([
        (PathError::Empty, "the path is empty"),
        (PathError::TooLong { len: 3000, max: 2048 }, "the path has 3000 bytes, the limit is 2048"),
        (
            PathError::Character { at: 2, byte: 0 },
            "the path has '\\x00' at byte 2; only letters, digits and -/_@ are allowed",
        ),
        (PathError::EmptyComponent { at: 3 }, "the path has an empty component at byte 3"),
        (PathError::TrailingSlash, "the path ends with a slash"),
    ]);
}

#[test]
fn errors_of_the_caller_name_the_defect() {
    let too_long = RequestError::TooLong { len: 5000, max: 4096 };
    assert_text([
        (RequestError::Nul { field: "token" }, "the token contains a NUL byte"),
        (too_long, "the payload has 5000 bytes, the limit is 4096"),
        (RequestError::NoTransaction, "there is no transaction to end"),
        (RequestError::DomainWithoutQuota, "the quota of a domain needs a name"),
    ]);
    assert_text([
        (SubmitError::Invalid(too_long), "the payload has 5000 bytes, the limit is 4096"),
        (SubmitError::Full, "too many requests are in flight"),
        (SubmitError::Failed(ConnectionError::Closed), "the peer closed the connection"),
    ]);
    assert_text([(ParseDomIdError, "not a domain id: expected a number from 0 to 65535")]);
    let text =
        "not a permission: expected one of the letters n, r, w, b and a domain id, such as r5";
    assert_text([(ParsePermissionError, text)]);
}

#[test]
fn errors_of_the_peer_name_the_violation() {
    let (msg_type, req_id) = (MessageType::Read, ReqId(7));
    let too_long = FrameError { msg_type: 2, len: 5000, max: 4096 };
    assert_text([
        (ConnectionError::Closed, "the peer closed the connection"),
        (ConnectionError::Truncated, "the peer closed the connection in the middle of a message"),
        (
            ConnectionError::Frame(too_long),
            "a message of type 2 announces 5000 bytes of payload, the limit is 4096",
        ),
        (
            ConnectionError::UnknownType { msg_type: 99 },
            "the peer sent a message of unknown type 99",
        ),
        (
            ConnectionError::UnknownRequest { msg_type, req_id },
            "the peer sent a READ reply to request 7, which is not in flight",
        ),
        (
            ConnectionError::WrongType { expected: msg_type, got: MessageType::Rm },
            "the peer sent a RM reply to a READ request",
        ),
        (
            ConnectionError::WrongTransaction { msg_type, expected: TxId(1), got: TxId(2) },
            "the peer sent a READ reply for transaction 2 instead of 1",
        ),
        (
            ConnectionError::Payload { msg_type, cause: PayloadError::Path(PathError::Empty) },
            "the peer sent a malformed READ message: a field is not a path: the path is empty",
        ),
    ]);
    assert_text([
        (PayloadError::MissingNul, "a string has no terminating NUL"),
        (PayloadError::TooFew, "a field is missing"),
        (PayloadError::TooMany, "data follows the last field"),
        (PayloadError::Number, "a field is not a number, or out of range"),
        (PayloadError::Word, "a field is not one of the expected words"),
        (PayloadError::Permission, "a field is not a permission"),
        (PayloadError::Text, "a field is not UTF-8"),
        (PayloadError::Direction, "a message of this type is not sent in this direction"),
    ]);
}

#[test]
fn paths_know_their_kind() {
    for (text, absolute, special) in
        [("/", true, false), ("/a", true, false), ("a", false, false), ("@a", false, true)]
    {
        let path = Path::new(text).unwrap();
        assert_eq!((path.is_absolute(), path.is_special()), (absolute, special), "{text}");
        assert_eq!((path.to_string(), path.as_ref()), (text.to_owned(), text));
        assert_eq!(Path::try_from(text), Ok(path));
    }
    assert_eq!(Path::try_from("a/"), Err(PathError::TrailingSlash));
}

#[test]
fn domain_ids_and_access_letters_convert_both_ways() {
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
fn requests_return_their_path() {
    let path = Path::new("/a").unwrap();
    let perms = Permissions::owned_by(DomId::DOM0);
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
fn default_limits_are_those_of_the_socket() {
    let limits = Limits::default();
    let fields = |limits: Limits| (limits.payload, limits.one_at_a_time, limits.shared_session);
    assert_eq!(fields(limits), (4096, false, false));
    assert_eq!(fields(limits.with_payload(4080)), (4080, false, false));
    assert_eq!(fields(limits.with_payload(5000)), (4096, false, false));
    assert_eq!(fields(limits.with_one_at_a_time()), (4096, true, false));
    assert_eq!(fields(limits.with_shared_session()), (4096, false, true));
    let device = limits.with_payload(4080).with_one_at_a_time().with_shared_session();
    assert_eq!(ClientConnection::<()>::new(device).limits(), device);
}
