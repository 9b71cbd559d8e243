//! What the client adds to a round trip: a blocking read beside a bare write and read of the same
//! bytes, and a batch beside a bare pipelined loop.
//!
//! ```text
//! taskset -c 0 cargo bench -p xs-client --bench blocking
//! ```
//!
//! Against the daemon of `$XS_BENCH_SOCKET`, or else against an in-memory xenstored that is served
//! by a thread. It may be the kernel's device, where nothing is pipelined, in dom0; `$XS_BENCH_READS`
//! makes the rounds shorter there. All contenders take turns in one run; ratios are medians over the rounds, by time.

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

const PATH: &str = "/bench/key";
const VALUE: &[u8] = b"a value of usual length";
const ROUNDS: usize = 21;
const BATCH: usize = 100;

fn main() {
    let socket = match std::env::var_os("XS_BENCH_SOCKET") {
        Some(path) => PathBuf::from(path),
        None => serve(),
    };
    let reads =
        std::env::var("XS_BENCH_READS").map_or(2000, |reads| reads.parse().expect("a number"));
    // The device takes one request at a time.
    let is_device = socket.metadata().is_ok_and(|file| file.file_type().is_char_device());
    let batch = BATCH.min(reads);
    let together = if is_device { 1 } else { batch };
    println!("against {}", socket.display());
    let client = Client::open_at(&socket).expect("a xenstored");
    client.write(PATH, VALUE).expect("to write");
    let watching = Client::open_at(&socket).expect("a xenstored");
    let _watch = watching.watch("/bench/watched").expect("to watch");
    let calling = Client::open_at(&socket).expect("a xenstored");
    calling.watch_with("/bench/watched", drop).expect("to watch");
    let mut bare = Bare::new(&socket);

    let read = |client: &Client| {
        for _ in 0..reads {
            assert_eq!(client.read(PATH).expect("to read"), VALUE);
        }
    };
    compare(
        "one blocking read",
        reads,
        &mut [
            ("bare write and read", &mut || (0..reads).for_each(|_| bare.round_trip(1))),
            ("read", &mut || read(&client)),
            ("read, a watch held by iterator", &mut || read(&watching)),
            ("read, a callback thread running", &mut || read(&calling)),
        ],
    );

    let mut bare = Bare::new(&socket);
    compare(
        "100 reads at once",
        reads,
        &mut [
            (if is_device { "bare loop" } else { "bare pipelined loop" }, &mut || {
                (0..reads / together).for_each(|_| bare.round_trip(together))
            }),
            ("read_many", &mut || {
                for _ in 0..reads / batch {
                    let values = client.read_many(vec![PATH; batch]);
                    assert!(values.iter().all(|value| value.as_deref().is_ok_and(|v| v == VALUE)));
                }
            }),
        ],
    );
    client.rm("/bench").expect("to clean up");
}

type Contender<'a> = (&'a str, &'a mut dyn FnMut());

/// The first one is what the others are measured by.
fn compare(title: &str, count: usize, contenders: &mut [Contender<'_>]) {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=ROUNDS {
        for (times, (_, run)) in times.iter_mut().zip(contenders.iter_mut()) {
            let start = Instant::now();
            run();
            // The first round warms up.
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

/// The floor: the same messages, without looking at what comes back.
struct Bare {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Bare {
    fn new(socket: &PathBuf) -> Self {
        let len = PATH.len() as u32 + 1;
        let header =
            Header { msg_type: MessageType::Read as u32, req_id: ReqId(1), tx_id: TxId::NONE, len };
        let request = [&header.encode(), PATH.as_bytes(), b"\0"].concat();
        let stream: Box<dyn Stream> = match UnixStream::connect(socket) {
            Ok(stream) => Box::new(stream),
            Err(_) => {
                let device = File::options().read(true).write(true).open(socket);
                Box::new(device.expect("a xenstored"))
            }
        };
        Bare { stream, request, reply: vec![0; 64 * 1024] }
    }

    fn round_trip(&mut self, count: usize) {
        let requests = self.request.repeat(count);
        self.stream.write_all(&requests).expect("to send");
        let mut left = count * (Header::LEN + VALUE.len());
        while left > 0 {
            left -= self.stream.read(&mut self.reply).expect("to receive");
        }
    }
}

fn serve() -> PathBuf {
    let path = std::env::temp_dir().join(format!("xs-bench-{}", std::process::id()));
    let mut server = Server::new(Xenstored::new()).expect("a server");
    server.bind(&path, DomId::DOM0).expect("a socket");
    thread::spawn(move || server.run());
    path
}
