//! The state of a kernel's xenbus driver.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;

use xs_proto::{Decoder, ErrorCode, Frame, Header, MessageType, Reply, ReqId, TxId};

use super::open_file::OpenFile;
use super::watches::{WatchTable, two_strings, watch_payload};
use crate::mock::connection::pipe::Pipe;
use crate::transport::{Sent, Transport, Wait};

/// The connection to the xenstored, the open devices, and the requests and watches of both.
#[derive(Debug)]
pub(super) struct State {
    ring: Pipe,
    decoder: Decoder,
    pub(super) files: BTreeMap<u64, OpenFile>,
    /// The requests that a device has written and the kernel has not sent. The payload of each is
    /// still in the device's buffer, where another write may overwrite it.
    queue: VecDeque<(u64, Header)>,
    /// The requests that were sent to the xenstored.
    calls: HashMap<ReqId, Call>,
    watches: WatchTable,
    /// The last number given to a request, a watch or a device.
    last_id: u64,
    /// Counts the resumes.
    pub(super) generation: u64,
    pub(super) has_old_replies: bool,
    /// Why the kernel hangs, if it does.
    hung: Option<&'static str>,
    /// The xenstored has closed the connection.
    is_closed: bool,
    pub(super) spoiled: u64,
}

/// A request that was sent to the xenstored.
#[derive(Debug)]
enum Call {
    /// A device's request, which had this header.
    Request { device: u64, header: Header },
    /// A WATCH or UNWATCH, whose writer waits. A positive answer also makes the reply to this
    /// request of a device readable.
    Waiting { reply_to: Option<(u64, Header)> },
    /// The answer that such a writer waits for.
    Answered(Result<(), ErrorCode>),
    /// A request of the kernel's own, whose answer is ignored.
    Own,
}

/// The progress of a request whose writer waits.
pub(super) enum Progress {
    Waiting,
    Answered(Result<(), ErrorCode>),
    /// A resume or the end of the connection has dropped the request.
    Lost,
}

impl State {
    pub(super) fn new(ring: Pipe) -> Self {
        State {
            ring,
            decoder: Decoder::for_client(),
            files: BTreeMap::new(),
            queue: VecDeque::new(),
            calls: HashMap::new(),
            watches: WatchTable::default(),
            last_id: 0,
            generation: 0,
            has_old_replies: false,
            hung: None,
            is_closed: false,
            spoiled: 0,
        }
    }

    /// Fails if the kernel hangs.
    pub(super) fn check(&self) -> io::Result<()> {
        self.hung.map_or(Ok(()), |why| Err(io::Error::other(why)))
    }

    /// Makes every later call fail. The first cause stays.
    pub(super) fn hang(&mut self, why: &'static str) -> io::Error {
        io::Error::other(*self.hung.get_or_insert(why))
    }

    /// Returns whether the xenstored has closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Opens a device. Returns its number.
    pub(super) fn open(&mut self) -> u64 {
        let id = self.next_id();
        self.files.insert(id, OpenFile::new());
        id
    }

    /// Closes a device. Its watches and transactions end.
    pub(super) fn close(&mut self, device: u64) {
        self.send_queue();
        let Some(file) = self.files.remove(&device) else {
            return;
        };
        for (tx_id, generation) in file.transactions {
            if generation == self.generation {
                self.send_own(MessageType::TransactionEnd, tx_id, b"F\0");
            }
        }
        for payload in self.watches.remove_all(device) {
            self.send_own(MessageType::Unwatch, TxId::NONE, &payload);
        }
    }

    /// Continues on a new connection, and sets all watches again.
    pub(super) fn resume(&mut self, ring: Pipe) {
        self.ring = ring;
        self.decoder = Decoder::for_client();
        self.calls.clear();
        self.files.values_mut().for_each(|file| file.unanswered = 0);
        self.generation += 1;
        for payload in self.watches.payloads() {
            self.send_own(MessageType::Watch, TxId::NONE, &payload);
        }
    }

    /// Returns whether poll(2) reports a device as readable.
    pub(super) fn is_readable(&self, device: u64) -> bool {
        let has_bytes = self.files.get(&device).is_some_and(|file| !file.readable.is_empty());
        // A read sends the device's queued requests, and may then find the answer.
        has_bytes || self.is_queued(device) || self.hung.is_some() || self.is_closed
    }

    /// Returns whether the kernel has not sent some request of a device.
    pub(super) fn is_queued(&self, device: u64) -> bool {
        self.queue.iter().any(|(of, _)| *of == device)
    }

    /// Queues a device's request. Its payload stays in the device's buffer.
    pub(super) fn enqueue(&mut self, device: u64, header: Header) {
        self.queue.push_back((device, header));
    }

    /// Sends the queued requests.
    pub(super) fn send_queue(&mut self) {
        while let Some((device, header)) = self.queue.pop_front() {
            if let Some(file) = self.files.get(&device) {
                let payload = file.payload(header).to_vec();
                let call = Call::Request { device, header };
                self.send(call, header.msg_type, header.tx_id, &payload);
            }
        }
    }

    /// Sends a WATCH or UNWATCH for a writer that waits, and returns its id.
    pub(super) fn send_waiting(
        &mut self,
        msg_type: MessageType,
        payload: &[u8],
        reply_to: Option<(u64, Header)>,
    ) -> ReqId {
        self.send(Call::Waiting { reply_to }, msg_type as u32, TxId::NONE, payload)
    }

    /// Looks for the answer to such a request, and takes it.
    pub(super) fn take_answer(&mut self, req_id: ReqId) -> Progress {
        match self.calls.remove(&req_id) {
            Some(Call::Answered(answer)) => Progress::Answered(answer),
            Some(call) => {
                self.calls.insert(req_id, call);
                Progress::Waiting
            }
            None => Progress::Lost,
        }
    }

    /// Adds a watch of a device. Returns its number, and whether the reply follows the first event.
    pub(super) fn add_watch(
        &mut self,
        device: u64,
        request: Header,
        path: &[u8],
        token: &[u8],
    ) -> (u64, bool) {
        let number = self.next_id();
        (number, self.watches.add(number, device, request, path, token))
    }

    /// Removes a watch.
    pub(super) fn remove_watch(&mut self, number: u64) {
        self.watches.remove(number);
    }

    /// Removes a device's watch. Returns the payload of the UNWATCH that ends it.
    pub(super) fn remove_matching_watch(
        &mut self,
        device: u64,
        path: &[u8],
        token: &[u8],
    ) -> Option<Vec<u8>> {
        let number = self.watches.remove_matching(device, path, token)?;
        Some(watch_payload(path, number))
    }

    /// Processes what the xenstored has sent. Returns whether there was anything.
    pub(super) fn receive(&mut self) -> bool {
        let mut buf = vec![0; 8192];
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::for_client());
        let mut has_changed = false;
        while !self.is_closed {
            match self.ring.recv(&mut buf, Wait::No) {
                Ok(n) if n > 0 => self.decode(&mut decoder, &buf[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => self.connection_closed(),
            }
            has_changed = true;
        }
        self.decoder = decoder;
        has_changed
    }

    fn decode(&mut self, decoder: &mut Decoder, mut input: &[u8]) {
        while !input.is_empty() {
            let Ok(decoded) = decoder.decode(input) else {
                return self.connection_closed();
            };
            input = &input[decoded.consumed..];
            if let Some(frame) = decoded.frame {
                self.dispatch(frame);
            }
        }
    }

    fn dispatch(&mut self, Frame { header, payload }: Frame<'_>) {
        if header.msg_type == MessageType::WatchEvent as u32 {
            return self.watch_fired(payload);
        }
        let error = (header.msg_type == MessageType::Error as u32).then(|| error_code(payload));
        match self.calls.remove(&header.req_id) {
            Some(Call::Request { device, header: request }) => {
                self.answer_request(device, request, header, payload);
            }
            Some(Call::Waiting { reply_to }) => {
                if let (Some((device, request)), None) = (reply_to, &error) {
                    if let Some(file) = self.files.get_mut(&device) {
                        file.reply_ok(request, self.has_old_replies);
                    }
                }
                self.calls.insert(header.req_id, Call::Answered(error.map_or(Ok(()), Err)));
            }
            Some(Call::Answered(_) | Call::Own) | None => {}
        }
    }

    /// Hands the reply to a device's request to that device.
    fn answer_request(&mut self, device: u64, request: Header, header: Header, payload: &[u8]) {
        let Some(file) = self.files.get_mut(&device) else {
            return;
        };
        file.unanswered -= 1;
        match MessageType::from_u32(request.msg_type) {
            Some(MessageType::TransactionStart) if header.msg_type != MessageType::Error as u32 => {
                let reply = Reply::decode(MessageType::TransactionStart, payload);
                if let Ok(Reply::Transaction(tx_id)) = reply {
                    file.transactions.insert(tx_id, self.generation);
                }
            }
            // The kernel looks for the transaction, finds none, and drops the reply.
            Some(MessageType::TransactionEnd)
                if file.transactions.remove(&request.tx_id).is_none() =>
            {
                return;
            }
            _ => {}
        }
        file.reply(Header { req_id: request.req_id, ..header }, payload);
    }

    fn watch_fired(&mut self, payload: &[u8]) {
        let Some((path, token)) = two_strings(payload) else {
            return;
        };
        // An event may still come after the watch was removed.
        let Some(watch) = self.watches.by_token(token) else {
            return;
        };
        let late_reply = watch.late_reply.take();
        if let Some(file) = self.files.get_mut(&watch.device) {
            file.event(path, &watch.token);
            if let Some(request) = late_reply {
                file.reply_ok(request, self.has_old_replies);
            }
        }
    }

    /// Sends a request whose answer is ignored.
    fn send_own(&mut self, msg_type: MessageType, tx_id: TxId, payload: &[u8]) {
        self.send(Call::Own, msg_type as u32, tx_id, payload);
    }

    fn send(&mut self, call: Call, msg_type: u32, tx_id: TxId, payload: &[u8]) -> ReqId {
        let req_id = ReqId(self.next_id() as u32);
        self.calls.insert(req_id, call);
        let header = Header { msg_type, req_id, tx_id, len: payload.len() as u32 };
        let message = [&header.encode(), payload].concat();
        let mut rest = &message[..];
        while !rest.is_empty() {
            match self.ring.send(rest) {
                Ok(Sent::Bytes(n)) => rest = &rest[n..],
                // The ring is full, and receiving makes room. If nothing can be received, the
                // domain is over its quota, and stays so until another domain removes something.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.receive() {
                        self.hang("xenstored takes no more requests from this domain");
                        break;
                    }
                }
                _ => {
                    self.connection_closed();
                    break;
                }
            }
        }
        req_id
    }

    fn connection_closed(&mut self) {
        self.is_closed = true;
        self.calls.clear();
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn error_code(payload: &[u8]) -> ErrorCode {
    match Reply::decode(MessageType::Error, payload) {
        Ok(Reply::Error(code)) => code,
        _ => ErrorCode::Io,
    }
}
