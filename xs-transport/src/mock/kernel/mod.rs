//! A domain's kernel: the one connection to the xenstored that all open devices share.

pub(super) mod device;
mod notifier;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xs_proto::{Decoder, DomId, ErrorCode, Frame, Header, MessageType, Reply, ReqId, TxId};

use self::device::{Device, Opened};
use self::notifier::{Bell, Signal};
use crate::mock::connection::pipe::Pipe;
use crate::mock::connection::queue::Notify;
use crate::mock::xenstored::Xenstored;
use crate::transport::{Transport, Wait};

/// The kernel of a domain whose xenstored is in memory: opens devices that behave as
/// `/dev/xen/xenbus` of Linux does, the dangerous parts included.
///
/// What a genuine kernel does at some time or other is done here as late as possible, so that
/// what can go wrong does go wrong: a request leaves when somebody reads, not when it is written.
/// Every other watch has its first event before the reply to WATCH. Where the kernel would never
/// come back, the call fails, and everything after it: a test should not have to be killed.
///
/// One thing is not the kernel's: when the xenstored closes the connection, reads give the end of
/// the file. The kernel would wait for a new xenstored without a word.
///
/// No thread runs behind it. It ends with its last handle and device.
///
/// ```
/// use xs_proto::{DomId, Header, MessageType, ReqId, TxId};
/// use xs_transport::mock::{Kernel, Xenstored};
///
/// let kernel = Kernel::new(&Xenstored::new(), DomId::new(5));
/// let device = kernel.open()?;
/// let read = |req_id, len| {
///     let msg_type = MessageType::GetDomainPath as u32;
///     Header { msg_type, req_id: ReqId(req_id), tx_id: TxId::NONE, len }.encode()
/// };
/// // Two requests in one write: the second one is lost, although all of it was written.
/// let both = [&read(1, 2)[..], b"5\0", &read(2, 2), b"6\0"].concat();
/// assert_eq!(device.write(&both)?, both.len());
///
/// let mut buf = [0; 100];
/// assert_eq!(device.read(&mut buf)?, 32);
/// assert_eq!(buf[16..32], *b"/local/domain/5\0");
/// assert_eq!(device.read(&mut buf).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(in crate::mock) shared: Arc<Shared>,
}

/// Lock order: the state, then those of the xenstored, then the bell's.
#[derive(Debug)]
pub(in crate::mock) struct Shared {
    xenstored: Xenstored,
    domid: DomId,
    pub(in crate::mock) bell: Arc<Bell>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(in crate::mock) struct State {
    ring: Pipe,
    decoder: Decoder,
    /// What was sent to the xenstored and has no answer.
    calls: HashMap<ReqId, Call>,
    /// Requests that have been written and not been sent. Their payload is where it was written,
    /// or what has been written over it since.
    queue: VecDeque<(u64, Header)>,
    pub(in crate::mock) opened: BTreeMap<u64, Opened>,
    watches: BTreeMap<u64, Watch>,
    watches_set: u64,
    /// The last number given to a call, a watch or an open device.
    last: u64,
    /// Counts the resumes.
    pub(in crate::mock) generation: u64,
    old_replies: bool,
    /// Why nothing works any more.
    hung: Option<&'static str>,
    is_over: bool,
    spoiled: u64,
}

/// The kernel's own watch behind one of a device.
#[derive(Debug)]
struct Watch {
    opened: u64,
    path: Box<[u8]>,
    token: Box<[u8]>,
    /// The request, if its reply goes out behind the first event.
    late: Option<Header>,
}

#[derive(Debug)]
enum Call {
    /// Made by a device, whose request had this header.
    Request { opened: u64, header: Header },
    /// A WATCH or an UNWATCH, for which a writer waits; and what to answer if it goes well, to
    /// whom.
    Waiting { reply: Option<(u64, Header)> },
    /// … which has been answered.
    Answered(Result<(), ErrorCode>),
    /// The kernel's own: nobody waits for it.
    Own,
}

impl Kernel {
    /// A kernel that has just booted, of a domain that is introduced if it is not known.
    pub fn new(xenstored: &Xenstored, domid: DomId) -> Self {
        let bell = Arc::new(Bell::default());
        let state = State {
            ring: connect(xenstored, domid, &bell),
            decoder: Decoder::for_client(),
            calls: HashMap::new(),
            queue: VecDeque::new(),
            opened: BTreeMap::new(),
            watches: BTreeMap::new(),
            watches_set: 0,
            last: 0,
            generation: 0,
            old_replies: false,
            hung: None,
            is_over: false,
            spoiled: 0,
        };
        let xenstored = xenstored.clone();
        Kernel { shared: Arc::new(Shared { xenstored, domid, bell, state: Mutex::new(state) }) }
    }

    /// From now on replies to WATCH and UNWATCH have no ids, as those of old kernels.
    #[must_use]
    pub fn with_old_replies(self) -> Self {
        self.shared.lock().old_replies = true;
        self
    }

    /// Opens the device once more.
    ///
    /// # Errors
    /// No more descriptors can be opened.
    pub fn open(&self) -> io::Result<Device> {
        let signal = Arc::new(Signal::new()?);
        let mut state = self.shared.lock();
        let id = state.next();
        state.opened.insert(id, Opened::default());
        self.shared.bell.add(id, signal.clone());
        Ok(Device::new(self.clone(), id, signal))
    }

    /// The domain is suspended and resumed, here or on another host. Replies that are under way
    /// still come; then there is a new connection, on which the kernel sets all watches again,
    /// and they fire. Transactions end.
    pub fn resume(&self) {
        let mut state = self.shared.lock();
        state.send_queue();
        self.shared.settle(&mut state);
        state.ring = connect(&self.shared.xenstored, self.shared.domid, &self.shared.bell);
        state.decoder = Decoder::for_client();
        state.calls.clear();
        state.opened.values_mut().for_each(|opened| opened.unanswered = 0);
        state.generation += 1;
        let watches: Vec<_> =
            state.watches.iter().map(|(number, watch)| (*number, watch.path.clone())).collect();
        for (number, path) in watches {
            state.tell(MessageType::Watch, TxId::NONE, &watch_payload(&path, number));
        }
        self.shared.settle(&mut state);
    }

    /// How many requests were lost or sent with the payload of another one, because they were
    /// written too early or together.
    pub fn spoiled(&self) -> u64 {
        self.shared.lock().spoiled
    }

    pub(in crate::mock) fn domid(&self) -> DomId {
        self.shared.domid
    }
}

impl Shared {
    pub(in crate::mock) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what came from the xenstored, and tells the devices.
    pub(in crate::mock) fn settle(&self, state: &mut State) {
        loop {
            self.bell.silence();
            let news = state.receive();
            if self.bell.settle(news, |id| state.has_something(id)) {
                return;
            }
        }
    }

    /// Sends a request of the kernel's own for a writer, and waits for the answer. The state is
    /// not locked meanwhile. `reply` goes to the writer's device as soon as the answer is good.
    pub(in crate::mock) fn ask<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        msg_type: MessageType,
        payload: &[u8],
        reply: Option<(u64, Header)>,
    ) -> (MutexGuard<'a, State>, io::Result<Result<(), ErrorCode>>) {
        let call = Call::Waiting { reply };
        let req_id = state.send(call, msg_type as u32, TxId::NONE, payload);
        loop {
            self.settle(&mut state);
            if let Err(error) = state.check() {
                return (state, Err(error));
            }
            match state.calls.remove(&req_id) {
                Some(Call::Answered(answer)) => return (state, Ok(answer)),
                Some(call) => state.calls.insert(req_id, call),
                // Lost in a resume, or with the xenstored.
                None => return (state, Err(io::ErrorKind::BrokenPipe.into())),
            };
            let turns = self.bell.turns();
            drop(state);
            self.bell.wait(turns);
            state = self.lock();
        }
    }
}

impl State {
    pub(in crate::mock) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// # Errors
    /// The kernel hangs.
    pub(in crate::mock) fn check(&self) -> io::Result<()> {
        self.hung.map_or(Ok(()), |why| Err(io::Error::other(why)))
    }

    /// Nothing works from now on.
    pub(in crate::mock) fn hang(&mut self, why: &'static str) -> io::Error {
        io::Error::other(*self.hung.get_or_insert(why))
    }

    /// The xenstored has closed the connection.
    pub(in crate::mock) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(in crate::mock) fn spoil(&mut self) {
        self.spoiled += 1;
    }

    /// A device's request, whose payload stays where it is.
    pub(in crate::mock) fn push(&mut self, opened: u64, header: Header) {
        self.queue.push_back((opened, header));
    }

    /// Whether requests of a device have not been sent yet.
    pub(in crate::mock) fn is_queued(&self, opened: u64) -> bool {
        self.queue.iter().any(|(of, _)| *of == opened)
    }

    /// Sends what has been written.
    pub(in crate::mock) fn send_queue(&mut self) {
        while let Some((opened, header)) = self.queue.pop_front() {
            if let Some(payload) = self.opened.get(&opened).map(|o| o.payload(header).to_vec()) {
                let call = Call::Request { opened, header };
                self.send(call, header.msg_type, header.tx_id, &payload);
            }
        }
    }

    fn tell(&mut self, msg_type: MessageType, tx_id: TxId, payload: &[u8]) {
        self.send(Call::Own, msg_type as u32, tx_id, payload);
    }

    fn send(&mut self, call: Call, msg_type: u32, tx_id: TxId, payload: &[u8]) -> ReqId {
        let req_id = ReqId(self.next() as u32);
        self.calls.insert(req_id, call);
        let header = Header { msg_type, req_id, tx_id, len: payload.len() as u32 };
        let message = [&header.encode(), payload].concat();
        let mut rest = &message[..];
        while !rest.is_empty() {
            match self.ring.send(rest) {
                Ok(crate::Sent::Bytes(n)) => rest = &rest[n..],
                // The ring is full: make room. If there is none to be made, the xenstored takes
                // nothing from this domain until somebody else removes what it has too much of.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.receive() {
                        self.hang("xenstored takes no more requests from this domain");
                        break;
                    }
                }
                _ => {
                    self.end();
                    break;
                }
            }
        }
        req_id
    }

    /// Takes what came; says whether anything did.
    fn receive(&mut self) -> bool {
        let mut buf = vec![0; 8192];
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::for_client());
        let mut news = false;
        while !self.is_over {
            match self.ring.recv(&mut buf, Wait::No) {
                Ok(n) if n > 0 => self.decode(&mut decoder, &buf[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => self.end(),
            }
            news = true;
        }
        self.decoder = decoder;
        news
    }

    fn decode(&mut self, decoder: &mut Decoder, mut input: &[u8]) {
        while !input.is_empty() {
            let Ok(decoded) = decoder.decode(input) else {
                return self.end();
            };
            input = &input[decoded.consumed..];
            if let Some(frame) = decoded.frame {
                self.dispatch(frame);
            }
        }
    }

    /// The xenstored is gone.
    fn end(&mut self) {
        self.is_over = true;
        self.calls.clear();
    }

    /// A message from the xenstored.
    fn dispatch(&mut self, Frame { header, payload }: Frame<'_>) {
        if header.msg_type == MessageType::WatchEvent as u32 {
            return self.fired(payload);
        }
        let error = (header.msg_type == MessageType::Error as u32).then(|| error_code(payload));
        let (opened, asked) = match self.calls.remove(&header.req_id) {
            Some(Call::Request { opened, header }) => (opened, header),
            Some(Call::Waiting { reply }) => {
                if let (Some((opened, request)), None) = (reply, &error) {
                    if let Some(opened) = self.opened.get_mut(&opened) {
                        opened.done(request, self.old_replies);
                    }
                }
                self.calls.insert(header.req_id, Call::Answered(error.map_or(Ok(()), Err)));
                return;
            }
            _ => return,
        };
        let generation = self.generation;
        let Some(opened) = self.opened.get_mut(&opened) else {
            return;
        };
        opened.unanswered -= 1;
        match MessageType::from_u32(asked.msg_type) {
            Some(MessageType::TransactionStart) if error.is_none() => {
                let reply = Reply::decode(MessageType::TransactionStart, payload);
                if let Ok(Reply::Transaction(tx_id)) = reply {
                    opened.transactions.insert(tx_id, generation);
                }
            }
            // The kernel looks for the transaction, finds none, and keeps the reply to itself.
            Some(MessageType::TransactionEnd)
                if opened.transactions.remove(&asked.tx_id).is_none() =>
            {
                return;
            }
            _ => {}
        }
        opened.reply(Header { req_id: asked.req_id, ..header }, payload);
    }

    fn fired(&mut self, payload: &[u8]) {
        let Some((path, token)) = two_strings(payload) else {
            return;
        };
        let number = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
        let Some(watch) = number.and_then(|number: u64| self.watches.get_mut(&number)) else {
            // Removed meanwhile.
            return;
        };
        let late = watch.late.take();
        if let Some(opened) = self.opened.get_mut(&watch.opened) {
            opened.event(path, &watch.token);
            if let Some(request) = late {
                opened.done(request, self.old_replies);
            }
        }
    }

    pub(in crate::mock) fn has_something(&self, id: u64) -> bool {
        let readable = self.opened.get(&id).is_some_and(|opened| !opened.readable.is_empty());
        // One that waits for the answer to what it wrote reads it together with sending it.
        readable || self.is_queued(id) || self.hung.is_some() || self.is_over
    }

    /// Keeps a watch of a device. Returns its number, and whether the reply waits for the first
    /// event.
    pub(in crate::mock) fn add_watch(
        &mut self,
        opened: u64,
        header: Header,
        path: &[u8],
        token: &[u8],
    ) -> (u64, bool) {
        let number = self.next();
        self.watches_set += 1;
        let is_late = self.watches_set % 2 == 0;
        let late = is_late.then_some(header);
        self.watches.insert(number, Watch { opened, path: path.into(), token: token.into(), late });
        (number, is_late)
    }

    /// Forgets a watch.
    pub(in crate::mock) fn drop_watch(&mut self, number: u64) {
        self.watches.remove(&number);
    }

    /// Forgets the first watch of a device on this path with this token; returns its number.
    pub(in crate::mock) fn remove_watch(
        &mut self,
        opened: u64,
        path: &[u8],
        token: &[u8],
    ) -> Option<u64> {
        let (&number, _) = self.watches.iter().find(|(_, watch)| {
            watch.opened == opened && *watch.path == *path && *watch.token == *token
        })?;
        self.watches.remove(&number);
        Some(number)
    }

    pub(in crate::mock) fn old_replies(&self) -> bool {
        self.old_replies
    }

    /// A device was closed: its watches and transactions end.
    pub(in crate::mock) fn close(&mut self, id: u64) {
        self.send_queue();
        let Some(opened) = self.opened.remove(&id) else {
            return;
        };
        for (tx_id, generation) in opened.transactions {
            if generation == self.generation {
                self.tell(MessageType::TransactionEnd, tx_id, b"F\0");
            }
        }
        let of_device = self.watches.iter().filter(|(_, watch)| watch.opened == id);
        let watches: Vec<_> =
            of_device.map(|(number, watch)| (*number, watch.path.clone())).collect();
        for (number, path) in watches {
            self.watches.remove(&number);
            self.tell(MessageType::Unwatch, TxId::NONE, &watch_payload(&path, number));
        }
    }
}

fn connect(xenstored: &Xenstored, domid: DomId, bell: &Arc<Bell>) -> Pipe {
    let bell = bell.clone();
    xenstored.connect_with(domid, Some(Notify(Box::new(move || bell.ring()))))
}

/// The kernel's token is the number of its watch.
pub(in crate::mock) fn watch_payload(path: &[u8], number: u64) -> Vec<u8> {
    [path, b"\0", number.to_string().as_bytes(), b"\0"].concat()
}

/// The first two strings of a payload; `None` if there are not as many.
pub(in crate::mock) fn two_strings(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut strings = payload.split(|byte| *byte == 0);
    let (first, second) = (strings.next()?, strings.next()?);
    // Each of them ends with a NUL.
    strings.next().map(|_| (first, second))
}

fn error_code(payload: &[u8]) -> ErrorCode {
    match Reply::decode(MessageType::Error, payload) {
        Ok(Reply::Error(code)) => code,
        _ => ErrorCode::Io,
    }
}
