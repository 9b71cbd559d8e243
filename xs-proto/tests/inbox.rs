//! What comes is the same, whether it is asked for message by message or goes to an inbox.

use xs_proto::{
    ClientConnection, ConnectionError, Event, Header, Inbox, Limits, MessageType, Path, Reply,
    ReqId, Request, TxId,
};

/// Writes down what it is given.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    values: usize,
}

impl<'a> Inbox<'a, u8> for Log {
    fn reply(&mut self, req_id: ReqId, key: u8, reply: Reply<'a>) {
        self.lines.push(format!("{:?}", Event::Reply { req_id, key, reply }));
    }

    fn value(&mut self, req_id: ReqId, key: u8, value: &'a [u8]) {
        self.values += 1;
        self.reply(req_id, key, Reply::Value(value.into()));
    }

    fn watch_event(&mut self, path: &'a str, token: &'a [u8]) {
        self.lines.push(format!("{:?}", Event::Watch::<'_, u8> { path, token }));
    }
}

/// A connection with requests under way, and what it receives.
fn start() -> (ClientConnection<u8>, Vec<u8>) {
    let mut connection = ClientConnection::new(Limits::default());
    let path = Path::new("/a").expect("a path");
    let write = Request::Write { path, value: b"1" };
    let requests = [Request::Read(path), write, Request::Directory(path), Request::Read(path)];
    let ids: Vec<_> = requests
        .iter()
        .zip(1..)
        .map(|(request, key)| connection.submit(TxId::NONE, request, key).expect("there is room"))
        .collect();
    let forgotten = connection.submit(TxId::NONE, &requests[0], 5).expect("there is room");
    assert_eq!(connection.forget(forgotten), Some(5));

    let mut input = Vec::new();
    let mut say = |msg_type: MessageType, req_id, payload: &[u8]| {
        let (msg_type, len) = (msg_type as u32, payload.len() as u32);
        input.extend(Header { msg_type, req_id, tx_id: TxId::NONE, len }.encode());
        input.extend(payload);
    };
    say(MessageType::Write, ids[1], b"OK\0");
    say(MessageType::Read, forgotten, b"of no interest");
    say(MessageType::WatchEvent, ReqId(7), b"/a\0token\0");
    say(MessageType::Read, ids[0], b"value");
    say(MessageType::Error, ids[3], b"ENOENT\0");
    say(MessageType::Directory, ids[2], b"x\0y\0");
    (connection, input)
}

#[test]
fn an_inbox_is_given_what_receive_gives() {
    let (mut connection, input) = start();
    let mut expected = Vec::new();
    let mut rest = &input[..];
    while !rest.is_empty() {
        let received = connection.receive(rest).expect("it makes sense");
        rest = &rest[received.consumed..];
        expected.extend(received.event.map(|event| format!("{event:?}")));
    }
    assert_eq!(expected.len(), 5);

    for size in 1..=input.len() {
        let (mut connection, input) = start();
        let mut log = Log::default();
        for piece in input.chunks(size) {
            connection.receive_all(piece, &mut log).expect("it makes sense");
        }
        assert_eq!(log.lines, expected, "in pieces of {size}");
        // A value goes the short way.
        assert_eq!((log.values, connection.pending()), (1, 0));
    }
}

#[test]
fn an_error_is_final_and_what_came_before_is_not_lost() {
    let (mut connection, mut input) = start();
    let nonsense = Header { msg_type: 99, req_id: ReqId(1), tx_id: TxId::NONE, len: 0 };
    input.extend(nonsense.encode());
    let mut log = Log::default();
    let error = connection.receive_all(&input, &mut log).unwrap_err();
    assert_eq!(error, ConnectionError::UnknownType { msg_type: 99 });
    assert_eq!(log.lines.len(), 5);
    assert_eq!(connection.receive_all(&[], &mut log), Err(error));
    assert_eq!(connection.receive(&[]).map(drop), Err(error));
}
