//! Compares the served in-memory xenstored with genuine daemons under the same loads, in turns.
//!
//! ```text
//! XS_BENCH_C_SOCKET=… XS_BENCH_OX_SOCKET=… \
//!     cargo bench -p xs-transport --features serve --bench daemons
//! ```
//!
//! The variables name dom0's sockets. A daemon without a socket is skipped.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use xs_proto::{DomId, Header, MessageType as Ty, ReqId, TxId};
use xs_transport::mock::{Server, Xenstored};

/// The number of pipelined requests on one connection.
const DEPTH: usize = 256;
/// The connections that run transactions, and the number of concurrent transactions on each.
const CLIENTS: usize = 4;
const TRANSACTIONS: usize = 32;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(300);

fn main() {
    let dir = std::env::temp_dir().join(format!("xs-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let socket = dir.join("socket");
    let mut server = Server::new(Xenstored::new()).expect("a server");
    server.bind(&socket, DomId::DOM0).expect("a socket");
    let stop = server.stop_handle();
    let thread = std::thread::spawn(move || server.run());

    let mut daemons = vec![("memory", Load::new(socket.to_str().expect("a plain path")))];
    for (name, variable) in [("C", "XS_BENCH_C_SOCKET"), ("OCaml", "XS_BENCH_OX_SOCKET")] {
        match std::env::var(variable) {
            Ok(path) => daemons.push((name, Load::new(&path))),
            Err(_) => println!("{variable} is not set: skipping {name}"),
        }
    }

    println!(
        "{:<28} {:>12}  genuine daemons, and the factor by which memory is faster",
        "", "memory"
    );
    for (what, run) in LOADS {
        let mut rates = vec![Vec::new(); daemons.len()];
        for _ in 0..ROUNDS {
            for ((_, load), rates) in daemons.iter_mut().zip(&mut rates) {
                let start = Instant::now();
                let mut done = 0;
                while start.elapsed() < ROUND {
                    done += run(load);
                }
                rates.push(done as f64 / start.elapsed().as_secs_f64());
            }
        }
        let middle = |rates: &mut Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        };
        let own = middle(&mut rates[0]);
        print!("{what:<28} {own:>10.0}/s");
        for ((name, _), rates) in daemons.iter().zip(&mut rates).skip(1) {
            let other = middle(rates);
            print!("  {name} {other:>9.0}/s = {:>5.1} x", own / other);
        }
        println!();
    }

    for (_, load) in &mut daemons {
        let remove = message(Ty::Rm, 0, b"/bench\0");
        load.clients[0].write_all(&remove).expect("a socket");
        load.replies(0, 1, |_| {});
    }
    drop(daemons);
    stop.stop();
    thread.join().expect("no panic").expect("a clean end");
    std::fs::remove_dir(&dir).expect("nothing left behind");
}

type Run = fn(&mut Load) -> usize;

const LOADS: [(&str, Run); 5] = [
    ("reads, pipelined", |load| load.batch(Ty::Read)),
    ("writes, pipelined", |load| load.batch(Ty::Write)),
    ("transactions, 4 clients", Load::transactions),
    ("reads, one blocking client", |load| load.blocking(Ty::Read)),
    ("writes, one blocking client", |load| load.blocking(Ty::Write)),
];

struct Load {
    clients: Vec<UnixStream>,
    reads: Vec<u8>,
    writes: Vec<u8>,
    buffer: Vec<u8>,
}

impl Load {
    fn new(socket: &str) -> Self {
        let connect = |_| UnixStream::connect(socket).expect("a daemon");
        let many = |ty: Ty, value: &str| {
            let path = |at| format!("/bench/{}\0{value}", at % 20);
            (0..DEPTH).flat_map(|at| message(ty, 0, path(at).as_bytes())).collect::<Vec<_>>()
        };
        let mut load = Load {
            clients: (0..CLIENTS).map(connect).collect(),
            reads: many(Ty::Read, ""),
            writes: many(Ty::Write, "a value"),
            buffer: vec![0; 1 << 18],
        };
        load.batch(Ty::Write);
        for client in 0..CLIENTS {
            for at in 0..TRANSACTIONS {
                let request = message(Ty::Write, 0, (own(client, at) + "x").as_bytes());
                load.clients[client].write_all(&request).expect("a socket");
                load.replies(client, 1, |_| {});
            }
        }
        load
    }

    /// Sends pipelined requests and waits for all replies.
    fn batch(&mut self, ty: Ty) -> usize {
        let requests = if ty == Ty::Read { &self.reads } else { &self.writes };
        self.clients[0].write_all(requests).expect("a socket");
        self.replies(0, DEPTH, |_| {});
        DEPTH
    }

    fn blocking(&mut self, ty: Ty) -> usize {
        let request = message(ty, 0, if ty == Ty::Read { b"/bench/1\0" } else { b"/bench/1\0new" });
        self.clients[0].write_all(&request).expect("a socket");
        self.replies(0, 1, |_| {});
        1
    }

    /// Runs concurrent transactions. Each reads and writes its own node.
    fn transactions(&mut self) -> usize {
        let start = message(Ty::TransactionStart, 0, b"\0").repeat(TRANSACTIONS);
        for client in &mut self.clients {
            client.write_all(&start).expect("a socket");
        }
        let mut ids = Vec::with_capacity(TRANSACTIONS);
        let mut requests = Vec::new();
        for client in 0..CLIENTS {
            ids.clear();
            self.replies(client, TRANSACTIONS, |payload| {
                let text = std::str::from_utf8(&payload[..payload.len() - 1]).expect("a number");
                ids.push(text.parse().expect("a number"));
            });
            requests.clear();
            for (at, id) in ids.iter().enumerate() {
                let own = own(client, at);
                requests.extend(message(Ty::Read, *id, own.as_bytes()));
                requests.extend(message(Ty::Write, *id, (own + "y").as_bytes()));
                requests.extend(message(Ty::TransactionEnd, *id, b"T\0"));
            }
            self.clients[client].write_all(&requests).expect("a socket");
        }
        for client in 0..CLIENTS {
            self.replies(client, 3 * TRANSACTIONS, |_| {});
        }
        CLIENTS * TRANSACTIONS
    }

    /// Reads `count` replies and passes their payloads to `with`. Panics on an error reply.
    fn replies(&mut self, client: usize, count: usize, mut with: impl FnMut(&[u8])) {
        let (mut start, mut end) = (0, 0);
        for _ in 0..count {
            loop {
                let have = &self.buffer[start..end];
                let header = have.first_chunk().map(Header::decode);
                let len = header.map_or(Header::LEN, |header| Header::LEN + header.len as usize);
                if let (Some(header), true) = (header, have.len() >= len) {
                    let payload = &have[Header::LEN..len];
                    let is_error = header.msg_type == Ty::Error as u32;
                    assert!(!is_error, "{}", payload.escape_ascii());
                    with(payload);
                    start += len;
                    break;
                }
                if self.buffer.len() - end < 1 << 16 {
                    self.buffer.copy_within(start..end, 0);
                    (start, end) = (0, end - start);
                }
                let n = self.clients[client].read(&mut self.buffer[end..]).expect("a socket");
                assert_ne!(n, 0, "the daemon closed the connection");
                end += n;
            }
        }
    }
}

fn own(client: usize, at: usize) -> String {
    format!("/bench/own-{client}/{at}\0")
}

fn message(ty: Ty, tx: u32, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let header = Header { msg_type: ty as u32, req_id: ReqId(1), tx_id: TxId(tx), len };
    [&header.encode(), payload].concat()
}
