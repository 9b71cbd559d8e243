//! Performs the steps of a scenario, and writes down the answers in the form of the transcripts.

use std::collections::{BTreeMap, HashMap};

use xs_proto::{DomId, Header, MessageType as Ty, ReqId, TxId};
use xs_tests::peer::message;
use xs_transport::{Sent, Transport};

use crate::daemon::Daemon;
use crate::transcript::{Action, Scenario, Step, decode, encode, name_of};

/// The id of a request without effect, whose reply shows that all earlier messages have arrived.
const PING: ReqId = ReqId(0xffff_fff0);

/// Names of transactions that never were have ids from here on.
const NO_TRANSACTION: u32 = 4_000_000_000;

/// The nodes that a guest owns at the beginning.
const OWNED: [&str; 7] = ["data", "device", "drivers", "feature", "attr", "error", "control"];

/// A difference between the answers of a daemon and a transcript.
pub(crate) struct Difference {
    /// The index of the step.
    pub(crate) step: usize,
    pub(crate) actual: Vec<String>,
    /// The index of the first line that differs.
    pub(crate) at: usize,
}

/// One run of a scenario.
pub(crate) struct Player<'a> {
    daemon: &'a Daemon,
    connections: BTreeMap<String, Connection>,
    serial: u32,
    starts: u32,
    /// The ids of transactions, by the names in the transcript.
    transactions: HashMap<String, u32>,
    /// The names of generations, by the path and the number.
    generations: HashMap<(Vec<u8>, Vec<u8>), String>,
    /// Idle, as when the transcripts were recorded.
    _spare: Box<dyn Transport>,
}

struct Connection {
    transport: Box<dyn Transport>,
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    /// The daemon did not answer, and is not asked any more.
    Silent,
    /// The domain has been released.
    Detached,
}

/// A message that was waited for did not come.
enum Missing {
    Closed,
    Silent,
}

impl<'a> Player<'a> {
    /// Brings a fresh daemon into the state in which each scenario begins.
    pub(crate) fn start(daemon: &'a Daemon) -> Self {
        let spare = daemon.connect(DomId::DOM0);
        let mut player = Player {
            daemon,
            connections: BTreeMap::new(),
            serial: 0,
            starts: 0,
            transactions: HashMap::new(),
            generations: HashMap::new(),
            _spare: spare,
        };
        for name in ["dom0", "dom5", "dom7"] {
            player.connect(name);
        }
        let mut dom0 = Connection::new(daemon.connect(DomId::DOM0));
        for (ty, payload) in first_requests() {
            dom0.send(&message(ty as u32, ReqId(1), TxId::NONE, payload.as_bytes()));
            // An error is fine: a fresh daemon need not have the nodes that are removed.
            assert!(dom0.receive(daemon).is_ok(), "the daemon answers");
        }
        player.settle(None);
        player
    }

    /// Returns the first difference.
    pub(crate) fn replay(&mut self, scenario: &Scenario) -> Option<Difference> {
        for (at, step) in scenario.steps.iter().enumerate() {
            let actual = self.perform(step);
            if let Some(line) = crate::first_difference(&step.expected, &actual) {
                return Some(Difference { step: at, actual, at: line });
            }
        }
        None
    }

    fn perform(&mut self, step: &Step) -> Vec<String> {
        match step.action() {
            Action::Request { connection, msg_type, tx, payload } => {
                self.connect(connection);
                match self.connections[connection].state {
                    State::Silent => vec![format!("{connection} < SILENT")],
                    State::Closed | State::Detached => vec![format!("{connection} < CLOSED")],
                    State::Open => {
                        let mut lines = self.request(connection, msg_type, tx, &decode(payload));
                        lines.extend(self.settle(Some(connection)));
                        lines
                    }
                }
            }
            Action::Host { verb: "close", object } => {
                let domid = domid_of(object);
                let before = self.daemon.xenstored().connections(domid).len();
                self.connections.remove(object);
                self.daemon.await_close(domid, before - 1);
                self.settle(None)
            }
            Action::Host { verb, object } => {
                let domid = DomId::new(object.parse().expect("a number follows the verb"));
                self.daemon.host(verb, domid);
                if verb == "die" {
                    self.connections.retain(|name, _| domid_of(name) != domid);
                }
                self.settle(None)
            }
        }
    }

    fn connect(&mut self, name: &str) {
        if !self.connections.contains_key(name) {
            let connection = Connection::new(self.daemon.connect(domid_of(name)));
            self.connections.insert(name.to_owned(), connection);
            self.ping(name);
        }
    }

    /// Sends a request and returns what came up to its reply.
    fn request(&mut self, name: &str, msg_type: u32, tx: &str, payload: &[u8]) -> Vec<String> {
        let tx_id = match tx.strip_prefix('t') {
            Some(number) => {
                let never = NO_TRANSACTION + number.parse::<u32>().expect("a number follows the t");
                self.transactions.get(tx).copied().unwrap_or(never)
            }
            None => tx.parse().expect("a transaction is a number or a name"),
        };
        self.serial += 1;
        if msg_type == Ty::TransactionStart as u32 {
            self.starts += 1;
        }
        let req_id = ReqId(self.serial);
        let request = Header { msg_type, req_id, tx_id: TxId(tx_id), len: payload.len() as u32 };
        let connection = self.connections.get_mut(name).expect("the connection is open");
        connection.send(&message(msg_type, req_id, request.tx_id, payload));
        let mut lines = Vec::new();
        loop {
            let connection = self.connections.get_mut(name).expect("the connection is open");
            match connection.receive(self.daemon) {
                Ok((header, event)) if header.msg_type == Ty::WatchEvent as u32 => {
                    lines.push(event_line(name, header, &event));
                }
                Ok((header, reply)) => {
                    lines.push(self.reply_line(name, request, payload, header, &reply));
                    if header.msg_type == msg_type {
                        self.note_change_of_domain(msg_type, payload);
                    }
                    return lines;
                }
                Err(Missing::Closed) => {
                    connection.state = State::Closed;
                    lines.push(format!("{name} < CLOSED"));
                    return lines;
                }
                Err(Missing::Silent) => {
                    connection.state = State::Silent;
                    lines.push(format!("{name} < SILENT"));
                    return lines;
                }
            }
        }
    }

    /// Returns what has come on all connections, on the one that made a request first.
    fn settle(&mut self, first: Option<&str>) -> Vec<String> {
        let others = self.connections.keys().filter(|name| Some(name.as_str()) != first);
        let names: Vec<_> = first.map(str::to_owned).into_iter().chain(others.cloned()).collect();
        names.iter().flat_map(|name| self.ping(name)).collect()
    }

    /// Returns the events that have come on a connection.
    fn ping(&mut self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(connection) = self.connections.get_mut(name) else {
            return lines;
        };
        if connection.state != State::Open {
            return lines;
        }
        connection.send(&message(Ty::GetDomainPath as u32, PING, TxId::NONE, b"0\0"));
        loop {
            match connection.receive(self.daemon) {
                Ok((header, _)) if header.req_id == PING => return lines,
                Ok((header, event)) => lines.push(event_line(name, header, &event)),
                Err(Missing::Closed) => {
                    connection.state = State::Closed;
                    lines.push(format!("{name} ! CLOSED"));
                    return lines;
                }
                Err(Missing::Silent) => {
                    connection.state = State::Silent;
                    lines.push(format!("{name} ! SILENT"));
                    return lines;
                }
            }
        }
    }

    fn reply_line(
        &mut self,
        name: &str,
        request: Header,
        payload: &[u8],
        header: Header,
        reply: &[u8],
    ) -> String {
        let mut line = format!("{name} < {}", name_of(header.msg_type));
        let mut note_id = |what, is: u32, expected| {
            if is != expected {
                line += &format!(" [{what}={}]", if is == 0 { "0" } else { "other" });
            }
        };
        note_id("req_id", header.req_id.0, request.req_id.0);
        note_id("tx_id", header.tx_id.0, request.tx_id.0);
        let text = match Ty::from_u32(header.msg_type) {
            Some(Ty::TransactionStart) => {
                let symbol = format!("t{}", self.starts);
                let number = String::from_utf8_lossy(reply);
                let number = number.trim_end_matches('\0').parse().expect("the reply is an id");
                self.transactions.insert(symbol.clone(), number);
                format!("{{{symbol}}}\\0")
            }
            Some(Ty::DirectoryPart) => self.part(name, payload, reply),
            Some(Ty::Control) => without_memory(payload, encode(reply)),
            _ => encode(reply),
        };
        if text.is_empty() { line } else { format!("{line} {text}") }
    }

    /// Returns a reply to DIRECTORY_PART, with a name in place of the generation.
    fn part(&mut self, name: &str, payload: &[u8], reply: &[u8]) -> String {
        let end = reply.iter().position(|byte| *byte == 0).expect("the generation ends with NUL");
        let path = payload.split(|byte| *byte == 0).next().unwrap_or_default();
        let path = match path.starts_with(b"/") {
            true => path.to_vec(),
            false => [name.as_bytes(), b"/", path].concat(),
        };
        let next = self.generations.len() + 1;
        let key = (path, reply[..end].to_vec());
        let generation = self.generations.entry(key).or_insert_with(|| format!("g{next}"));
        format!("{{{generation}}}{}", encode(&reply[end..]))
    }

    /// A released domain is not asked anything until it is introduced again.
    fn note_change_of_domain(&mut self, msg_type: u32, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let text = text.trim_start().trim_start_matches('+');
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let Ok(domid) = text[..digits].parse::<u16>() else {
            return;
        };
        let name = format!("dom{domid}");
        let Some(connection) = self.connections.get_mut(&name) else {
            return;
        };
        if msg_type == Ty::Release as u32 {
            connection.state = State::Detached;
        } else if msg_type == Ty::Introduce as u32 && connection.state == State::Detached {
            // The daemon has hung up.
            self.connections.remove(&name);
            self.connect(&name);
        }
    }
}

impl Connection {
    fn new(transport: Box<dyn Transport>) -> Self {
        Connection { transport, buffer: Vec::new(), state: State::Open }
    }

    /// Sends bytes. Failure is noticed by [`receive`](Self::receive).
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Ok(Sent::Bytes(sent)) = self.transport.send(bytes) else {
                return;
            };
            bytes = &bytes[sent..];
        }
    }

    fn receive(&mut self, daemon: &Daemon) -> Result<(Header, Vec<u8>), Missing> {
        self.fill(Header::LEN, daemon)?;
        let (header, _) = self.buffer.split_first_chunk().expect("a header was received");
        let header = Header::decode(header);
        let end = Header::LEN + header.len as usize;
        self.fill(end, daemon)?;
        let payload = self.buffer[Header::LEN..end].to_vec();
        self.buffer.drain(..end);
        Ok((header, payload))
    }

    fn fill(&mut self, len: usize, daemon: &Daemon) -> Result<(), Missing> {
        let mut chunk = [0; 4096];
        while self.buffer.len() < len {
            match self.transport.recv(&mut chunk, daemon.wait()) {
                Ok(0) => return Err(Missing::Closed),
                Ok(received) => self.buffer.extend_from_slice(&chunk[..received]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(Missing::Silent);
                }
                Err(_) => return Err(Missing::Closed),
            }
        }
        Ok(())
    }
}

/// Returns the requests of dom0 that make the state in which each scenario begins.
fn first_requests() -> Vec<(Ty, String)> {
    let mut requests = vec![
        (Ty::Rm, "/vm\0".to_owned()),
        (Ty::Rm, "/local\0".to_owned()),
        (Ty::Write, "/local/domain\0".to_owned()),
    ];
    for domid in [5, 7] {
        let home = format!("/local/domain/{domid}");
        let mut add = |name: &str, value: &str, perms: String| {
            requests.push((Ty::Write, format!("{home}{name}\0{value}")));
            requests.push((Ty::SetPerms, format!("{home}{name}\0{perms}")));
        };
        add("", "", format!("n0\0r{domid}\0"));
        add("/domid", &domid.to_string(), format!("n0\0r{domid}\0"));
        for name in OWNED {
            add(&format!("/{name}"), "", format!("n{domid}\0"));
        }
    }
    requests.push((Ty::Control, "quota\0max\0-r\0".to_owned()));
    requests
}

fn domid_of(connection: &str) -> DomId {
    let digits = connection.trim_start_matches("dom").trim_end_matches(char::is_alphabetic);
    DomId::new(digits.parse().expect("a connection is named after its domain"))
}

fn event_line(name: &str, header: Header, payload: &[u8]) -> String {
    let mut line = format!("{name} ! {}", name_of(header.msg_type));
    if header.req_id.0 != 0 || header.tx_id.0 != 0 {
        line += &format!(" [req_id={} tx_id={}]", header.req_id.0, header.tx_id.0);
    }
    if payload.is_empty() { line } else { format!("{line} {}", encode(payload)) }
}

/// Replaces the amounts of memory that CONTROL quota reports to be in use.
fn without_memory(request: &[u8], reply: String) -> String {
    let argument = request.strip_prefix(b"quota\0").unwrap_or_default();
    if !argument.starts_with(b"max\0") && !argument.first().is_some_and(u8::is_ascii_digit) {
        return reply;
    }
    let Some(at) = reply.find("memory ") else {
        return reply;
    };
    let (before, line) = reply.split_at(at);
    let end = line.find("\\n").unwrap_or(line.len());
    let (line, after) = line.split_at(end);
    let Some((name, amounts)) = line.split_once(':') else {
        return reply;
    };
    // Settings have a description behind the number.
    match amounts.trim().split_once(' ') {
        None => format!("{before}{name}:*{after}"),
        Some((_, max)) if max.starts_with("(max") => format!("{before}{name}:* (max*){after}"),
        Some(_) => reply,
    }
}
