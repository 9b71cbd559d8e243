//! A connection that ends at any byte of a conversation.

use std::thread;

use xs_client::{Client, Error, ErrorKind, Failure, Result};
use xs_proto::{ConnectionError, MessageType};
use xs_tests::PATIENCE;
use xs_tests::script::{self, Message, answer, event};

/// What the client says and asks; a bit of everything.
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

/// The peer's part: its answer, with the event that goes with it.
fn respond(request: &Message) -> Vec<u8> {
    let payload: &[u8] = match MessageType::from_u32(request.header.msg_type) {
        Some(MessageType::Read) => b"value",
        Some(MessageType::Directory) => b"b\0c\0",
        Some(MessageType::GetPerms) => b"n5\0r0\0",
        Some(MessageType::TransactionStart) => b"17\0",
        _ => b"OK\0",
    };
    let mut bytes = answer(request, payload);
    if request.header.msg_type == MessageType::Watch as u32 {
        let token = request.payload.split(|byte| *byte == 0).nth(1).expect("it has a token");
        bytes.extend(event("/w", token));
    }
    bytes
}

/// Lets a client converse with a peer that hangs up after so many bytes. Says how many bytes there
/// would have been.
fn cut_after(limit: usize, in_pieces_of: usize) -> (Result<()>, usize) {
    let (client, mut peer) = script::pair(Client::builder().timeout(PATIENCE));
    let peer = thread::spawn(move || {
        let mut said = 0;
        while let Some(request) = peer.request() {
            let bytes = respond(&request);
            let left = limit.saturating_sub(said);
            said += bytes.len();
            for piece in bytes[..bytes.len().min(left)].chunks(in_pieces_of) {
                peer.send(piece);
            }
            if bytes.len() > left {
                break;
            }
        }
        said
    });
    let result = converse(&client);
    if let Err(first) = &result {
        // It stays so, and the cause is the same.
        let later = client.read("/a").unwrap_err();
        assert_eq!(kind(&later), kind(first), "{later} {first}");
    }
    drop(client);
    (result, peer.join().unwrap())
}

fn kind(error: &Error) -> Option<ConnectionError> {
    match error.kind() {
        ErrorKind::Lost(Failure::Protocol(cause)) => Some(*cause),
        // The peer was gone before we said the next thing.
        ErrorKind::Lost(Failure::Io(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn at_every_byte() {
    let (result, total) = cut_after(usize::MAX, usize::MAX);
    result.unwrap();
    for at in 0..total {
        let (result, _) = cut_after(at, usize::MAX);
        // What is asked for last is not waited for by anybody but the one who asks.
        let error = result.expect_err("the conversation was not over");
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
fn whole_but_in_pieces() {
    for size in [1, 2, 3, 7, 15, 16, 17] {
        cut_after(usize::MAX, size).0.unwrap();
    }
}

#[test]
fn between_messages_and_inside_of_one() {
    let ends_after = |bytes: usize| {
        let (client, mut peer) = script::pair(Client::builder().timeout(PATIENCE));
        let peer = thread::spawn(move || {
            let request = peer.expect(MessageType::Read);
            peer.send(&answer(&request, b"value")[..bytes]);
            peer.hang_up();
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
