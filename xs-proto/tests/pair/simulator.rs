//! A client and a server connection on a virtual wire, and a model of the results that they must
//! return. The tests drive it with random numbers, the fuzzer with its input.

use std::collections::{HashSet, VecDeque};

use xs_proto::{
    Access, ClientConnection, ConnectionError, DomId, ErrorCode, Event, Features, Header, Limits,
    MessageType, Path, Permissions, Reply, ReqId, Request, ServerConnection, Strings, SubmitError,
    TxId,
};

/// The source of decisions: returns a number below its argument.
pub(crate) type Choose<'c> = dyn FnMut(usize) -> usize + 'c;

pub(crate) struct Pair<'c> {
    choose: &'c mut Choose<'c>,
    client: ClientConnection<u32>,
    server: ServerConnection,
    next_key: u32,

    /// The requests that the server has not received, in order. The client has sent the first
    /// `sent` of them.
    submitted: VecDeque<Submitted>,
    sent: usize,
    to_server: VecDeque<u8>,
    /// The requests that the server has not answered, with their keys.
    at_server: Vec<(Header, u32)>,
    to_client: VecDeque<u8>,
    /// The messages in `to_client`, each with the position in the stream at which it ends.
    expected: VecDeque<(u64, Message)>,
    /// The number of bytes that the server has sent, that the client has consumed, and that the
    /// client has consumed as complete messages.
    sent_bytes: u64,
    consumed_bytes: u64,
    complete_bytes: u64,

    /// The requests without a reply, including forgotten ones.
    unanswered: Vec<(ReqId, u32)>,
    forgotten: HashSet<u32>,
    /// The ids of requests that are no longer in flight.
    stale: Vec<ReqId>,
}

struct Submitted {
    req_id: ReqId,
    tx_id: TxId,
    key: u32,
    request: Request<'static>,
}

/// A message from the server.
enum Message {
    Reply { req_id: ReqId, key: u32, reply: Reply<'static> },
    Watch { path: &'static str, token: &'static [u8] },
}

impl<'c> Pair<'c> {
    pub(crate) fn new(one_at_a_time: bool, choose: &'c mut Choose<'c>) -> Self {
        let limits = Limits::default();
        Pair {
            choose,
            client: ClientConnection::new(if one_at_a_time {
                limits.with_one_at_a_time()
            } else {
                limits
            }),
            server: ServerConnection::new(),
            next_key: 0,
            submitted: VecDeque::new(),
            sent: 0,
            to_server: VecDeque::new(),
            at_server: Vec::new(),
            to_client: VecDeque::new(),
            expected: VecDeque::new(),
            sent_bytes: 0,
            consumed_bytes: 0,
            complete_bytes: 0,
            unanswered: Vec::new(),
            forgotten: HashSet::new(),
            stale: Vec::new(),
        }
    }

    /// Performs one random action and checks its results.
    pub(crate) fn step(&mut self) {
        let choice = (self.choose)(64);
        if choice == 63 {
            return self.restart();
        }
        match choice % 8 {
            0 | 1 => self.submit(),
            2 => self.forget(),
            3 => self.send(),
            4 => {
                let len = (self.choose)(self.to_server.len() + 1);
                self.deliver_to_server(len);
            }
            5 => self.answer(),
            6 => self.fire_watch(),
            _ => {
                let len = (self.choose)(self.to_client.len() + 1);
                self.deliver_to_client(len);
            }
        }
        assert_eq!(self.client.pending(), self.unanswered.len());
    }

    /// Runs until every request is answered, and checks that nothing remains.
    pub(crate) fn settle(&mut self) {
        while self.client.pending() > 0 || !self.expected.is_empty() {
            self.send();
            self.deliver_to_server(self.to_server.len());
            while !self.at_server.is_empty() {
                self.answer();
            }
            self.deliver_to_client(self.to_client.len());
        }
        assert!(self.unanswered.is_empty());
        assert!(!self.client.has_output());
        assert!(self.submitted.is_empty() && self.to_server.is_empty());
    }

    /// Closes the connection in its current state, and checks the error of the client.
    pub(crate) fn close(&mut self) {
        let error = if self.consumed_bytes == self.complete_bytes {
            ConnectionError::Closed
        } else {
            ConnectionError::Truncated
        };
        assert_eq!(self.client.end_of_input(), error);
        assert_eq!(self.client.end_of_input(), error);
        assert_eq!(self.client.receive(b"x"), Err(error));
        let submitted = self.client.submit(TxId::NONE, &Request::Read(Path::ROOT), 0);
        assert_eq!(submitted, Err(SubmitError::Failed(error)));
        assert!(!self.client.has_output() && self.client.take_output().is_empty());
        // The keys of the requests in flight are still available.
        for (req_id, key) in &self.unanswered {
            let expected = self.forgotten.insert(*key).then_some(*key);
            assert_eq!(self.client.forget(*req_id), expected);
        }
    }

    /// Replaces the stream and the server, in any state.
    pub(crate) fn restart(&mut self) {
        self.client.restart(self.client.limits());
        assert_eq!((self.client.pending(), self.client.has_output()), (0, false));
        self.server = ServerConnection::new();
        self.submitted.clear();
        self.sent = 0;
        self.to_server.clear();
        self.at_server.clear();
        self.to_client.clear();
        self.expected.clear();
        (self.sent_bytes, self.consumed_bytes, self.complete_bytes) = (0, 0, 0);
        self.stale.extend(self.unanswered.drain(..).map(|(req_id, _)| req_id));
    }

    fn submit(&mut self) {
        let request = request(self.choose);
        let tx_id = TxId((self.choose)(3) as u32);
        let key = self.next_key;
        match self.client.submit(tx_id, &request, key) {
            Ok(req_id) => {
                let in_use = self.unanswered.iter().any(|(other, _)| *other == req_id);
                assert!(!in_use && !self.stale.contains(&req_id), "{req_id} is used twice");
                let is_watch = matches!(request, Request::Watch { .. } | Request::Unwatch { .. });
                let tx_id = if is_watch { TxId::NONE } else { tx_id };
                self.next_key += 1;
                self.unanswered.push((req_id, key));
                self.submitted.push_back(Submitted { req_id, tx_id, key, request });
            }
            Err(error) => {
                assert!(matches!(error, SubmitError::Invalid(_)), "{error}");
                let no_transaction =
                    matches!(request, Request::TransactionEnd { .. }) && tx_id.is_none();
                let nul = matches!(request, Request::Unwatch { token: b"a\0b", .. });
                assert!(no_transaction || nul, "{request:?}: {error}");
            }
        }
    }

    fn forget(&mut self) {
        if let Some(at) = self.pick(self.unanswered.len()) {
            let (req_id, key) = self.unanswered[at];
            let expected = self.forgotten.insert(key).then_some(key);
            assert_eq!(self.client.forget(req_id), expected);
        }
        if let Some(at) = self.pick(self.stale.len()) {
            assert_eq!(self.client.forget(self.stale[at]), None);
        }
    }

    fn send(&mut self) {
        let in_flight = self.sent + self.at_server.len() + self.replies_in_transit();
        let one_at_a_time = self.client.limits().one_at_a_time;
        let had_output = self.client.has_output();
        let output = self.client.take_output();
        assert_eq!(had_output, !output.is_empty());
        if !one_at_a_time {
            assert_eq!(self.client.refused(), None);
            assert_eq!(had_output, self.sent < self.submitted.len());
            self.sent = self.submitted.len();
        } else {
            assert_eq!(had_output, in_flight == 0 && !self.submitted.is_empty());
            if !had_output {
                return;
            }
            if (self.choose)(8) == 0 {
                let refused = self.submitted.pop_front().expect("one was sent");
                let key = (!self.forgotten.contains(&refused.key)).then_some(refused.key);
                assert_eq!(self.client.refused(), Some((refused.req_id, key)));
                assert_eq!(self.client.refused(), None);
                self.answered(refused.req_id);
                return;
            }
            self.sent = 1;
        }
        self.to_server.extend(output);
    }

    fn deliver_to_server(&mut self, len: usize) {
        let mut input = &self.to_server.make_contiguous()[..len];
        let mut consumed = 0;
        while !input.is_empty() {
            let received = self.server.receive(input).expect("a valid stream");
            assert!(received.consumed > 0);
            if let Some(incoming) = received.event {
                let Submitted { req_id, tx_id, key, request } =
                    self.submitted.pop_front().expect("it was sent");
                self.sent -= 1;
                let header = incoming.header;
                assert_eq!((header.req_id, header.tx_id), (req_id, tx_id));
                assert_eq!(incoming.request(), Ok(request));
                self.at_server.push((header, key));
            } else {
                assert_eq!(received.consumed, input.len());
            }
            consumed += received.consumed;
            input = &input[received.consumed..];
        }
        self.to_server.drain(..consumed);
    }

    /// Answers one of the requests at the server.
    fn answer(&mut self) {
        let Some(at) = self.pick(self.at_server.len()) else {
            return;
        };
        let (mut header, key) = self.at_server.swap_remove(at);
        let req_id = header.req_id;
        let msg_type = MessageType::from_u32(header.msg_type).expect("a request");
        let reply = reply(msg_type, self.choose);
        if self.client.limits().one_at_a_time
            && matches!(msg_type, MessageType::Watch | MessageType::Unwatch)
        {
            // Older kernels answer these with id 0.
            header.req_id = ReqId(0);
        }
        self.server.reply(header, &reply).expect("it fits");
        let output = self.server.take_output();
        self.expect(&output, Message::Reply { req_id, key, reply });
    }

    fn fire_watch(&mut self) {
        let (path, token) = [("/a/b", b"tok".as_slice()), ("a", b""), ("@releaseDomain", b"\xff")]
            [(self.choose)(3)];
        self.server.watch_event(path, token).expect("it fits");
        let mut output = self.server.take_output();
        // The xenbus device leaves garbage in the ids of watch events.
        for byte in &mut output[4..12] {
            *byte = (self.choose)(256) as u8;
        }
        self.expect(&output, Message::Watch { path, token });
    }

    fn expect(&mut self, bytes: &[u8], message: Message) {
        assert_eq!(self.server.output_len(), 0);
        self.to_client.extend(bytes);
        self.sent_bytes += bytes.len() as u64;
        self.expected.push_back((self.sent_bytes, message));
    }

    fn deliver_to_client(&mut self, len: usize) {
        let bytes: Vec<u8> = self.to_client.drain(..len).collect();
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            let received = self.client.receive(input).expect("a valid stream");
            self.consumed_bytes += received.consumed as u64;
            let consumed = received.consumed;
            let is_complete =
                self.expected.front().is_some_and(|(end, _)| *end == self.consumed_bytes);
            match is_complete.then(|| self.expected.pop_front()).flatten() {
                None => assert_eq!((consumed, received.event), (input.len(), None)),
                Some((end, Message::Watch { path, token })) => {
                    self.complete_bytes = end;
                    assert_eq!(received.event, Some(Event::Watch { path, token }));
                }
                Some((end, Message::Reply { req_id, key, reply })) => {
                    self.complete_bytes = end;
                    let event = Event::Reply { req_id, key, reply };
                    let expected = (!self.forgotten.contains(&key)).then_some(event);
                    assert_eq!(received.event, expected);
                    self.answered(req_id);
                }
            }
            input = &input[consumed..];
        }
    }

    fn answered(&mut self, req_id: ReqId) {
        self.unanswered.retain(|(other, _)| *other != req_id);
        self.stale.push(req_id);
    }

    fn replies_in_transit(&self) -> usize {
        self.expected.iter().filter(|(_, message)| matches!(message, Message::Reply { .. })).count()
    }

    fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| (self.choose)(len))
    }
}

/// Returns a random request. Some cannot be sent.
fn request(choose: &mut Choose<'_>) -> Request<'static> {
    const LONG: &[u8] = &[7; 4000];
    let path = [Path::ROOT, path("/a"), path("name"), path("@releaseDomain")][choose(4)];
    let domid = DomId::new(choose(65536) as u16);
    match choose(26) {
        0 => Request::Control(Strings::from_list(["help"]).expect("no NUL")),
        1 => Request::Directory(path),
        2 => Request::Read(path),
        3 => Request::GetPerms(path),
        4 => Request::Watch { path, token: b"tok", depth: None },
        5 => Request::Watch { path, token: b"", depth: Some(choose(3) as u32) },
        6 => Request::Unwatch { path, token: b"tok" },
        7 => Request::Unwatch { path, token: b"a\0b" },
        8 => Request::TransactionStart,
        9 => Request::TransactionEnd { commit: choose(2) == 0 },
        10 => Request::Introduce { domid, gfn: 1 << 40, evtchn: 3 },
        11 => Request::Release(domid),
        12 => Request::GetDomainPath(domid),
        13 => Request::Write { path, value: &LONG[..choose(LONG.len() + 1)] },
        14 => Request::Mkdir(path),
        15 => Request::Rm(path),
        16 => Request::SetPerms { path, perms: std::borrow::Cow::Owned(permissions()) },
        17 => Request::IsDomainIntroduced(domid),
        18 => Request::Resume(domid),
        19 => Request::SetTarget { domid, target: DomId::DOM0 },
        20 => Request::ResetWatches,
        21 => Request::DirectoryPart { path, offset: choose(100) as u32 },
        22 => Request::GetFeature { domid: None },
        23 => Request::SetFeature { domid, features: Features::WATCH_DEPTH },
        24 => Request::GetQuota { domid: None, quota: None },
        _ => Request::SetQuota { domid: Some(domid), quota: "nodes", value: 9 },
    }
}

/// Returns a random reply to a request of this type.
fn reply(msg_type: MessageType, choose: &mut Choose<'_>) -> Reply<'static> {
    if choose(5) == 0 {
        return Reply::Error(ErrorCode::KNOWN[choose(ErrorCode::KNOWN.len())].clone());
    }
    let children = Strings::from_list(["a", "b"].iter().take(choose(3))).expect("no NUL");
    match msg_type {
        MessageType::Read => Reply::Value(vec![8; choose(4097)].into()),
        MessageType::Directory => Reply::Children(children),
        MessageType::DirectoryPart => Reply::Part { generation: 1, children, last: choose(2) == 0 },
        MessageType::GetPerms => Reply::Permissions(permissions()),
        MessageType::TransactionStart => Reply::Transaction(TxId(1 + choose(9) as u32)),
        MessageType::IsDomainIntroduced => Reply::Boolean(choose(2) == 0),
        MessageType::GetFeature => Reply::Features(Features::from_bits(choose(16) as u32)),
        MessageType::GetDomainPath | MessageType::GetQuota | MessageType::Control => {
            Reply::Text("text".into())
        }
        _ => Reply::Done,
    }
}

fn permissions() -> Permissions {
    Permissions::owned_by(DomId::new(5)).with(DomId::DOM0, Access::Read)
}

fn path(text: &'static str) -> Path<'static> {
    Path::new(text).expect("a valid path")
}
