//! What is counted by `instructions.sh`, beside this file: COUNT times JOB on the xenstored at SOCKET.
//!
//! ```text
//! xs-client/benches/instructions/instructions.sh [SOCKET]
//! ```
//!
//! Run by itself it shows nothing: one run costs whatever a process costs, and only the difference
//! of two says what the operations do.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use xs_client::{Client, DomId};
use xs_proto::{ClientConnection, Event, Header, Limits, MessageType, Reply, ReqId, Request, TxId};
use xs_transport::mock::{Server, Xenstored};

const PATH: &str = "/local/domain/5/device/vif/0/state";
const VALUE: &[u8] = b"4";
const BATCH: usize = 100;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        ["serve", socket] => serve(Path::new(socket)),
        ["prepare", socket] => open(socket).write(PATH, VALUE).expect("to write"),
        [job, socket, count] => run(job, socket, count.parse().expect("a count")),
        _ => println!("see xs-client/benches/instructions/instructions.sh"),
    }
}

fn run(job: &str, socket: &str, count: usize) {
    match job {
        "read" => read(&open(socket), count),
        "read-without-timeout" => read(&open(socket).with_timeout(None), count),
        "read-short-timeout" => read(&open(socket).with_timeout(Duration::from_secs(1)), count),
        "read-with-watch" => {
            let client = open(socket);
            let _watch = client.watch("/watched").expect("to watch");
            read(&client, count);
        }
        "read-with-callback" => {
            let client = open(socket);
            client.watch_with("/watched", drop).expect("to watch");
            read(&client, count);
        }
        "read-in-batch" => {
            let client = open(socket);
            for _ in 0..count / BATCH {
                black_box(client.read_many([PATH; BATCH]));
            }
        }
        "write" => {
            let client = open(socket);
            (0..count).for_each(|_| client.write(PATH, VALUE).expect("to write"));
        }
        #[cfg(all(feature = "futures", feature = "mio"))]
        "read-async" => runtime::read(open(socket), count),
        "bare" => bare(socket, count),
        "bare-matched" => bare_matched(socket, count),
        "machine-1" => machine(1, count),
        "machine-4096" => machine(4096, count),
        other => panic!("there is no job {other}"),
    }
}

fn open(socket: &str) -> Client {
    Client::open_at(socket).expect("a xenstored")
}

fn read(client: &Client, count: usize) {
    for _ in 0..count {
        assert_eq!(client.read(black_box(PATH)).expect("to read"), VALUE);
    }
}

fn serve(socket: &Path) {
    let mut server = Server::new(Xenstored::new()).expect("a server");
    server.bind(PathBuf::from(socket), DomId::DOM0).expect("a socket");
    server.run().expect("to serve");
}

/// What nobody can do without: a valid path, one write, one read, a look at the header, a value of
/// one's own; and a lock that is not held meanwhile.
fn bare(socket: &str, count: usize) {
    let mut stream = UnixStream::connect(socket).expect("a xenstored");
    let state = Mutex::new((Vec::new(), vec![0; 4096]));
    let locked = || state.lock().expect("no panic");
    for _ in 0..count {
        let path = xs_proto::Path::new(black_box(PATH)).expect("a valid path");
        let len = path.as_str().len() as u32 + 1;
        let (msg_type, req_id) = (MessageType::Read as u32, ReqId(1));
        let header = Header { msg_type, req_id, tx_id: TxId::NONE, len };
        let mut guard = locked();
        let mut out = std::mem::take(&mut guard.0);
        drop(guard);
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(path.as_str().as_bytes());
        out.push(0);
        stream.write_all(&out).expect("to send");
        out.clear();
        let mut guard = locked();
        guard.0 = out;
        let mut buffer = std::mem::take(&mut guard.1);
        drop(guard);
        let mut came = 0;
        while came < Header::LEN + VALUE.len() {
            came += stream.read(&mut buffer[came..]).expect("to receive");
        }
        let header = buffer.first_chunk().map(Header::decode).expect("a header");
        assert_eq!((header.msg_type, header.req_id), (msg_type, req_id));
        let value = buffer[Header::LEN..came].to_vec();
        locked().1 = buffer;
        assert_eq!(value, VALUE);
    }
}

/// The same with what lets many requests be under way, each with a deadline: the machine that
/// matches answers to them, and a look at the clock.
fn bare_matched(socket: &str, count: usize) {
    struct Shared {
        machine: ClientConnection<usize>,
        out: BytesMut,
        buffer: Vec<u8>,
    }
    let mut stream = UnixStream::connect(socket).expect("a xenstored");
    let machine = ClientConnection::new(Limits::default());
    let state = Mutex::new(Shared { machine, out: BytesMut::new(), buffer: vec![0; 4096] });
    let locked = || state.lock().expect("no panic");
    for at in 0..count {
        let path = xs_proto::Path::new(black_box(PATH)).expect("a valid path");
        let deadline = black_box(Instant::now() + Duration::from_secs(60));
        let mut guard = locked();
        guard.machine.submit(TxId::NONE, &Request::Read(path), at).expect("there is room");
        let mut out = std::mem::take(&mut guard.out);
        guard.machine.take_output_into(&mut out);
        drop(guard);
        stream.write_all(&out).expect("to send");
        let mut guard = locked();
        guard.out = out;
        let mut buffer = std::mem::take(&mut guard.buffer);
        drop(guard);
        let mut value = None;
        while value.is_none() {
            let len = stream.read(&mut buffer).expect("to receive");
            let mut guard = locked();
            let mut input = &buffer[..len];
            while !input.is_empty() {
                let received = guard.machine.receive(input).expect("a valid reply");
                input = &input[received.consumed..];
                match received.event {
                    Some(Event::Reply { key, reply: Reply::Value(bytes), .. }) if key == at => {
                        value = Some(bytes.into_owned());
                    }
                    None => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        locked().buffer = buffer;
        assert_eq!(value.as_deref(), Some(VALUE));
        black_box(deadline);
    }
}

/// `count` requests through the machine alone, with so many in flight all the while.
fn machine(in_flight: usize, count: usize) {
    let mut client = ClientConnection::new(Limits::default());
    let request = Request::Read(xs_proto::Path::new(PATH).expect("a valid path"));
    let submit = |client: &mut ClientConnection<usize>| {
        client.submit(TxId::NONE, black_box(&request), 0).expect("there is room")
    };
    let mut ids: std::collections::VecDeque<ReqId> =
        (1..in_flight).map(|_| submit(&mut client)).collect();
    let mut out = client.take_output();
    for _ in 0..count {
        ids.push_back(submit(&mut client));
        client.take_output_into(&mut out);
        black_box(&out);
        let req_id = ids.pop_front().expect("one is in flight");
        let msg_type = MessageType::Read as u32;
        let header = Header { msg_type, req_id, tx_id: TxId::NONE, len: VALUE.len() as u32 };
        let mut message = [0; Header::LEN + VALUE.len()];
        message[..Header::LEN].copy_from_slice(&header.encode());
        message[Header::LEN..].copy_from_slice(VALUE);
        black_box(client.receive(&message).expect("a fine reply"));
    }
}

/// As little of a runtime as there can be: one future, the driver beside it, and epoll.
#[cfg(all(feature = "futures", feature = "mio"))]
mod runtime {
    use std::future::Future;
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Instant;

    use mio::unix::SourceFd;
    use mio::{Events, Registry, Token};
    use xs_client::futures::{Client, Reactor};
    use xs_transport::Interest;

    struct Epoll {
        registry: Registry,
        fd: Option<OwnedFd>,
    }

    impl Reactor for Epoll {
        fn register(&mut self, fd: OwnedFd) -> io::Result<()> {
            let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
            self.registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(0), interest)?;
            self.fd = Some(fd);
            Ok(())
        }

        fn poll_io(
            &mut self,
            _: &mut Context<'_>,
            _: Interest,
            attempt: &mut dyn FnMut() -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                result => Poll::Ready(result),
            }
        }

        fn poll_timer(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
            Poll::Pending
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(client: xs_client::Client, count: usize) {
        let mut poll = mio::Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("epoll");
        let reactor = Epoll { registry, fd: None };
        let (client, driver) = Client::with_reactor(client, reactor).expect("to register");
        let mut driver = pin!(driver);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut events = Events::with_capacity(8);
        for _ in 0..count {
            let mut read = pin!(client.read(super::PATH));
            let value = loop {
                if let Poll::Ready(value) = read.as_mut().poll(&mut cx) {
                    break value;
                }
                if !woken.0.swap(false, Ordering::Relaxed) {
                    poll.poll(&mut events, None).expect("to wait");
                }
                assert!(Pin::as_mut(&mut driver).poll(&mut cx).is_pending());
            };
            assert_eq!(value.expect("to read"), super::VALUE);
        }
    }
}
