//! Measures the overhead of the client: a blocking read compared with a bare write and read of the
//! same bytes, and a batch compared with a bare pipelined loop.
//!
//! ```text
//! taskset -c 0 cargo bench -p xs-client --bench blocking
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `XS_BENCH_SOCKET` | socket or device of the daemon; without it, a thread serves an in-memory xenstored |
//! | `XS_BENCH_PATH` | node that is read, `/bench/key` by default; guests may use `data/bench` |
//! | `XS_BENCH_READS` | reads in each round, 2000 by default; fewer suit the kernel's device, which is slow |
//!
//! The contenders take turns in each round. Ratios are medians over the rounds.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId};
use xs_proto::{Header, MessageType, ReqId, TxId};
use xs_transport::mock::{Server, Xenstored};

const VALUE: &[u8] = b"a value of usual length";
/// Measured rounds, after one to warm up.
const ROUNDS: usize = 21;
const BATCH: usize = 100;

fn main() {
    let path = std::env::var("XS_BENCH_PATH").unwrap_or_else(|_| "/bench/key".into());
    let path = path.as_str();
    let watched = format!("{path}-watched");
    let socket = match std::env::var_os("XS_BENCH_SOCKET") {
        Some(path) => PathBuf::from(path),
        None => serve(),
    };
    let reads = std::env::var("XS_BENCH_READS")
        .map_or(2000, |reads| reads.parse().expect("XS_BENCH_READS is a number"));
    // The device accepts one request at a time: nothing can be pipelined.
    let is_device = socket.metadata().is_ok_and(|file| file.file_type().is_char_device());
    let batch = BATCH.min(reads);
    let pipelined = if is_device { 1 } else { batch };
    println!("daemon: {}", socket.display());
    let client = Client::open_at(&socket).expect("xenstored is running");
    client.write(path, VALUE).expect("write succeeds");
    let watching = Client::open_at(&socket).expect("xenstored is running");
    let _watch = watching.watch(&watched).expect("watch succeeds");
    let calling = Client::open_at(&socket).expect("xenstored is running");
    calling.watch_with(&watched, drop).expect("watch succeeds");
    let mut bare = Bare::new(&socket, path);

    let read = |client: &Client| {
        for _ in 0..reads {
            assert_eq!(client.read(path).expect("read succeeds"), VALUE);
        }
    };
    compare(
        "one blocking read",
        reads,
        &mut [
            ("bare write and read", &mut || (0..reads).for_each(|_| bare.round_trip(1))),
            ("read", &mut || read(&client)),
            ("read, with a watch by iterator", &mut || read(&watching)),
            ("read, with a callback thread", &mut || read(&calling)),
        ],
    );

    let mut bare = Bare::new(&socket, path);
    compare(
        "100 reads in a batch",
        reads,
        &mut [
            (if is_device { "bare loop" } else { "bare pipelined loop" }, &mut || {
                (0..reads / pipelined).for_each(|_| bare.round_trip(pipelined))
            }),
            ("read_many", &mut || {
                for _ in 0..reads / batch {
                    let values = client.read_many(vec![path; batch]);
                    assert!(values.iter().all(|value| value.as_deref().is_ok_and(|v| v == VALUE)));
                }
            }),
        ],
    );
    client.rm(path).expect("rm succeeds");
}

type Contender<'a> = (&'a str, &'a mut dyn FnMut());

/// Prints the time of each contender, and its ratio to the first one.
fn compare(title: &str, count: usize, contenders: &mut [Contender<'_>]) {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=ROUNDS {
        for (times, (_, run)) in times.iter_mut().zip(contenders.iter_mut()) {
            let start = Instant::now();
            run();
            // The first round is a warm-up.
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    println!("\n{title}");
    println!("{:36}{:>10}{:>9}{:>16}", "", "us each", "ratio", "spread");
    for (times_of_one, (name, _)) in times.iter().zip(contenders.iter()) {
        let mut ratios: Vec<_> = times_of_one
            .iter()
            .zip(&times[0])
            .map(|(one, floor)| one.as_secs_f64() / floor.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let mut sorted: Vec<Duration> = times_of_one.clone();
        sorted.sort();
        println!(
            "  {name:34}{:10.2}{:9.3}{:8.3} –{:6.3}",
            sorted[sorted.len() / 2].as_secs_f64() * 1e6 / count as f64,
            ratios[ratios.len() / 2],
            ratios[ratios.len() / 4],
            ratios[ratios.len() * 3 / 4],
        );
    }
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A connection that sends the same messages, and counts the bytes of the replies without decoding
/// them.
struct Bare {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Bare {
    fn new(socket: &PathBuf, path: &str) -> Self {
        let len = path.len() as u32 + 1;
        let header =
            Header { msg_type: MessageType::Read as u32, req_id: ReqId(1), tx_id: TxId::NONE, len };
        let request = [&header.encode(), path.as_bytes(), b"\0"].concat();
        let stream: Box<dyn Stream> = match UnixStream::connect(socket) {
            Ok(stream) => Box::new(stream),
            Err(_) => {
                let device = File::options().read(true).write(true).open(socket);
                Box::new(device.expect("xenstored is running"))
            }
        };
        Bare { stream, request, reply: vec![0; 64 * 1024] }
    }

    fn round_trip(&mut self, count: usize) {
        let requests = self.request.repeat(count);
        self.stream.write_all(&requests).expect("send succeeds");
        let mut left = count * (Header::LEN + VALUE.len());
        while left > 0 {
            left -= self.stream.read(&mut self.reply).expect("receive succeeds");
        }
    }
}

fn serve() -> PathBuf {
    let path = std::env::temp_dir().join(format!("xs-bench-{}", std::process::id()));
    let mut server = Server::new(Xenstored::new()).expect("server starts");
    server.bind(&path, DomId::DOM0).expect("socket is bound");
    thread::spawn(move || server.run());
    path
}
