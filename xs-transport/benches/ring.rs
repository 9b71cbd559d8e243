//! Measures a ring in memory: its bytes beside memcpy and a Unix socket, and requests to the in-memory
//! xenstored over a ring beside a pipe and a Unix socket. All take turns in one run.
//!
//! `cargo bench -p xs-transport --features serve --bench ring`

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::ring::{RingClient, RingPage, RingServer};
use xs_proto::{DomId, Features, Header, MessageType, ReqId, TxId};
use xs_transport::mock::{Server, Xenstored};
use xs_transport::ring::{EventChannel, MemoryChannel, RingEndpoint};
use xs_transport::{Interest, Sent, Transport, UnixTransport, Wait};

const ROUNDS: usize = 11;

/// How many bytes pass in each round.
const BYTES: usize = 4 << 20;

/// How many requests are sent in each round.
const REQUESTS: usize = 4_096;

/// Runs an alternative once, and returns how many units it has done.
type Run = Box<dyn FnMut() -> usize>;

fn main() {
    println!("{BYTES} bytes, of which the sender has 16 KiB at a time:");
    let chunk = vec![7; 16 << 10];
    let mut alternatives: Vec<(&str, Run)> = vec![
        ("memcpy, 1 KiB at a time", {
            let (mut to, chunk) = ([0; 1024], chunk.clone());
            Box::new(move || {
                for piece in chunk.chunks(1024).cycle().take(BYTES / 1024) {
                    black_box(&mut to).copy_from_slice(black_box(piece));
                }
                BYTES
            })
        }),
        ("both ends of a ring, one thread", {
            let chunk = chunk.clone();
            Box::new(move || one_thread(&chunk))
        }),
        ("ring, two threads and an event channel", {
            let chunk = chunk.clone();
            Box::new(move || two_threads(&chunk))
        }),
        ("Unix socket, two threads", Box::new(move || socket(&chunk))),
    ];
    print(measure(&mut alternatives), "MB/s", 1e6);

    let xenstored = Xenstored::new();
    xenstored.set("/empty", "").expect("it is a path");
    let dir = std::env::temp_dir().join(format!("xs-bench-ring-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the directory can be created");
    let path = dir.join("socket");
    let mut server = Server::new(xenstored.clone()).expect("descriptors are available");
    server.bind(&path, DomId::DOM0).expect("the path is free");
    let stop = server.stop_handle();
    let serving = thread::spawn(move || server.run());
    for in_flight in [1, 16] {
        println!("\n{REQUESTS} reads of a node, {in_flight} in flight:");
        let pipe = xenstored.connect(DomId::DOM0);
        let ring = xenstored.ring(DomId::DOM0).and_then(|ring| ring.connect());
        let ring = ring.expect("threads are available");
        let socket = UnixTransport::connect(&path, Duration::from_secs(10)).expect("it listens");
        let mut alternatives: Vec<(&str, Run)> = vec![
            ("pipe, which needs no thread", Box::new(move || requests(&pipe, in_flight))),
            ("ring", Box::new(move || requests(&ring, in_flight))),
            ("Unix socket", Box::new(move || requests(&socket, in_flight))),
        ];
        print(measure(&mut alternatives), "thousand/s", 1e3);
    }
    stop.stop();
    serving.join().expect("no panic").expect("the server runs");
    let _ = std::fs::remove_dir_all(&dir);
}

/// Runs the alternatives in turn, and returns for each of them the median of its units per second.
fn measure<'a>(alternatives: &mut [(&'a str, Run)]) -> Vec<(&'a str, f64)> {
    let mut rates = vec![Vec::new(); alternatives.len()];
    for _ in 0..ROUNDS {
        for ((_, run), rates) in alternatives.iter_mut().zip(&mut rates) {
            let start = Instant::now();
            let units = run();
            rates.push(units as f64 / start.elapsed().as_secs_f64());
        }
    }
    let names = alternatives.iter().map(|(name, _)| *name);
    let medians = rates.into_iter().map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    names.zip(medians).collect()
}

fn print(rates: Vec<(&str, f64)>, unit: &str, scale: f64) {
    let first = rates[0].1;
    println!("  {:40} {unit:>12}    ratio", "");
    for (name, rate) in rates {
        println!("  {name:40} {:12.1} {:8.2}", rate / scale, first / rate);
    }
}

fn one_thread(chunk: &[u8]) -> usize {
    let page = RingPage::new();
    let mut server = RingServer::new(&page, Features::NONE).expect("the page is new");
    let mut client = RingClient::new(&page);
    let (mut received, mut buf) = (0, [0; 1024]);
    while received < BYTES {
        let sent = client.send(black_box(chunk)).expect("the ring is not broken");
        received += server.receive(&mut buf).expect("the ring is not broken");
        black_box((&buf, sent));
    }
    received
}

fn two_threads(chunk: &[u8]) -> usize {
    let page = Arc::new(RingPage::new());
    let (ours, theirs) = MemoryChannel::pair();
    let mut server = RingServer::new(page.clone(), Features::NONE).expect("the page is new");
    let transport = RingEndpoint::new(page, ours, "a ring").connect().expect("it is the first");
    let receiver = thread::spawn(move || {
        let (mut received, mut buf) = (0, [0; 1024]);
        while received < BYTES {
            theirs.clear().expect("the other end is there");
            let len = server.receive(&mut buf).expect("the ring is not broken");
            black_box(&buf);
            received += len;
            if server.must_notify() {
                let _ = theirs.notify();
            }
            if len == 0 {
                theirs.wait(None).expect("the other end is there");
            }
        }
        // The channel stays open until the sender has finished.
        (received, theirs)
    });
    let mut left = BYTES;
    while left > 0 {
        match transport.send(&chunk[..chunk.len().min(left)]) {
            Ok(Sent::Bytes(n)) => left -= n,
            Ok(Sent::Refused(_)) => unreachable!("a ring refuses nothing"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                transport.wait(Interest::Send, None).expect("the ring is not broken");
            }
            Err(error) => panic!("{error}"),
        }
    }
    receiver.join().expect("no panic").0
}

fn socket(chunk: &[u8]) -> usize {
    let (mut ours, mut theirs) = UnixStream::pair().expect("descriptors are available");
    let receiver = thread::spawn(move || {
        let (mut received, mut buf) = (0, [0; 1024]);
        while received < BYTES {
            received += theirs.read(&mut buf).expect("the other end is open");
            black_box(&buf);
        }
        received
    });
    for _ in 0..BYTES / chunk.len() {
        ours.write_all(chunk).expect("the other end is open");
    }
    receiver.join().expect("no panic")
}

/// Sends reads of one node, so many at a time, and receives the replies.
fn requests(transport: &dyn Transport, in_flight: usize) -> usize {
    let payload = b"/empty\0";
    let (req_id, len) = (ReqId(1), payload.len() as u32);
    let header = Header { msg_type: MessageType::Read as u32, req_id, tx_id: TxId::NONE, len };
    let batch = [&header.encode()[..], payload].concat().repeat(in_flight);
    let mut buf = [0; 4096];
    for _ in 0..REQUESTS / in_flight {
        // The value is empty, so that each reply is a header.
        let (mut unsent, mut missing) = (&batch[..], in_flight * Header::LEN);
        while missing > 0 {
            if !unsent.is_empty() {
                match transport.send(unsent) {
                    Ok(Sent::Bytes(n)) => unsent = &unsent[n..],
                    Ok(Sent::Refused(_)) => unreachable!("nothing is refused"),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
            match transport.recv(&mut buf, Wait::Until(None)) {
                Ok(n) => missing -= n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    REQUESTS
}
