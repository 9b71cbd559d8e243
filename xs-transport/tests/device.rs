//! What the xenbus device does to its users, and what the transport makes of it.
//!
//! The tests run on the device that stands in for the kernel's and, as root in a domain on Xen, on
//! the one that `XS_TEST_DEVICE` names, usually `/dev/xen/xenbus`. So the one is known to be like
//! the other.
#![cfg(feature = "mock")]

use std::collections::VecDeque;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use xs_proto::{
    ClientConnection, ConnectionError, DomId, ErrorCode, Event, Header, Limits, MessageType, Path,
    Reply, ReqId, Request, TxId,
};
use xs_transport::mock::{Device, Fault, Kernel, Xenstored};
use xs_transport::{
    DEVICE_PAYLOAD_MAX, Drive, Failure, Interest, Machine, Sent, Transport, Turn, Wait,
    XenbusTransport,
};

/// Nothing here takes as long, unless it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// A device that can be opened any number of times.
enum Place {
    StandIn(Kernel),
    Real(PathBuf),
}

impl Place {
    fn raw(&self) -> Box<dyn Raw> {
        match self {
            Place::StandIn(kernel) => Box::new(kernel.open().unwrap()),
            Place::Real(path) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
                Box::new(options.open(path).unwrap())
            }
        }
    }

    fn transport(&self) -> XenbusTransport {
        match self {
            Place::StandIn(kernel) => kernel.open().unwrap().transport().unwrap(),
            Place::Real(path) => XenbusTransport::open(path).unwrap(),
        }
    }

    fn asker(&self) -> Asker {
        Asker::new(self.transport())
    }

    /// A client that takes the device for a socket.
    fn naive(&self) -> Asker {
        let (inner, limits) = (self.transport(), Limits::default());
        Asker::new(Wrapped { inner, limits, gate: None })
    }
}

/// A guest's xenstored, and where the guest may write.
fn xenstored() -> Xenstored {
    let xenstored = Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]\n/local/domain/5/domid [n5] = 5").unwrap();
    xenstored
}

fn stand_in() -> Kernel {
    Kernel::new(&xenstored(), DomId::new(5))
}

/// Runs a test on each device there is.
fn on_each(test: impl Fn(&Place)) {
    test(&Place::StandIn(stand_in()));
    match env::var_os("XS_TEST_DEVICE") {
        Some(path) => test(&Place::Real(path.into())),
        None => eprintln!("only on the stand-in: XS_TEST_DEVICE is not set"),
    }
}

/// An open device, used without any care.
trait Raw {
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn fd(&self) -> BorrowedFd<'_>;
}

impl Raw for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buf)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl Raw for Device {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Device::write(self, bytes)
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Device::read(self, buf)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl dyn Raw + '_ {
    /// What poll(2) says; waits if `events` can be expected.
    fn poll(&self, events: i16, wait: bool) -> i16 {
        let timeout = if wait { HANGS.as_millis() as i32 } else { 0 };
        let mut fd = libc::pollfd { fd: self.fd().as_raw_fd(), events, revents: 0 };
        // SAFETY: the pointer is to one live pollfd.
        let n = unsafe { libc::poll(&raw mut fd, 1, timeout) };
        assert!(n > 0 || !wait, "nothing comes");
        fd.revents
    }

    /// Exactly so many bytes.
    fn bytes(&self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        let mut got = 0;
        while got < n {
            self.poll(libc::POLLIN, true);
            match self.read(&mut bytes[got..]) {
                Ok(n) => got += n,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        bytes
    }

    fn message(&self) -> (Header, Vec<u8>) {
        let header = Header::decode(self.bytes(Header::LEN).first_chunk().unwrap());
        (header, self.bytes(header.len as usize))
    }

    fn has_nothing(&self) -> bool {
        self.read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn ask(&self, msg_type: MessageType, payload: &[u8]) -> (Header, Vec<u8>) {
        self.write(&message(msg_type, 1, 0, payload)).unwrap();
        self.message()
    }

    fn set(&self, path: &str, value: &str) {
        let reply = self.ask(MessageType::Write, format!("{path}\0{value}").as_bytes());
        assert_eq!(reply.1, b"OK\0", "{path}");
    }

    fn is_usable(&self) -> bool {
        self.ask(MessageType::Read, b"domid\0").0.msg_type == MessageType::Read as u32
    }
}

fn message(msg_type: MessageType, req_id: u32, tx_id: u32, payload: &[u8]) -> Vec<u8> {
    let (req_id, tx_id, len) = (ReqId(req_id), TxId(tx_id), payload.len() as u32);
    let header = Header { msg_type: msg_type as u32, req_id, tx_id, len };
    [&header.encode(), payload].concat()
}

/// A device in disguise.
#[derive(Debug)]
struct Wrapped {
    inner: XenbusTransport,
    limits: Limits,
    /// Who sends does not come back until two receives have begun.
    gate: Option<Arc<Gate>>,
}

#[derive(Debug, Default)]
struct Gate {
    /// How many sends and receives there were.
    calls: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Gate {
    fn until(&self, reached: impl Fn(&(usize, usize)) -> bool) {
        let calls = self.calls.lock().unwrap();
        drop(self.changed.wait_while(calls, |calls| !reached(calls)).unwrap());
    }

    fn count(&self, change: impl Fn(&mut (usize, usize))) {
        change(&mut self.calls.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Transport for Wrapped {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let sent = self.inner.send(bytes);
        if let Some(gate) = &self.gate {
            gate.count(|(sends, _)| *sends += 1);
            gate.until(|(_, receives)| *receives >= 2);
        }
        sent
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        if let Some(gate) = &self.gate {
            gate.count(|(_, receives)| *receives += 1);
        }
        self.inner.recv(buf, wait)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(interest, deadline)
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn close(&self) {
        self.inner.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.inner.fd()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// One thread's client: enough to ask one thing after the other.
struct Asker(Drive<State>);

struct State {
    connection: ClientConnection<()>,
    replies: VecDeque<(ReqId, Reply<'static>)>,
    events: VecDeque<(String, Vec<u8>)>,
    failure: Option<String>,
}

impl Machine for State {
    fn has_output(&self) -> bool {
        self.connection.has_output()
    }

    fn take_output(&mut self, out: &mut BytesMut) {
        self.connection.take_output_into(out);
    }

    fn receive(&mut self, mut input: &[u8]) -> Result<(), ConnectionError> {
        while !input.is_empty() {
            let received = self.connection.receive(input)?;
            input = &input[received.consumed..];
            match received.event {
                Some(Event::Reply { req_id, reply, .. }) => {
                    self.replies.push_back((req_id, reply.into_owned()));
                }
                Some(Event::Watch { path, token }) => {
                    self.events.push_back((path.to_owned(), token.to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn refused(&mut self, code: ErrorCode) {
        if let Some((req_id, Some(()))) = self.connection.refused() {
            self.replies.push_back((req_id, Reply::Error(code)));
        }
    }

    fn end_of_input(&mut self) -> ConnectionError {
        self.connection.end_of_input()
    }

    fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.to_string());
    }
}

impl Asker {
    fn new(transport: impl Transport + 'static) -> Self {
        let connection = ClientConnection::new(transport.limits());
        let (replies, events) = (VecDeque::new(), VecDeque::new());
        let state = State { connection, replies, events, failure: None };
        Asker(Drive::new(Arc::new(transport), state, 8192))
    }

    fn until<T>(&self, mut done: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + HANGS;
        let mut guard = self.0.lock();
        loop {
            guard = self.0.flush(guard);
            if let Some(value) = done(&mut guard) {
                return value;
            }
            let turn;
            (guard, turn) = self.0.turn(guard, Wait::Until(Some(deadline)));
            assert!(Instant::now() < deadline, "nothing comes");
            assert_ne!(turn, Turn::Failed);
        }
    }

    /// Leaves at once, if it may.
    fn submit(&self, request: &Request<'_>) -> ReqId {
        let mut guard = self.0.lock();
        let req_id = guard.connection.submit(TxId::NONE, request, ()).unwrap();
        drop(self.0.flush(guard));
        req_id
    }

    fn reply(&self) -> (ReqId, Reply<'static>) {
        self.until(|state| state.replies.pop_front())
    }

    /// The connection is lost; says why.
    fn failure(&self) -> String {
        let mut guard = self.0.flush(self.0.lock());
        while guard.failure.is_none() {
            (guard, _) = self.0.turn(guard, Wait::Until(None));
        }
        guard.failure.clone().unwrap()
    }

    fn ask_in(&self, tx_id: TxId, request: &Request<'_>) -> Reply<'static> {
        let req_id = self.0.lock().connection.submit(tx_id, request, ()).unwrap();
        let (answered, reply) = self.reply();
        assert_eq!(answered, req_id);
        reply
    }

    fn ask(&self, request: &Request<'_>) -> Reply<'static> {
        self.ask_in(TxId::NONE, request)
    }

    fn read(&self, path: &str) -> Reply<'static> {
        self.ask(&Request::Read(node(path)))
    }

    fn write(&self, path: &str, value: &[u8]) -> Reply<'static> {
        self.ask(&Request::Write { path: node(path), value })
    }

    fn watch(&self, path: &str, token: &[u8]) -> Reply<'static> {
        self.ask(&Request::Watch { path: node(path), token, depth: None })
    }

    fn unwatch(&self, path: &str, token: &[u8]) -> Reply<'static> {
        self.ask(&Request::Unwatch { path: node(path), token })
    }

    fn event(&self) -> (String, Vec<u8>) {
        self.until(|state| state.events.pop_front())
    }
}

fn node(path: &str) -> Path<'_> {
    Path::new(path).unwrap()
}

/// Where every domain may write.
fn below(name: &str) -> String {
    format!("data/xs-test/{name}")
}

/// Two values, whose paths are of the same length.
fn two_values(device: &dyn Raw) -> [String; 2] {
    ["a", "b"].map(|name| {
        let path = below(name);
        device.set(&path, name);
        path
    })
}

#[test]
fn danger_a_second_request_spoils_the_first_one() {
    on_each(|place| {
        let device = place.raw();
        let [a, b] = two_values(&*device);
        let read = |req_id, path: &str| {
            message(MessageType::Read, req_id, 0, format!("{path}\0").as_bytes())
        };
        let is_stand_in = matches!(place, Place::StandIn(_));
        let rounds = if is_stand_in { 1 } else { 300 };
        let mut wrong = 0;
        for _ in 0..rounds {
            device.write(&read(1, &a)).unwrap();
            device.write(&read(2, &b)).unwrap();
            let replies = [device.message(), device.message()];
            assert_eq!(replies.each_ref().map(|(header, _)| header.req_id), [ReqId(1), ReqId(2)]);
            assert_eq!(replies[1].1, b"b");
            wrong += usize::from(replies[0].1 == b"b");
        }
        eprintln!("{wrong} of {rounds} got the value of another request");
        // The kernel may have been fast enough each time.
        assert!(wrong > 0 || !is_stand_in);
    });
}

#[test]
fn danger_a_naive_client_gets_wrong_values_and_ours_does_not() {
    let kernel = stand_in();
    let place = Place::StandIn(kernel.clone());
    let [a, b] = two_values(&*place.raw());
    let both = |asker: &Asker| {
        asker.submit(&Request::Read(node(&a)));
        asker.submit(&Request::Read(node(&b)));
        [asker.reply().1, asker.reply().1]
    };
    let value = |value: &'static [u8]| Reply::Value(value.into());
    assert_eq!(both(&place.asker()), [value(b"a"), value(b"b")]);
    assert_eq!(kernel.spoiled(), 0);
    assert_eq!(both(&place.naive()), [value(b"b"), value(b"b")]);
    assert_eq!(kernel.spoiled(), 1);
}

#[test]
fn danger_a_watch_behind_a_request_hangs_the_domain() {
    let kernel = stand_in();
    let place = Place::StandIn(kernel.clone());
    let path = below("a");
    let watch = Request::Watch { path: node(&path), token: b"t", depth: None };
    let ours = place.asker();
    ours.submit(&Request::Read(node("domid")));
    ours.submit(&watch);
    assert_eq!(ours.reply().1, Reply::Value(b"5".into()));
    assert_eq!(ours.reply().1, Reply::Done);

    let naive = place.naive();
    naive.submit(&Request::Read(node("domid")));
    naive.submit(&watch);
    assert!(naive.failure().contains("the kernel would hang"), "{}", naive.failure());
    // All of the domain is lost.
    assert!(ours.failure().contains("the kernel would hang"), "{}", ours.failure());
}

#[test]
fn danger_what_follows_the_first_message_is_dropped() {
    on_each(|place| {
        let device = place.raw();
        let both = [
            message(MessageType::Read, 1, 0, b"domid\0"),
            message(MessageType::Read, 2, 0, b"domid\0"),
        ]
        .concat();
        assert_eq!(device.write(&both).unwrap(), both.len());
        assert_eq!(device.message().0.req_id, ReqId(1));
        // If there were a second reply, it would come before this one.
        device.write(&message(MessageType::Read, 3, 0, b"domid\0")).unwrap();
        assert_eq!(device.message().0.req_id, ReqId(3));
    });

    // A client that gathers requests loses them; ours has all replies.
    let kernel = stand_in();
    let place = Place::StandIn(kernel.clone());
    let batch = |asker: &Asker| {
        let mut guard = asker.0.lock();
        for _ in 0..3 {
            let request = Request::Read(node("domid"));
            guard.connection.submit(TxId::NONE, &request, ()).unwrap();
        }
        drop(asker.0.flush(guard));
    };
    let ours = place.asker();
    batch(&ours);
    for _ in 0..3 {
        assert_eq!(ours.reply().1, Reply::Value(b"5".into()));
    }
    assert_eq!(kernel.spoiled(), 0);
    let naive = place.naive();
    batch(&naive);
    naive.reply();
    let (guard, _) = naive.0.turn(naive.0.lock(), Wait::No);
    assert_eq!(guard.connection.pending(), 2);
    assert!(guard.replies.is_empty());
    assert_eq!(kernel.spoiled(), 1);
}

#[test]
fn danger_a_read_of_length_0_never_ends() {
    let kernel = stand_in();
    let device = kernel.open().unwrap();
    assert!(device.read(&mut []).unwrap_err().to_string().contains("spin for ever"));
    assert!(device.write(&message(MessageType::Read, 1, 0, b"domid\0")).is_err());

    let transport = stand_in().open().unwrap().transport().unwrap();
    let error = transport.recv(&mut [], Wait::No).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(Asker::new(transport).read("domid"), Reply::Value(b"5".into()));
}

#[test]
fn danger_the_end_of_no_transaction_is_never_answered() {
    on_each(|place| {
        let device = place.raw();
        device.write(&message(MessageType::TransactionEnd, 1, 0, b"F\0")).unwrap();
        // Answered behind it, on another descriptor.
        assert!(place.raw().is_usable());
        assert!(device.has_nothing());
        assert!(device.is_usable());
        // The machine does not let it out.
        let request = Request::TransactionEnd { commit: false };
        let asker = place.asker();
        assert!(asker.0.lock().connection.submit(TxId::NONE, &request, ()).is_err());
    });
}

#[test]
fn danger_reset_watches_reaches_beyond_the_descriptor() {
    on_each(|place| {
        let (asker, other) = (place.asker(), place.asker());
        assert!(place.transport().limits().shared_session);
        let path = below("reset");
        assert_eq!(other.write(&path, b""), Reply::Done);
        assert_eq!(other.watch(&path, b"t"), Reply::Done);
        other.event();
        let Reply::Transaction(tx_id) = other.ask(&Request::TransactionStart) else { panic!() };

        assert_eq!(asker.ask(&Request::ResetWatches), Reply::Done);
        assert_eq!(asker.write(&path, b"1"), Reply::Done);
        let inside = other.ask_in(tx_id, &Request::Read(node(&path)));
        assert!(matches!(inside, Reply::Error(_)), "{inside:?}");
        assert!(other.0.lock().events.is_empty());
        // The kernel still knows both.
        assert_eq!(other.unwatch(&path, b"t"), Reply::Done);
        let end = other.ask_in(tx_id, &Request::TransactionEnd { commit: false });
        assert!(matches!(end, Reply::Error(_)), "{end:?}");
    });
}

#[test]
fn danger_a_refused_watch_looks_like_a_broken_device() {
    // Too long a path for the xenstored, not for us; oxenstored takes it.
    let path = format!("/{}", "x".repeat(3071));
    on_each(|place| {
        let device = place.raw();
        let watch = message(MessageType::Watch, 1, 0, format!("{path}\0t\0").as_bytes());
        match device.write(&watch) {
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL)),
            Ok(_) => assert!(matches!(place, Place::Real(_))),
        }
        drop(device);

        let asker = place.asker();
        let reply = asker.watch(&path, b"t");
        if matches!(place, Place::StandIn(_)) {
            assert_eq!(reply, Reply::Error(ErrorCode::Invalid));
        }
        assert!(matches!(asker.read("domid"), Reply::Value(_)));
    });
}

#[test]
fn danger_a_watch_beyond_the_quota_looks_like_a_broken_device() {
    on_each(|place| {
        let asker = place.asker();
        let path = below("many");
        let mut set = 0;
        let refused = loop {
            match asker.watch(&path, format!("t{set}").as_bytes()) {
                // dom0 has no quota.
                Reply::Done if set < 200 => set += 1,
                reply => break reply,
            }
        };
        eprintln!("after {set} watches: {refused:?}");
        assert!(matches!(asker.read("domid"), Reply::Value(_)));
        for n in 0..set {
            assert_eq!(asker.unwatch(&path, format!("t{n}").as_bytes()), Reply::Done);
        }
        assert_eq!(asker.watch(&path, b"t"), Reply::Done);
    });
}

#[test]
fn danger_a_first_event_may_come_before_the_reply() {
    let device = stand_in().open().unwrap();
    let device: &dyn Raw = &device;
    let mut first = Vec::new();
    for token in ["1", "2"] {
        let payload = format!("data/x\0{token}\0");
        device.write(&message(MessageType::Watch, 7, 0, payload.as_bytes())).unwrap();
        first.push(device.message().0.msg_type);
        device.message();
    }
    assert_eq!(first, [MessageType::Watch as u32, MessageType::WatchEvent as u32]);

    on_each(|place| {
        let asker = place.asker();
        let path = below("order");
        for token in ["1", "2", "3", "4"] {
            assert_eq!(asker.watch(&path, token.as_bytes()), Reply::Done);
            assert_eq!(asker.event(), (path.clone(), token.into()));
        }
    });
}

#[test]
fn danger_events_have_the_ids_of_requests() {
    let device = stand_in().open().unwrap();
    let device: &dyn Raw = &device;
    device.write(&message(MessageType::Watch, 7, 0, b"data/x\0t\0")).unwrap();
    assert_eq!(device.message().0.msg_type, MessageType::Watch as u32);
    let (header, payload) = device.message();
    assert_eq!(header.msg_type, MessageType::WatchEvent as u32);
    assert_eq!(header.req_id, ReqId(7));
    assert_ne!(header.tx_id, TxId::NONE);
    assert_eq!(payload, b"data/x\0t\0");
}

#[test]
fn danger_old_kernels_answer_watches_without_ids() {
    let kernel = stand_in().with_old_replies();
    let device = kernel.open().unwrap();
    let device: &dyn Raw = &device;
    let (header, _) = device.ask(MessageType::Watch, b"data/x\0t\0");
    assert_eq!((header.msg_type, header.req_id), (MessageType::Watch as u32, ReqId(0)));

    let asker = Place::StandIn(kernel).asker();
    let path = below("old");
    for token in [b"1", b"2"] {
        assert_eq!(asker.watch(&path, token), Reply::Done);
        assert_eq!(asker.event().1, token);
        assert_eq!(asker.write(&path, b""), Reply::Done);
        asker.event();
        assert_eq!(asker.unwatch(&path, token), Reply::Done);
        assert_eq!(asker.unwatch(&path, token), Reply::Done);
    }
}

#[test]
fn danger_nobody_says_that_it_can_be_written_to() {
    on_each(|place| {
        let device = place.raw();
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, false), 0);
        device.write(&message(MessageType::Read, 1, 0, b"domid\0")).unwrap();
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, true), libc::POLLIN);
        // As long as something is left.
        device.bytes(5);
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, false), libc::POLLIN);
        let header_and_rest = device.bytes(11);
        device.bytes(header_and_rest[7] as usize);
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, false), 0);
        place.transport().wait(Interest::Send, None).unwrap();
        place.transport().wait(Interest::Both, None).unwrap();
    });
}

#[test]
fn partial_writes_are_put_together_and_half_a_message_ends_with_the_device() {
    on_each(|place| {
        let device = place.raw();
        let read = message(MessageType::Read, 9, 0, b"domid\0");
        for split in 1..read.len() {
            assert_eq!(device.write(&read[..split]).unwrap(), split);
            assert!(device.has_nothing());
            device.write(&read[split..]).unwrap();
            assert_eq!(device.message().0.req_id, ReqId(9));
        }
        device.write(&read[..10]).unwrap();
        drop(device);
        assert!(place.raw().is_usable());
    });
}

#[test]
fn too_long_a_message_is_refused() {
    on_each(|place| {
        let device = place.raw();
        let long = message(MessageType::Write, 1, 0, &[b'x'; DEVICE_PAYLOAD_MAX + 1]);
        let error = device.write(&long).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(device.is_usable());
        let error = device.write(&long[..Header::LEN]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
        assert!(device.is_usable());

        // For whoever has not asked for the limits, it is an answer.
        let limits = Limits::default().with_one_at_a_time();
        let naive = Asker::new(Wrapped { inner: place.transport(), limits, gate: None });
        let path = below("long");
        let reply = naive.write(&path, &vec![b'x'; DEVICE_PAYLOAD_MAX - path.len()]);
        assert_eq!(reply, Reply::Error(ErrorCode::Invalid));
        assert!(matches!(naive.read("domid"), Reply::Value(_)));
    });
}

#[test]
fn a_request_as_long_as_may_be_goes_through() {
    on_each(|place| {
        let asker = place.asker();
        let path = below("large");
        let value = vec![b'x'; DEVICE_PAYLOAD_MAX - path.len() - 1];
        // Too much for a guest's quota, and well formed.
        let reply = asker.write(&path, &value);
        assert!(
            matches!(reply, Reply::Done | Reply::Error(ErrorCode::NoSpace | ErrorCode::TooBig)),
            "{reply:?}"
        );
        assert_eq!(asker.write(&path, b""), Reply::Done);
    });
}

#[test]
fn transactions_belong_to_their_device() {
    on_each(|place| {
        let (asker, other) = (place.asker(), place.asker());
        let path = below("tx");
        assert_eq!(asker.write(&path, b"0"), Reply::Done);
        let Reply::Transaction(tx_id) = asker.ask(&Request::TransactionStart) else { panic!() };
        let write = Request::Write { path: node(&path), value: b"1" };
        assert_eq!(asker.ask_in(tx_id, &write), Reply::Done);
        let no_entry = Reply::Error(ErrorCode::NoEntry);
        assert_eq!(other.ask_in(tx_id, &write), no_entry);
        let commit = Request::TransactionEnd { commit: true };
        assert_eq!(other.ask_in(tx_id, &commit), no_entry);
        assert_eq!(asker.ask_in(tx_id, &commit), Reply::Done);
        assert_eq!(asker.ask_in(tx_id, &commit), no_entry);
        assert_eq!(other.read(&path), Reply::Value(b"1".into()));

        // Closing aborts.
        let Reply::Transaction(tx_id) = asker.ask(&Request::TransactionStart) else { panic!() };
        let write = Request::Write { path: node(&path), value: b"2" };
        assert_eq!(asker.ask_in(tx_id, &write), Reply::Done);
        drop(asker);
        assert_eq!(other.read(&path), Reply::Value(b"1".into()));

        let device = place.raw();
        let (_, tx_id) = device.ask(MessageType::TransactionStart, b"\0");
        let tx_id = std::str::from_utf8(&tx_id).unwrap().trim_end_matches('\0').parse().unwrap();
        device.write(&message(MessageType::TransactionEnd, 1, tx_id, b"T")).unwrap();
        assert_eq!(device.message().1, b"EINVAL\0");
    });
}

#[test]
fn watches_fire_as_often_as_they_are_set() {
    on_each(|place| {
        let (watcher, writer) = (place.asker(), place.asker());
        let path = below("watched");
        let event = (path.clone(), b"token".to_vec());
        assert_eq!(writer.write(&path, b""), Reply::Done);
        for _ in 0..2 {
            assert_eq!(watcher.watch(&path, b"token"), Reply::Done);
            assert_eq!(watcher.event(), event);
        }
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert_eq!([watcher.event(), watcher.event()], [event.clone(), event.clone()]);
        assert_eq!(watcher.unwatch(&path, b"token"), Reply::Done);
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert_eq!(watcher.event(), event);
        // Of what is left, and of nothing.
        for _ in 0..2 {
            assert_eq!(watcher.unwatch(&path, b"token"), Reply::Done);
        }
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert!(matches!(watcher.read("domid"), Reply::Value(_)));
        assert!(watcher.0.lock().events.is_empty());
    });
}

#[test]
fn events_come_while_one_waits() {
    on_each(|place| {
        let (watcher, writer) = (place.asker(), place.asker());
        let path = below("waited");
        assert_eq!(watcher.watch(&path, b"t"), Reply::Done);
        watcher.event();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    watcher.event();
                    assert_eq!(watcher.write("data/xs-test/ack", b""), Reply::Done);
                }
            });
            let acks = place.asker();
            assert_eq!(acks.watch("data/xs-test/ack", b"ack"), Reply::Done);
            acks.event();
            for _ in 0..100 {
                assert_eq!(writer.write(&path, b"1"), Reply::Done);
                acks.event();
            }
        });
    });
}

#[test]
fn a_refusal_reaches_who_waits_while_another_thread_sends() {
    let path = format!("/{}", "x".repeat(3071));
    let watch = Request::Watch { path: node(&path), token: b"t", depth: None };
    let inner = stand_in().open().unwrap().transport().unwrap();
    let (limits, gate) = (inner.limits(), Arc::new(Gate::default()));
    let asker = Asker::new(Wrapped { inner, limits, gate: Some(gate.clone()) });
    thread::scope(|scope| {
        scope.spawn(|| asker.submit(&Request::Read(node("domid"))));
        gate.until(|(sends, _)| *sends == 1);
        // This thread finds somebody sending, receives the reply to the other's request, and waits
        // on. The other one sends the WATCH then, and learns of the refusal.
        asker.0.lock().connection.submit(TxId::NONE, &watch, ()).unwrap();
        assert_eq!(asker.reply().1, Reply::Value(b"5".into()));
        assert_eq!(asker.reply().1, Reply::Error(ErrorCode::Invalid));
    });
}

#[test]
fn closing_ends_a_wait() {
    on_each(|place| {
        let asker = place.asker();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| asker.failure());
            drop(asker.0.fail(asker.0.lock(), Failure::Closed));
            assert!(waiting.join().unwrap().contains("closed on this side"));
        });
    });
}

#[test]
fn it_ends_with_its_xenstored() {
    let xenstored = xenstored();
    let kernel = Kernel::new(&xenstored, DomId::new(5));
    let place = Place::StandIn(kernel);
    let [asker, watcher] = [place.asker(), place.asker()];
    xenstored.inject(Fault::close().on(MessageType::Write));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| watcher.failure());
        asker.submit(&Request::Write { path: node("data/x"), value: b"" });
        assert!(asker.failure().contains("closed the connection"), "{}", asker.failure());
        waiting.join().unwrap();
    });
}

#[test]
fn a_reply_may_take_its_time() {
    let xenstored = xenstored();
    let place = Place::StandIn(Kernel::new(&xenstored, DomId::new(5)));
    let asker = place.asker();
    let path = below("slow");
    for request in [
        Request::Read(node("domid")),
        Request::Watch { path: node(&path), token: b"t", depth: None },
    ] {
        let fault = xenstored.inject(Fault::delay().on(request.msg_type()));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| asker.ask(&request));
            while fault.hits() == 0 {
                thread::yield_now();
            }
            // Others go on meanwhile.
            assert_eq!(place.asker().read("domid"), Reply::Value(b"5".into()));
            fault.release();
            assert!(!matches!(waiting.join().unwrap(), Reply::Error(_)));
        });
    }
}

#[test]
fn after_a_resume_watches_fire_and_transactions_are_over() {
    let kernel = stand_in();
    let place = Place::StandIn(kernel.clone());
    let asker = place.asker();
    let path = below("resumed");
    assert_eq!(asker.write(&path, b""), Reply::Done);
    assert_eq!(asker.watch(&path, b"t"), Reply::Done);
    let event = asker.event();
    let [committed, aborted] = [(), ()].map(|()| {
        let Reply::Transaction(tx_id) = asker.ask(&Request::TransactionStart) else { panic!() };
        tx_id
    });
    kernel.resume();
    assert_eq!(asker.event(), event);
    let commit = Request::TransactionEnd { commit: true };
    assert_eq!(asker.ask_in(committed, &commit), Reply::Error(ErrorCode::Again));
    let abort = Request::TransactionEnd { commit: false };
    assert_eq!(asker.ask_in(aborted, &abort), Reply::Done);
    // As often as it takes.
    kernel.resume();
    assert_eq!(asker.event(), event);
    assert_eq!(asker.write(&path, b"1"), Reply::Done);
    assert_eq!(asker.event(), event);
}
