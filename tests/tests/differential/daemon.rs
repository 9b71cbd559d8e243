//! The two daemons that are compared. Each has four connections and receives one request at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use xs_proto::{DomId, Header, MessageType as Ty, ReqId, TxId};
use xs_tests::peer::message;
use xs_tests::{HANG_TIMEOUT, settings};
use xs_transport::mock::{Flavour, Pipe, Xenstored};
use xs_transport::{Transport, Wait};

use crate::ops::{CONNECTIONS, DIES, Op, SHUTS_DOWN, SLOTS, TRANSIENT, Tx};

/// A message from a daemon, without the parts that always differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Event(Vec<u8>),
    Error(Vec<u8>),
    Reply(Vec<u8>),
    /// The reply to TRANSACTION_START, whose id differs.
    Transaction,
    Closed,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Event(payload) => write!(f, "event {}", payload.escape_ascii()),
            Answer::Error(payload) => write!(f, "{}", payload.escape_ascii()),
            Answer::Reply(payload) => write!(f, "reply {}", payload.escape_ascii()),
            Answer::Transaction => f.write_str("a transaction"),
            Answer::Closed => f.write_str("closed"),
        }
    }
}

/// The id of the request under test.
const OP: ReqId = ReqId(1);

/// The id of the request whose reply ends the answers to the one under test.
const BARRIER: ReqId = ReqId(0xba);

/// Notifications that can precede ours: more than a datagram socket queues
/// (`net.unix.max_dgram_qlen`: 512).
const NOTIFICATIONS: usize = 600;

/// A daemon with four connections.
pub(crate) trait Daemon {
    /// Sends bytes on a connection.
    fn send(&mut self, conn: usize, bytes: &[u8]);

    /// Receives the next message; `None` if the connection is closed.
    fn receive(&mut self, conn: usize) -> Option<(Header, Vec<u8>)>;

    /// The ids of open transactions, by connection.
    fn slots(&mut self) -> &mut [[u32; SLOTS]; 4];

    /// Lets a domain without a connection die or shut down. The daemon handles this before requests
    /// that are sent later.
    fn notify(&mut self, what: u32, domid: u16);

    /// Cleans up after the daemon has handled the notification.
    fn notified(&mut self) {}

    /// Sends one request, and returns the messages that it causes on each connection.
    fn perform(&mut self, op: &Op) -> [Vec<Answer>; 4] {
        if [DIES, SHUTS_DOWN].contains(&op.ty) {
            self.notify(op.ty, TRANSIENT);
            let events = self.await_notification();
            let payload = b"0\0".into();
            let mut answers =
                self.perform(&Op { ty: Ty::GetDomainPath as u32, payload, ..op.clone() });
            answers[0].splice(..0, events);
            self.notified();
            return answers;
        }
        let tx = match op.tx {
            Tx::None => 0,
            Tx::Slot(slot) => self.slots()[op.conn][slot],
            Tx::Bogus => 4_000_000,
        };
        let mut bytes = message(op.ty, OP, TxId(tx), &op.payload);
        // On each connection, the reply to a request without effect ends the answers.
        let barrier = message(Ty::GetDomainPath as u32, BARRIER, TxId::NONE, b"0\0");
        bytes.extend_from_slice(&barrier);
        self.send(op.conn, &bytes);
        let mut answers: [Vec<Answer>; 4] = Default::default();
        self.collect(op.conn, op, tx, &mut answers[op.conn]);
        // The other connections send theirs after the daemon has handled the request.
        for conn in (0..CONNECTIONS.len()).filter(|conn| *conn != op.conn) {
            self.send(conn, &barrier);
        }
        for conn in (0..CONNECTIONS.len()).filter(|conn| *conn != op.conn) {
            self.collect(conn, op, tx, &mut answers[conn]);
        }
        answers
    }

    /// Collects the answers on one connection, up to the barrier's.
    fn collect(&mut self, conn: usize, op: &Op, tx: u32, answers: &mut Vec<Answer>) {
        loop {
            let Some((header, payload)) = self.receive(conn) else {
                answers.push(Answer::Closed);
                return;
            };
            let ty = Ty::from_u32(header.msg_type);
            if ty == Some(Ty::WatchEvent) {
                answers.push(Answer::Event(payload));
                continue;
            }
            if header.req_id == BARRIER {
                return;
            }
            assert_eq!(header.req_id, OP, "after {op}");
            // oxenstored answers WATCH and UNWATCH outside of the transaction.
            let is_outside = [Ty::Watch as u32, Ty::Unwatch as u32].contains(&op.ty);
            let echo = if is_outside && header.tx_id.is_none() { 0 } else { tx };
            assert_eq!(header.tx_id, TxId(echo), "after {op}");
            answers.push(match ty {
                Some(Ty::Error) => Answer::Error(payload),
                _ => {
                    assert_eq!(header.msg_type, op.ty, "after {op}");
                    match ty {
                        Some(Ty::TransactionStart) => {
                            let id = String::from_utf8_lossy(&payload[..payload.len() - 1]);
                            self.slots()[conn][op.into] = id.parse().expect("the reply is an id");
                            Answer::Transaction
                        }
                        // The generation, which comes first, differs.
                        Some(Ty::DirectoryPart) => {
                            let end = payload.iter().position(|byte| *byte == 0);
                            let end = end.expect("the generation ends with NUL");
                            Answer::Reply(payload[end + 1..].to_vec())
                        }
                        _ => Answer::Reply(payload),
                    }
                }
            });
        }
    }

    /// Returns the resources that domains use, as CONTROL reports them: all numbers in the replies.
    fn usage(&mut self) -> Vec<i64> {
        for conn in 0..CONNECTIONS.len() {
            self.call(conn, Ty::ResetWatches, b"\0").expect("RESET_WATCHES succeeds");
        }
        let ask = |domid| {
            let answer = self.call(0, Ty::Control, format!("quota\0{domid}\0").as_bytes());
            let text =
                String::from_utf8_lossy(&answer.expect("CONTROL reports quotas")).into_owned();
            // The highest counts depend on earlier requests.
            let lines = text.lines().map(|line| line.split(" (max").next().unwrap_or(line));
            let text = lines.collect::<Vec<_>>().join("\n");
            let numbers: Vec<_> =
                text.split(|c: char| !c.is_ascii_digit()).map(str::parse).collect();
            numbers.into_iter().flatten()
        };
        [0, 5, 7].into_iter().flat_map(ask).collect()
    }

    /// Waits until the daemon has handled a notification, and returns the events on the first
    /// connection. Before each request of a connection, the daemon handles one notification; those
    /// of guests may precede ours.
    fn await_notification(&mut self) -> Vec<Answer> {
        let barrier = message(Ty::GetDomainPath as u32, BARRIER, TxId::NONE, b"0\0");
        let mut events = Vec::new();
        for _ in 0..NOTIFICATIONS / 100 {
            self.send(0, &barrier.repeat(100));
            let mut left = 100;
            while left > 0 {
                let (header, payload) = self.receive(0).expect("the connection is open");
                if header.req_id == BARRIER {
                    left -= 1;
                } else {
                    events.push(Answer::Event(payload));
                }
            }
        }
        events
    }

    /// Sends a request outside of transactions, and returns the payload of the reply; `None` for an
    /// error. Events are dropped.
    fn call(&mut self, conn: usize, ty: Ty, payload: &[u8]) -> Option<Vec<u8>> {
        self.send(conn, &message(ty as u32, OP, TxId::NONE, payload));
        loop {
            let (header, payload) = self.receive(conn).expect("the connection is open");
            if header.msg_type != Ty::WatchEvent as u32 {
                return (header.msg_type != Ty::Error as u32).then_some(payload);
            }
        }
    }
}

/// The default quotas, by the names that CONTROL uses.
const QUOTAS: [(&str, u32); 10] = [
    ("nodes", 1000),
    ("watches", 128),
    ("transactions", 10),
    ("transaction-nodes", 1024),
    ("permissions", 5),
    ("node-permissions", 5),
    ("path-max", 2048),
    ("node-size", 2048),
    ("outstanding", 20),
    ("memory", 2_621_440),
];

/// A genuine daemon.
pub(crate) struct Genuine {
    streams: Vec<UnixStream>,
    /// The directory in which the simulated hypervisor keeps the states of domains.
    domains: PathBuf,
    /// The special watches are nodes below the root, as in oxenstored.
    has_special_nodes: bool,
    slots: [[u32; SLOTS]; 4],
    /// How often each outcome occurred.
    pub(crate) outcomes: BTreeMap<String, usize>,
}

impl Genuine {
    /// Connects to the daemon that the environment names, if it does.
    pub(crate) fn from_env(prefix: &str) -> Option<Self> {
        let path = |name: &str| settings::path(&format!("XS_TEST_{prefix}_{name}"));
        let (dom0, dom5, dom7) = (path("SOCKET")?, path("GUEST5")?, path("GUEST7")?);
        let connect = |path: &PathBuf| {
            let stream = UnixStream::connect(path);
            let stream = stream.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            stream.set_read_timeout(Some(HANG_TIMEOUT)).expect("the timeout is not zero");
            stream
        };
        let streams = [&dom0, &dom0, &dom5, &dom7].map(connect).into();
        let domains = dom0.with_file_name("shim");
        let ring = domains.join(format!("{TRANSIENT}.ring"));
        // The file is never truncated, since the daemon may still use it.
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&ring);
        let sized = file.and_then(|file| file.set_len(4096));
        sized.unwrap_or_else(|e| panic!("{}: {e}", ring.display()));
        let has_special_nodes = prefix.starts_with("OX");
        let (slots, outcomes) = Default::default();
        Some(Genuine { streams, domains, has_special_nodes, slots, outcomes })
    }

    /// Counts the outcomes of a request, to show what was tested.
    pub(crate) fn count(&mut self, op: &Op, answers: &[Vec<Answer>; 4]) {
        let ty = Ty::from_u32(op.ty).map_or("unknown type".to_owned(), |ty| ty.to_string());
        for (conn, answer) in
            answers.iter().enumerate().flat_map(|(conn, list)| list.iter().map(move |a| (conn, a)))
        {
            let outcome = match answer {
                Answer::Event(_) if conn == op.conn => format!("{ty}: own event"),
                Answer::Event(_) => format!("{ty}: event for others"),
                Answer::Error(code) => {
                    format!("{ty}: {}", String::from_utf8_lossy(code).trim_end_matches('\0'))
                }
                Answer::Reply(_) | Answer::Transaction => format!("{ty}: done"),
                Answer::Closed => "closed".to_owned(),
            };
            self.note(&outcome);
        }
    }

    pub(crate) fn note(&mut self, outcome: &str) {
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    /// Undoes the effects of earlier requests.
    pub(crate) fn clean(&mut self) {
        for conn in 0..CONNECTIONS.len() {
            self.call(conn, Ty::ResetWatches, b"\0").expect("RESET_WATCHES succeeds");
        }
        self.slots = [[3_000_000; SLOTS]; 4];
        self.notify(DIES, TRANSIENT);
        self.await_notification();
        self.notified();
        let has_special_nodes = self.has_special_nodes;
        let mut dom0 = |ty, payload: &str| {
            let payload = payload.replace('|', "\0");
            self.call(0, ty, payload.as_bytes())
        };
        for (name, value) in QUOTAS {
            dom0(Ty::Control, &format!("quota|set|{name}|{value}|"));
        }
        dom0(Ty::Control, "quota-soft|set|memory|2097152|");
        for switch in ["+obj", "+io", "-wrl", "-acc", "-tdb"] {
            dom0(Ty::Control, &format!("log|{switch}|"));
        }
        // A domain that targets itself has no additional rights.
        for domid in [5, 7] {
            dom0(Ty::SetTarget, &format!("{domid}|{domid}|")).expect("the guests are introduced");
        }
        // Malformed payloads may have created nodes anywhere.
        for (parent, stays) in [
            ("/", &["tool", "local"][..]),
            ("/tool", &["xenstored"]),
            ("/tool/xenstored", &[]),
            ("/local", &["domain"]),
            ("/local/domain", &["5", "7"]),
        ] {
            let names = dom0(Ty::Directory, &format!("{parent}|")).unwrap_or_default();
            let names = String::from_utf8_lossy(&names);
            for name in names.split_terminator('\0').filter(|name| !stays.contains(name)) {
                dom0(Ty::Rm, &format!("{}/{name}|", parent.trim_end_matches('/')));
            }
        }
        if has_special_nodes {
            dom0(Ty::Mkdir, "/@introduceDomain|").expect("the node can be created");
            dom0(Ty::Mkdir, "/@releaseDomain|").expect("the node can be created");
        }
        for path in ["/", "@introduceDomain", "@releaseDomain", "/tool", "/local", "/local/domain"]
        {
            dom0(Ty::SetPerms, &format!("{path}|n0|"));
        }
        for path in ["/tool", "/local", "/local/domain", "/"] {
            dom0(Ty::Write, &format!("{path}|"));
        }
        dom0(Ty::Mkdir, "/t|").expect("the node can be created");
        dom0(Ty::SetPerms, "/t|b0|").expect("the permissions can be set");
        for domid in [5, 7] {
            let home = format!("/local/domain/{domid}");
            dom0(Ty::Rm, &format!("{home}|"));
            dom0(Ty::Mkdir, &format!("{home}|"));
            dom0(Ty::SetPerms, &format!("{home}|n0|r{domid}|"));
            for name in ["data", "device"] {
                dom0(Ty::Mkdir, &format!("{home}/{name}|"));
                dom0(Ty::SetPerms, &format!("{home}/{name}|n{domid}|"));
            }
        }
    }
}

impl Daemon for Genuine {
    fn send(&mut self, conn: usize, bytes: &[u8]) {
        // A closed connection is noticed when it is read.
        let _ = self.streams[conn].write_all(bytes);
    }

    fn receive(&mut self, conn: usize) -> Option<(Header, Vec<u8>)> {
        let stream = &mut self.streams[conn];
        let mut header = [0; Header::LEN];
        read_all(stream, &mut header)?;
        let header = Header::decode(&header);
        let mut payload = vec![0; header.len as usize];
        read_all(stream, &mut payload)?;
        Some((header, payload))
    }

    fn slots(&mut self) -> &mut [[u32; SLOTS]; 4] {
        &mut self.slots
    }

    fn notify(&mut self, what: u32, domid: u16) {
        let name = if what == DIES { "dead" } else { "shutdown" };
        let marker = self.domains.join(format!("{domid}.{name}"));
        std::fs::write(&marker, "").expect("the marker is writable");
        // VIRQ_DOM_EXC, raised for every domain.
        let event = [u32::from(domid).to_ne_bytes(), u32::MAX.to_ne_bytes()].concat();
        let hypervisor = UnixDatagram::unbound().expect("descriptors are available");
        hypervisor
            .send_to(&event, self.domains.join("evtchn"))
            .expect("the daemon receives events");
    }

    fn notified(&mut self) {
        // The domain id may be used again.
        for name in ["dead", "shutdown"] {
            let _ = std::fs::remove_file(self.domains.join(format!("{TRANSIENT}.{name}")));
        }
    }
}

fn read_all(stream: &mut UnixStream, buf: &mut [u8]) -> Option<()> {
    match stream.read_exact(buf) {
        Ok(()) => Some(()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("the daemon does not answer")
        }
        Err(_) => None,
    }
}

/// The in-memory xenstored.
pub(crate) struct Memory {
    xenstored: Xenstored,
    pipes: Vec<Pipe>,
    slots: [[u32; SLOTS]; 4],
}

impl Memory {
    /// Creates a xenstored with the nodes of a genuine one.
    pub(crate) fn new(flavour: Flavour, tree: &Tree) -> Self {
        let xenstored = Xenstored::with_flavour(flavour);
        let domids = [0, 0, 5, 7].map(DomId::new);
        let pipes = domids.iter().map(|domid| xenstored.connect(*domid)).collect();
        xenstored.remove("/tool");
        xenstored.seed(&tree.to_text()).expect("the text form is valid");
        Memory { xenstored, pipes, slots: [[3_000_000; SLOTS]; 4] }
    }
}

impl Daemon for Memory {
    fn send(&mut self, conn: usize, bytes: &[u8]) {
        let _ = self.pipes[conn].send(bytes);
    }

    fn receive(&mut self, conn: usize) -> Option<(Header, Vec<u8>)> {
        let pipe = &self.pipes[conn];
        let mut header = [0; Header::LEN];
        receive_all(pipe, &mut header)?;
        let header = Header::decode(&header);
        let mut payload = vec![0; header.len as usize];
        receive_all(pipe, &mut payload)?;
        Some((header, payload))
    }

    fn slots(&mut self) -> &mut [[u32; SLOTS]; 4] {
        &mut self.slots
    }

    fn notify(&mut self, what: u32, domid: u16) {
        match what {
            DIES => self.xenstored.destroy(DomId::new(domid)),
            _ => self.xenstored.shut_down(DomId::new(domid)),
        }
    }

    fn notified(&mut self) {
        self.xenstored.create(DomId::new(TRANSIENT));
    }
}

fn receive_all(pipe: &Pipe, mut buf: &mut [u8]) -> Option<()> {
    while !buf.is_empty() {
        let n = pipe.recv(buf, Wait::Until(Some(Instant::now()))).expect("the connection is open");
        if n == 0 {
            return None;
        }
        buf = &mut buf[n..];
    }
    Some(())
}

/// All nodes as dom0 reads them: permissions, value and the names of the children.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, Vec<Vec<u8>>>);

impl Tree {
    pub(crate) fn of(daemon: &mut impl Daemon) -> Self {
        let mut nodes = BTreeMap::new();
        let mut at = vec!["/".to_owned()];
        while let Some(path) = at.pop() {
            let argument = [path.as_bytes(), b"\0"].concat();
            let parts: Vec<_> = [Ty::GetPerms, Ty::Read, Ty::Directory]
                .map(|ty| daemon.call(0, ty, &argument).unwrap_or_else(|| b"?".to_vec()))
                .into();
            let prefix = if path == "/" { "" } else { &*path };
            for name in parts[2].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                at.push(format!("{prefix}/{}", String::from_utf8_lossy(name)));
            }
            nodes.insert(path, parts);
        }
        Tree(nodes)
    }

    /// Returns the text form for [`Xenstored::seed`], with children in the order of their parent's
    /// list.
    fn to_text(&self) -> String {
        let mut text = String::new();
        let mut at = vec!["/".to_owned()];
        while let Some(path) = at.pop() {
            let [perms, value, children] = &self.0[&path][..] else {
                unreachable!("there are three parts")
            };
            let perms = String::from_utf8_lossy(perms).replace('\0', " ");
            text += &format!("{path} [{}] = \"{}\"\n", perms.trim(), value.escape_ascii());
            let prefix = if path == "/" { "" } else { &*path };
            let names = children.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
            at.extend(names.iter().rev().map(|name| format!("{prefix}/{name}")));
        }
        text
    }

    /// Describes the nodes that differ.
    pub(crate) fn against(&self, other: &Tree) -> String {
        let mut text = String::new();
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        for path in paths {
            let (theirs, ours) = (self.0.get(path), other.0.get(path));
            if theirs != ours {
                let show = |parts: Option<&Vec<Vec<u8>>>| match parts {
                    None => "nothing".to_owned(),
                    Some(parts) => {
                        let parts: Vec<_> =
                            parts.iter().map(|part| part.escape_ascii().to_string()).collect();
                        parts.join(" · ")
                    }
                };
                text += &format!("  {path}: genuine {}, memory {}\n", show(theirs), show(ours));
            }
        }
        text
    }
}
