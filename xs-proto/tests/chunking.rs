//! `ClientConnection::receive`, called in a loop, yields the same events however the input is cut.

use xs_proto::{
    ClientConnection, ConnectionError, ErrorCode, Event, Header, Limits, MessageType, Path, Reply,
    ReqId, Request, Strings, TxId,
};

/// A connection with five requests in flight, and their ids; the last request is forgotten.
fn connection() -> (ClientConnection<u8>, [ReqId; 5]) {
    let mut connection = ClientConnection::new(Limits::default());
    let path = Path::new("/a").unwrap();
    let write = Request::Write { path, value: b"1" };
    let read = Request::Read(path);
    let requests = [read.clone(), write, Request::Directory(path), read.clone(), read];
    let mut key = 0;
    let ids = requests.map(|request| {
        key += 1;
        connection.submit(TxId::NONE, &request, key).unwrap()
    });
    assert_eq!(connection.forget(ids[4]), Some(5));
    (connection, ids)
}

/// The server's answers to these requests, out of order, and a watch event among them.
fn input(ids: &[ReqId; 5]) -> Vec<u8> {
    let messages: [(MessageType, ReqId, &[u8]); 6] = [
        (MessageType::Write, ids[1], b"OK\0"),
        (MessageType::Read, ids[4], b"discarded"),
        (MessageType::WatchEvent, ReqId(7), b"/a\0token\0"),
        (MessageType::Read, ids[0], b"value"),
        (MessageType::Error, ids[3], b"ENOENT\0"),
        (MessageType::Directory, ids[2], b"x\0y\0"),
    ];
    let mut input = Vec::new();
    for (msg_type, req_id, payload) in messages {
        let (msg_type, len) = (msg_type as u32, payload.len() as u32);
        input.extend(Header { msg_type, req_id, tx_id: TxId::NONE, len }.encode());
        input.extend(payload);
    }
    input
}

/// An event that borrows nothing.
#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Reply { req_id: ReqId, key: u8, reply: Reply<'static> },
    Watch { path: String, token: Vec<u8> },
}

impl From<Event<'_, u8>> for Owned {
    fn from(event: Event<'_, u8>) -> Self {
        match event {
            Event::Reply { req_id, key, reply } => {
                Owned::Reply { req_id, key, reply: reply.into_owned() }
            }
            Event::Watch { path, token } => Owned::Watch { path: path.into(), token: token.into() },
            event => panic!("an unknown event: {event:?}"),
        }
    }
}

/// The events in [`input`].
fn expected(ids: &[ReqId; 5]) -> Vec<Owned> {
    let reply = |at: usize, reply| Event::Reply { req_id: ids[at], key: at as u8 + 1, reply };
    let events = [
        reply(1, Reply::Done),
        Event::Watch { path: "/a", token: b"token" },
        reply(0, Reply::Value(b"value".into())),
        reply(3, Reply::Error(ErrorCode::NoEntry)),
        reply(2, Reply::Children(Strings::from_list(["x", "y"]).unwrap())),
    ];
    events.map(Owned::from).into()
}

/// Receives all of `input` and appends its events to `log`.
fn receive(
    connection: &mut ClientConnection<u8>,
    mut input: &[u8],
    log: &mut Vec<Owned>,
) -> Result<(), ConnectionError> {
    while !input.is_empty() {
        let received = connection.receive(input)?;
        assert!(received.consumed > 0, "no progress");
        input = &input[received.consumed..];
        log.extend(received.event.map(Owned::from));
    }
    Ok(())
}

#[test]
fn any_chunk_size_yields_the_same_events() {
    let len = input(&connection().1).len();
    for size in 1..=len {
        let (mut connection, ids) = connection();
        let mut log = Vec::new();
        for chunk in input(&ids).chunks(size) {
            receive(&mut connection, chunk, &mut log).unwrap();
        }
        assert_eq!(log, expected(&ids), "in chunks of {size} bytes");
        assert_eq!(connection.pending(), 0);
    }
}

#[test]
fn any_split_point_yields_the_same_events() {
    let len = input(&connection().1).len();
    for split in 0..=len {
        let (mut connection, ids) = connection();
        let mut log = Vec::new();
        let input = input(&ids);
        let (first, second) = input.split_at(split);
        receive(&mut connection, first, &mut log).unwrap();
        receive(&mut connection, second, &mut log).unwrap();
        assert_eq!(log, expected(&ids), "split at byte {split}");
    }
}

#[test]
fn empty_input_yields_nothing() {
    let (mut connection, _) = connection();
    let received = connection.receive(b"").unwrap();
    assert_eq!((received.consumed, received.event), (0, None));
}

#[test]
fn events_before_an_error_are_delivered() {
    let unknown = Header { msg_type: 99, req_id: ReqId(1), tx_id: TxId::NONE, len: 0 };
    let error = ConnectionError::UnknownType { msg_type: 99 };
    let (mut connection, ids) = connection();
    let mut input = input(&ids);
    input.extend(unknown.encode());
    let mut log = Vec::new();
    assert_eq!(receive(&mut connection, &input, &mut log), Err(error));
    assert_eq!(log, expected(&ids));
    assert_eq!(connection.receive(b""), Err(error));
}
