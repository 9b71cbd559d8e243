//! Sends any bytes from several clients to the in-memory xenstored. It must answer each request once
//! and in order, however the bytes are split, must limit the bytes that wait for a client, and must
//! keep the store consistent.

#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xs_proto::{Decoder, DomId, Header, MessageType, ReqId, ServerConnection, TxId};
use xs_transport::mock::text::{self, Line};
use xs_transport::mock::{Flavour, Pipe, Xenstored};
use xs_transport::{Sent, Transport, Wait};

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    Connect(u8),
    Disconnect(u8),
    /// Any bytes.
    Send {
        client: u8,
        bytes: &'a [u8],
    },
    /// A message whose type is `number`.
    Request {
        client: u8,
        number: u8,
        req_id: u8,
        tx_id: u8,
        fields: Vec<Field<'a>>,
        open_end: bool,
    },
    Receive {
        client: u8,
        bytes: u16,
    },
    Introduce(u8),
    Release(u8),
    ShutDown(u8),
}

/// A part of a payload.
#[derive(Arbitrary, Debug)]
enum Field<'a> {
    Path(u8),
    Below(u8, u8),
    Bytes(&'a [u8]),
    Number(u16),
    Permission(u8, u8),
    Yes,
    No,
    Long(u16),
    Word(u8),
}

const PATHS: [&str; 14] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/d",
    "b",
    "data",
    "/local/domain/5",
    "/local/domain/5/data",
    "/local/domain/7",
    "/tool/xenstored",
    "@releaseDomain",
    "@introduceDomain",
    "@releaseDomain/5",
];

const WORDS: [&str; 10] = [
    "nodes",
    "watches",
    "transactions",
    "node-size",
    "node-permissions",
    "check",
    "help",
    "log",
    "on",
    "print",
];

const DOMAINS: [DomId; 4] = [DomId::DOM0, DomId::new(5), DomId::new(7), DomId::new(9)];

fuzz_target!(|input: (u8, Vec<u8>, Vec<Call<'_>>)| {
    let (flavour, pieces, calls) = input;
    let flavour = Flavour::ALL[usize::from(flavour) % Flavour::ALL.len()];
    let whole = run(flavour, &calls, &[]);
    let split = run(flavour, &calls, &pieces);
    assert_eq!(whole.dump, split.dump);
    for (whole, split) in whole.received.iter().zip(&split.received) {
        // A client that broke the protocol may not have received every reply.
        let len = whole.0.len().min(split.0.len());
        assert_eq!(whole.0[..len], split.0[..len]);
        assert!(whole.1 || whole.0.len() == split.0.len());
    }
});

struct Outcome {
    dump: String,
    /// The bytes that each client received, and whether its connection was closed.
    received: Vec<(Vec<u8>, bool)>,
}

fn run(flavour: Flavour, calls: &[Call<'_>], pieces: &[u8]) -> Outcome {
    let xenstored = Xenstored::with_flavour(flavour);
    let homes = "/local/domain/5 [n5]\n/local/domain/7 [r7]\n/local/domain/7/data [n7 b5]";
    xenstored.seed(homes).expect("the text form is valid");
    let mut clients: Vec<Client> = Vec::new();
    for call in calls {
        let count = clients.len().max(1);
        let client = |which: &u8| usize::from(*which) % count;
        match call {
            Call::Connect(which) if clients.len() < 8 => {
                clients.push(Client::new(&xenstored, domain(*which), flavour));
            }
            Call::Connect(_) => {}
            Call::Disconnect(which) => {
                if let Some(client) = clients.get_mut(client(which)) {
                    client.disconnect();
                }
            }
            Call::Send { client: which, bytes } => {
                if let Some(client) = clients.get_mut(client(which)) {
                    client.send(bytes, pieces);
                }
            }
            Call::Request { client: which, number, req_id, tx_id, fields, open_end } => {
                if let Some(client) = clients.get_mut(client(which)) {
                    let msg_type = if *number < 255 { u32::from(number % 40) } else { 0xffff };
                    let (req_id, tx_id) = (ReqId(u32::from(*req_id)), TxId(u32::from(*tx_id % 8)));
                    let payload = payload(fields, *open_end);
                    let len = payload.len() as u32;
                    let header = Header { msg_type, req_id, tx_id, len };
                    client.send(&[&header.encode()[..], &payload].concat(), pieces);
                }
            }
            Call::Receive { client: which, bytes } => {
                if let Some(client) = clients.get_mut(client(which)) {
                    client.receive(usize::from(*bytes) + 1);
                }
            }
            Call::Introduce(which) => drop(xenstored.introduce(domain(*which))),
            Call::Release(which) => drop(xenstored.release(domain(*which))),
            Call::ShutDown(which) => xenstored.shut_down(domain(*which)),
        }
    }
    let mut received = Vec::new();
    for mut client in clients {
        client.end();
        received.push((client.received, client.closed));
    }
    for domid in DOMAINS {
        assert!(xenstored.connections(domid).is_empty() && xenstored.watches(domid).is_empty());
    }
    check_store(&xenstored, flavour);
    Outcome { dump: xenstored.dump(), received }
}

fn domain(which: u8) -> DomId {
    DOMAINS[usize::from(which) % DOMAINS.len()]
}

fn payload(fields: &[Field<'_>], open_end: bool) -> Vec<u8> {
    let path = |which: &u8| PATHS[usize::from(*which) % PATHS.len()];
    let mut payload = Vec::new();
    for field in fields {
        match field {
            Field::Path(which) => payload.extend(path(which).bytes()),
            Field::Below(which, name) => {
                payload.extend(format!("{}/n{}", path(which), name % 16).bytes());
            }
            Field::Bytes(bytes) => payload.extend_from_slice(bytes),
            Field::Number(number) => payload.extend(number.to_string().bytes()),
            Field::Permission(letter, domid) => {
                let letter = b"nrwb"[usize::from(letter % 4)] as char;
                payload.extend(format!("{letter}{}", domain(*domid)).bytes());
            }
            Field::Word(which) => {
                payload.extend(WORDS[usize::from(*which) % WORDS.len()].bytes());
            }
            Field::Yes => payload.push(b'T'),
            Field::No => payload.push(b'F'),
            Field::Long(len) => payload.extend(std::iter::repeat_n(b'x', usize::from(len % 4100))),
        }
        payload.push(0);
    }
    if open_end {
        payload.pop();
    }
    payload
}

struct Client {
    pipe: Pipe,
    ocaml: bool,
    /// Decodes the bytes that were sent.
    requests: ServerConnection,
    /// Decodes the bytes that were received.
    replies: Decoder,
    /// Requests without a reply.
    unanswered: VecDeque<Header>,
    received: Vec<u8>,
    closed: bool,
}

impl Client {
    fn new(xenstored: &Xenstored, domid: DomId, flavour: Flavour) -> Self {
        let ocaml = is_ocaml(flavour);
        let requests = ServerConnection::new();
        Client {
            pipe: xenstored.connect(domid),
            ocaml,
            requests: if ocaml { requests.with_cut_payloads() } else { requests },
            replies: Decoder::for_client(),
            unanswered: VecDeque::new(),
            received: Vec::new(),
            closed: false,
        }
    }

    fn send(&mut self, mut bytes: &[u8], pieces: &[u8]) {
        let sizes: Vec<_> = pieces.iter().map(|size| usize::from(*size) + 1).collect();
        let mut sizes = sizes.iter().copied().cycle();
        while !bytes.is_empty() {
            let piece = &bytes[..sizes.next().unwrap_or(bytes.len()).min(bytes.len())];
            match self.pipe.send(piece) {
                Ok(Sent::Bytes(n)) => {
                    assert!(!self.closed && (1..=piece.len()).contains(&n));
                    let is_valid = self.record(&piece[..n]);
                    assert!(is_valid, "an invalid message was accepted");
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // There is room again after the client has received the waiting replies.
                    assert!(self.receive(usize::MAX) > 0);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    self.record(piece);
                    self.closed = true;
                    return;
                }
                Ok(sent) => panic!("{sent:?}"),
            }
        }
    }

    /// Records the requests in bytes that were sent. Returns whether they are valid.
    fn record(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Ok(received) = self.requests.receive(bytes) else { return false };
            bytes = &bytes[received.consumed..];
            self.unanswered.extend(received.event.map(|incoming| incoming.header));
        }
        true
    }

    /// Receives up to `most` bytes, and returns their number.
    fn receive(&mut self, most: usize) -> usize {
        let mut buf = vec![0; most.min(4096)];
        let mut total = 0;
        while total < most {
            let room = buf.len().min(most - total);
            match self.pipe.recv(&mut buf[..room], Wait::No) {
                Ok(0) => {
                    self.closed = true;
                    break;
                }
                Ok(n) => {
                    self.take(&buf[..n]);
                    total += n;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        assert!(total <= Pipe::EVENTS_MAX + (1 << 20), "{total} bytes were waiting");
        total
    }

    /// Checks received bytes.
    fn take(&mut self, mut bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        while !bytes.is_empty() {
            let decoded = self.replies.decode(bytes).expect("the daemon sends valid messages");
            bytes = &bytes[decoded.consumed..];
            let Some(header) = decoded.frame.map(|frame| frame.header) else { continue };
            if header.msg_type == MessageType::WatchEvent as u32 {
                assert_eq!((header.req_id, header.tx_id), (ReqId(0), TxId::NONE));
                continue;
            }
            let request = self.unanswered.pop_front().expect("a reply without a request");
            let watch = [MessageType::Watch as u32, MessageType::Unwatch as u32];
            let same_tx = header.tx_id == request.tx_id
                || (self.ocaml && watch.contains(&request.msg_type) && header.tx_id.is_none());
            let same_type =
                [request.msg_type, MessageType::Error as u32].contains(&header.msg_type);
            assert!(
                header.req_id == request.req_id && same_tx && same_type,
                "{request:?}: {header:?}"
            );
        }
    }

    fn disconnect(&mut self) {
        self.pipe.close();
        self.closed = true;
    }

    /// Receives the remaining bytes and disconnects.
    fn end(&mut self) {
        self.receive(usize::MAX);
        assert!(
            self.closed || self.unanswered.is_empty(),
            "requests without a reply: {:?}",
            self.unanswered
        );
        self.disconnect();
        assert_eq!(self.receive(1), 0);
    }
}

/// Checks that parents and children agree, that the text form describes the whole store, and that each
/// domain's count of nodes is right.
fn check_store(xenstored: &Xenstored, flavour: Flavour) {
    let dump = xenstored.dump();
    let nodes: BTreeMap<String, Line> = text::lines(&dump)
        .map(|line| line.unwrap_or_else(|error| panic!("{flavour}: {error}:\n{dump}")).1)
        .map(|line| (line.path.clone(), line))
        .collect();
    // Other flavours can hold nodes that the text form leaves out.
    assert!(nodes.len() == xenstored.node_count() || flavour != Flavour::C417, "{dump}");
    for (path, line) in &nodes {
        assert_eq!(xenstored.perms(path), line.perms);
        if path.starts_with('@') {
            continue;
        }
        assert_eq!(xenstored.get(path), Some(line.value.clone().unwrap_or_default()));
        if path == "/" {
            continue;
        }
        let (parent, name) = path.rsplit_once('/').expect("the path is absolute");
        let parent = if parent.is_empty() { "/" } else { parent };
        let children = xenstored.children(parent).expect("the parent exists");
        assert_eq!(children.iter().filter(|child| *child == name).count(), 1, "{path}");
    }

    if flavour == Flavour::C422 {
        for domid in &DOMAINS[1..] {
            let owned = nodes.values().filter(|line| owner(line) == Some(*domid)).count();
            check_count(xenstored, *domid, owned);
        }
        assert!(xenstored.remove("/probe-of-the-fuzzer"));
        assert_eq!(xenstored.dump(), dump);
    }

    let copy = Xenstored::with_flavour(flavour);
    copy.remove("/tool");
    // oxenstored lets dom0 remove the nodes of special watches.
    for special in ["@introduceDomain", "@releaseDomain"] {
        if !nodes.contains_key(special) {
            assert!(request(&copy.connect(DomId::DOM0), MessageType::Rm, &[special.to_owned()]));
        }
    }
    copy.seed(&dump).unwrap_or_else(|error| panic!("{flavour}: {error}:\n{dump}"));
    assert_eq!(copy.dump(), dump);
}

/// Checks that a domain can create exactly one node if its quota is two more than it owns: since Xen
/// 4.22, a domain owns fewer nodes than its quota says.
fn check_count(xenstored: &Xenstored, domid: DomId, owned: usize) {
    xenstored.seed("/probe-of-the-fuzzer [b0]").expect("the text form is valid");
    let (dom0, guest) = (xenstored.connect(DomId::DOM0), xenstored.connect(domid));
    for (name, value) in [("nodes", owned + 2), ("node-size", 1 << 30), ("path-max", 99)] {
        let words = [domid.to_string(), name.to_owned(), value.to_string()];
        assert!(request(&dom0, MessageType::SetQuota, &words));
    }
    let write = |name| {
        request(&guest, MessageType::Mkdir, &[format!("/probe-of-the-fuzzer/{domid}-{name}")])
    };
    assert_eq!([write(1), write(2)], [true, false], "domain {domid} owns {owned} nodes");
    assert!(request(&guest, MessageType::Rm, &[format!("/probe-of-the-fuzzer/{domid}-1")]));
}

/// Makes one request. Returns whether it succeeded.
fn request(pipe: &Pipe, msg_type: MessageType, words: &[String]) -> bool {
    let payload: Vec<u8> =
        words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    let (req_id, len) = (ReqId(1), payload.len() as u32);
    let header = Header { msg_type: msg_type as u32, req_id, tx_id: TxId::NONE, len };
    pipe.send(&[&header.encode()[..], &payload].concat()).expect("the connection is open");
    let mut reply = [0; 4096];
    let n = pipe.recv(&mut reply, Wait::No).expect("the request is answered");
    reply[..n].ends_with(b"OK\0")
}

fn is_ocaml(flavour: Flavour) -> bool {
    matches!(flavour, Flavour::Ocaml417 | Flavour::Ocaml420 | Flavour::Ocaml422)
}

fn owner(line: &Line) -> Option<DomId> {
    line.perms.as_ref().map(|perms| perms.owner().domid)
}
