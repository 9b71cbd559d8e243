//! A peer that lists children whose names no node can have.

use std::thread;

use xs_client::{Client, Error, ErrorKind};
use xs_proto::MessageType;
use xs_tests::peer::{self, Message, Peer};

use crate::patient;

/// Names that are longer than one byte, or empty.
const BAD_NAMES: [&[u8]; 13] = [
    b"",
    b".",
    b"..",
    b"../../x",
    b"/x",
    b"x/",
    b"x/y",
    b"line\nbreak",
    b"\x1b[2Jcleared",
    b"tab\t",
    b"with space",
    "ä\u{202e}".as_bytes(),
    b"x\xff",
];

/// Answers requests for lists with the children `first`, `name` and `last`, in one message or in
/// parts, and READ with a value, until the client closes the connection.
fn serve(mut peer: Peer, name: Vec<u8>, in_parts: bool) {
    while let Some(request) = peer.request() {
        let list = [&b"first\0"[..], &name, b"\0last\0"].concat();
        match request.header.msg_type {
            msg_type if msg_type == MessageType::Read as u32 => peer.reply(&request, b"value"),
            msg_type if msg_type == MessageType::DirectoryPart as u32 => {
                peer.reply(&request, &[b"7\0", &*list, b"\0"].concat());
            }
            _ if is_for(&request, "/good") => peer.reply(&request, b"first\0last\0"),
            _ if !is_for(&request, "/bad") => peer.reply(&request, b""),
            _ if in_parts => peer.reply_error(&request, "E2BIG"),
            _ => peer.reply(&request, &list),
        }
    }
}

fn is_for(request: &Message, path: &str) -> bool {
    request.payload.strip_suffix(b"\0") == Some(path.as_bytes())
}

/// Runs a test against a peer that lists each of `names`, in one message and in parts.
fn with_each_name<'a>(names: impl IntoIterator<Item = &'a [u8]>, test: impl Fn(&Client, &[u8])) {
    for name in names {
        for in_parts in [false, true] {
            let (client, peer) = peer::connect(patient());
            let served = name.to_vec();
            let server = thread::spawn(move || serve(peer, served, in_parts));
            test(&client, name);
            drop(client);
            server.join().unwrap();
        }
    }
}

#[track_caller]
fn assert_names_the_defect(error: &Error, name: &[u8]) {
    assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error:?}");
    assert_eq!((error.operation(), error.path()), ("directory", Some("/bad")));
    let text = error.to_string();
    assert!(text.contains(&format!("\"{}\"", name.escape_ascii())), "{text}");
    assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text:?}");
}

#[test]
fn impossible_names_fail_the_list_and_not_the_connection() {
    with_each_name(BAD_NAMES, |client, name| {
        assert_names_the_defect(&client.directory("/bad").unwrap_err(), name);
        assert_eq!(client.read("/a").unwrap(), b"value");
    });
}

#[test]
fn impossible_names_fail_one_list_of_a_batch() {
    with_each_name(BAD_NAMES, |client, name| {
        let lists = client.directory_many(["/good", "/bad", "/good"]);
        assert_eq!(lists[0].as_ref().unwrap(), &["first", "last"]);
        assert_names_the_defect(lists[1].as_ref().unwrap_err(), name);
        assert_eq!(lists[2].as_ref().unwrap(), &["first", "last"]);
    });
}

#[test]
fn walks_do_not_follow_impossible_names() {
    with_each_name(BAD_NAMES, |client, name| {
        let nodes: Vec<_> = client.walk("/bad").collect();
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        assert_names_the_defect(nodes[0].children.as_ref().unwrap_err(), name);
    });
}

#[test]
fn names_consist_of_the_characters_of_a_path_without_slash() {
    let bytes: Vec<u8> = (1..=u8::MAX).collect();
    with_each_name(bytes.chunks(1), |client, name| {
        let list = client.directory("/bad");
        if name[0].is_ascii_alphanumeric() || b"-_@".contains(&name[0]) {
            assert_eq!(list.unwrap()[1].as_bytes(), name);
        } else {
            assert_names_the_defect(&list.unwrap_err(), name);
        }
    });
}

#[test]
fn names_longer_than_a_path_are_rejected() {
    let name = vec![b'x'; 3500];
    with_each_name([&*name], |client, name| {
        assert_names_the_defect(&client.directory("/bad").unwrap_err(), name);
    });
}
