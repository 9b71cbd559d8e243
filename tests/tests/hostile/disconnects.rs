//! Connections that end at any byte of a conversation.

use std::thread;

use xs_client::{Client, Error, ErrorKind, Failure, Result};
use xs_proto::{ConnectionError, MessageType};
use xs_tests::peer::{self, Message, event, reply};

use crate::patient;

/// The client's part of the conversation: operations of every kind.
fn converse(client: &Client) -> Result<()> {
    assert_eq!(client.read("/a")?, b"value");
    let mut watch = client.watch("/w")?;
    assert_eq!(&*watch.wait()?.path, "/w");
    client.write("/a", "x")?;
    assert_eq!(client.directory("/a")?, ["b", "c"]);
    assert_eq!(client.get_perms("/a")?.to_string(), "n5 r0");
    let tx = client.start_transaction()?;
    tx.write("/a", "y")?;
    tx.commit()?;
    let values = client.read_many(["/a", "/a"]).into_iter().collect::<Result<Vec<_>>>()?;
    assert_eq!(values, [b"value", b"value"]);
    watch.remove()
}

/// The peer's part: the reply to a request, and the event that follows it.
fn respond(request: &Message) -> Vec<u8> {
    let payload: &[u8] = match MessageType::from_u32(request.header.msg_type) {
        Some(MessageType::Read) => b"value",
        Some(MessageType::Directory) => b"b\0c\0",
        Some(MessageType::GetPerms) => b"n5\0r0\0",
        Some(MessageType::TransactionStart) => b"17\0",
        _ => b"OK\0",
    };
    let mut bytes = reply(request, payload);
    if request.header.msg_type == MessageType::Watch as u32 {
        bytes.extend(event("/w", request.token()));
    }
    bytes
}

/// Runs the conversation with a peer that disconnects after `limit` bytes. Also returns how many
/// bytes its replies have.
fn cut_after(limit: usize, in_pieces_of: usize) -> (Result<()>, usize) {
    let (client, mut peer) = peer::connect(patient());
    let peer = thread::spawn(move || {
        let mut total = 0;
        while let Some(request) = peer.request() {
            let bytes = respond(&request);
            let left = limit.saturating_sub(total);
            total += bytes.len();
            for piece in bytes[..bytes.len().min(left)].chunks(in_pieces_of) {
                peer.send(piece);
            }
            if bytes.len() > left {
                break;
            }
        }
        total
    });
    let result = converse(&client);
    if let Err(first) = &result {
        // Later operations fail with the same cause.
        let later = client.read("/a").unwrap_err();
        assert_eq!(kind(&later), kind(first), "{later} {first}");
    }
    drop(client);
    (result, peer.join().unwrap())
}

fn kind(error: &Error) -> Option<ConnectionError> {
    match error.kind() {
        ErrorKind::Lost(Failure::Protocol(cause)) => Some(*cause),
        // The client noticed while sending.
        ErrorKind::Lost(Failure::Io(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn disconnects_at_every_byte_are_reported() {
    let (result, total) = cut_after(usize::MAX, usize::MAX);
    result.unwrap();
    for at in 0..total {
        let (result, _) = cut_after(at, usize::MAX);
        let error = result.expect_err("the conversation is not complete");
        match kind(&error) {
            None => {}
            Some(cause) => assert!(
                matches!(cause, ConnectionError::Closed | ConnectionError::Truncated),
                "{at}: {cause:?}"
            ),
        }
    }
}

#[test]
fn messages_in_pieces_are_reassembled() {
    for size in [1, 2, 3, 7, 15, 16, 17] {
        cut_after(usize::MAX, size).0.unwrap();
    }
}

#[test]
fn truncated_messages_differ_from_closed_connections() {
    let ends_after = |bytes: usize| {
        let (client, mut peer) = peer::connect(patient());
        let peer = thread::spawn(move || {
            let request = peer.expect(MessageType::Read);
            peer.send(&reply(&request, b"value")[..bytes]);
            peer.shut_down();
            peer
        });
        let error = client.read("/a").unwrap_err();
        drop(peer.join().unwrap());
        (kind(&error), error.io_kind())
    };
    let closed = (Some(ConnectionError::Closed), std::io::ErrorKind::ConnectionReset);
    let truncated = (Some(ConnectionError::Truncated), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(ends_after(0), closed);
    for inside in [1, 15, 16, 20] {
        assert_eq!(ends_after(inside), truncated);
    }
}
