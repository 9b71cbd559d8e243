//! The text form of a conversation. `tests/tests/conversations/README.md` describes it, and the
//! test there can replay it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;

use xs_proto::{Header, MessageType};

/// Records the messages on all connections, request by request.
pub(super) struct Conversation<'a> {
    out: Box<dyn Write + 'a>,
    domid: u16,
    /// The request whose answers are collected: its header and payload.
    request: Option<(Header, Vec<u8>)>,
    step: String,
    /// The lines below the step, by connection.
    answers: BTreeMap<String, Vec<String>>,
    /// The number of requests to start a transaction.
    starts: usize,
    /// The names of transactions, by connection and id.
    transactions: HashMap<(String, u32), String>,
    /// The names of generations, by path and number.
    generations: HashMap<(Vec<u8>, Vec<u8>), String>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(out: Box<dyn Write + 'a>, domid: u16) -> Self {
        Conversation {
            out,
            domid,
            request: None,
            step: String::new(),
            answers: BTreeMap::new(),
            starts: 0,
            transactions: HashMap::new(),
            generations: HashMap::new(),
        }
    }

    /// Writes the first lines. The scenario has the name of the file.
    pub(super) fn begin(&mut self, daemon: &Path, file: Option<&Path>) -> io::Result<()> {
        let name = file.and_then(Path::file_stem).unwrap_or("recorded".as_ref());
        let name = name.to_string_lossy().replace(char::is_whitespace, "-");
        writeln!(self.out, "# recorded by xs proxy from {}", daemon.display())?;
        writeln!(self.out, "\nscenario {name}")?;
        self.out.flush()
    }

    /// Returns the name of a connection: dom0, dom0b, dom0c and so on.
    pub(super) fn name_of(&self, mut index: usize) -> String {
        let mut letters = String::new();
        while index > 0 {
            letters.insert(0, char::from(b'a' + (index % 26) as u8));
            index /= 26;
        }
        format!("dom{}{letters}", self.domid)
    }

    /// Begins a step with a request.
    pub(super) fn request(&mut self, name: &str, header: Header, payload: &[u8]) {
        if header.msg_type == MessageType::TransactionStart as u32 {
            self.starts += 1;
        }
        let tx_id = header.tx_id.0;
        let number = tx_id.to_string();
        let tx = self.transactions.get(&(name.to_owned(), tx_id)).unwrap_or(&number);
        self.step =
            line(&format!("{name} > {} tx={tx}", type_name(header.msg_type)), &encode(payload));
        self.request = Some((header, payload.to_vec()));
    }

    /// Begins a step in which a client closes its connection.
    pub(super) fn client_closed(&mut self, name: &str) {
        self.step = format!("host close {name}");
        self.transactions.retain(|(owner, _), _| owner != name);
    }

    /// Adds a reply or an event to the current step.
    pub(super) fn answer(&mut self, name: &str, header: Header, payload: &[u8]) {
        let text = match MessageType::from_u32(header.msg_type) {
            Some(MessageType::WatchEvent) => {
                line(&format!("{name} ! {}", type_name(header.msg_type)), &encode(payload))
            }
            known => {
                let start = format!("{name} < {}", type_name(header.msg_type));
                line(&(start + &self.ids(header)), &self.reply(name, known, payload))
            }
        };
        self.answers.entry(name.to_owned()).or_default().push(text);
    }

    /// Adds to the current step that the daemon has closed a connection.
    pub(super) fn closed(&mut self, name: &str) {
        self.answers.entry(name.to_owned()).or_default().push(format!("{name} < CLOSED"));
    }

    /// Adds to the current step that the daemon has not replied in time.
    pub(super) fn silent(&mut self, name: &str) {
        self.answers.entry(name.to_owned()).or_default().push(format!("{name} < SILENT"));
    }

    /// Writes the current step and its answers, those on the connection `first` before the others.
    pub(super) fn end_step(&mut self, first: Option<&str>) -> io::Result<()> {
        writeln!(self.out, "{}", self.step)?;
        let mut answers = std::mem::take(&mut self.answers);
        let own = first.and_then(|first| answers.remove(first)).unwrap_or_default();
        for (at, text) in own.iter().chain(answers.values().flatten()).enumerate() {
            // The end of a connection after the reply is an event, not the answer to the request.
            let is_late = at > 0 && text.ends_with(" < CLOSED");
            writeln!(self.out, "{}", if is_late { text.replace('<', "!") } else { text.clone() })?;
        }
        self.request = None;
        self.out.flush()
    }

    /// Writes events that no request of these clients has caused, as comments.
    pub(super) fn end_without_request(&mut self) -> io::Result<()> {
        for text in std::mem::take(&mut self.answers).values().flatten() {
            writeln!(self.out, "# by something else: {text}")?;
        }
        self.out.flush()
    }

    /// Returns the ids of a reply that differ from those of the request.
    fn ids(&self, header: Header) -> String {
        let Some((request, _)) = &self.request else { return String::new() };
        let ids = [
            ("req_id", header.req_id.0, request.req_id.0),
            ("tx_id", header.tx_id.0, request.tx_id.0),
        ];
        let differing = ids.into_iter().filter(|(_, is, expected)| is != expected);
        differing
            .map(|(what, is, _)| format!(" [{what}={}]", if is == 0 { "0" } else { "other" }))
            .collect()
    }

    /// Returns the text of a reply. Numbers that differ from run to run have names.
    fn reply(&mut self, name: &str, msg_type: Option<MessageType>, payload: &[u8]) -> String {
        let asked = self.request.as_ref().map_or(&[][..], |(_, asked)| asked);
        match msg_type {
            Some(MessageType::TransactionStart) => {
                let number = String::from_utf8_lossy(payload);
                let Ok(number) = number.trim_end_matches('\0').parse() else {
                    return encode(payload);
                };
                let symbol = format!("t{}", self.starts);
                let text = format!("{{{symbol}}}\\0");
                self.transactions.insert((name.to_owned(), number), symbol);
                text
            }
            Some(MessageType::DirectoryPart) => {
                let Some(end) = payload.iter().position(|byte| *byte == 0) else {
                    return encode(payload);
                };
                let path = asked.split(|byte| *byte == 0).next().unwrap_or_default();
                let path = match path.starts_with(b"/") {
                    true => path.to_vec(),
                    false => [name.as_bytes(), b"/", path].concat(),
                };
                let next = self.generations.len() + 1;
                let key = (path, payload[..end].to_vec());
                let generation = self.generations.entry(key).or_insert_with(|| format!("g{next}"));
                format!("{{{generation}}}{}", encode(&payload[end..]))
            }
            // The figures for memory differ from run to run.
            Some(MessageType::Control) if asked.starts_with(b"quota\0") => "*".to_owned(),
            _ => encode(payload),
        }
    }
}

/// Returns the name of a message type, or `#` and its number.
fn type_name(msg_type: u32) -> String {
    match MessageType::from_u32(msg_type) {
        Some(known) => known.name().to_owned(),
        None => format!("#{msg_type}"),
    }
}

fn line(start: &str, payload: &str) -> String {
    if payload.is_empty() { start.to_owned() } else { format!("{start} {payload}") }
}

/// The number of repetitions from which a byte is written once, with the count.
const RUN_MIN: usize = 24;

/// Returns the text form of a payload.
fn encode(payload: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = payload;
    while let Some((&byte, after)) = rest.split_first() {
        let same = rest.iter().take_while(|other| **other == byte).count();
        let run = if same < RUN_MIN { 1 } else { same };
        let is_first = rest.len() == payload.len();
        let text = match byte {
            0 if rest.get(run).is_some_and(u8::is_ascii_digit) => "\\x00".to_owned(),
            0 => "\\0".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' ' if is_first || after.is_empty() => "\\x20".to_owned(),
            b'{' | b'}' | b'*' => format!("\\x{byte:02x}"),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        out += &if run > 1 { format!("{{{run}*{text}}}") } else { text };
        rest = &rest[run..];
    }
    out
}

#[cfg(test)]
mod tests {
    use xs_proto::{ReqId, TxId};

    use super::*;

    fn header(msg_type: MessageType, tx_id: u32, len: usize) -> Header {
        Header { msg_type: msg_type as u32, req_id: ReqId(1), tx_id: TxId(tx_id), len: len as u32 }
    }

    #[test]
    fn answers_follow_their_request_and_ids_have_names() {
        let mut out = Vec::new();
        let mut conversation = Conversation::new(Box::new(&mut out), 5);
        let (own, other) = (conversation.name_of(0), conversation.name_of(27));
        assert_eq!((&*own, &*other), ("dom5", "dom5bb"));
        conversation.request(&own, header(MessageType::TransactionStart, 0, 1), b"\0");
        conversation.answer(&other, header(MessageType::WatchEvent, 0, 4), b"a\0t\0");
        conversation.answer(&own, header(MessageType::TransactionStart, 0, 3), b"17\0");
        conversation.end_step(Some(&own)).unwrap();
        conversation.request(&own, header(MessageType::Read, 17, 2), b"a\0");
        conversation.answer(&own, header(MessageType::Error, 0, 7), b"ENOENT\0");
        conversation.closed(&own);
        conversation.end_step(Some(&own)).unwrap();
        conversation.answer(&other, header(MessageType::WatchEvent, 0, 4), b"b\0t\0");
        conversation.end_without_request().unwrap();
        drop(conversation);
        let wanted = "dom5 > TRANSACTION_START tx=0 \\0\ndom5 < TRANSACTION_START {t1}\\0\n\
                      dom5bb ! WATCH_EVENT a\\0t\\0\ndom5 > READ tx=t1 a\\0\n\
                      dom5 < ERROR [tx_id=0] ENOENT\\0\ndom5 ! CLOSED\n\
                      # by something else: dom5bb ! WATCH_EVENT b\\0t\\0\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn payloads_are_printable() {
        assert_eq!(encode(b"a\x001{}*\\\n"), "a\\x001\\x7b\\x7d\\x2a\\\\\\n");
        assert_eq!(encode(&[b'x'; 30]), "{30*x}");
        assert_eq!(encode(b" a "), "\\x20a\\x20");
    }
}
