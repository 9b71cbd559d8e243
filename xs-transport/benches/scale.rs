//! Measures the cost of a large store: the same requests on a small and on a large store, in turns.
//!
//! `cargo bench -p xs-transport --features serve --bench scale`
//!
//! Requests are encoded messages through a pipe, unless the label says otherwise. The figures
//! include the costs of the client.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use xs_proto::{DomId, Header, MessageType as Ty, ReqId, TxId};
use xs_transport::mock::{Pipe, Server, Xenstored};
use xs_transport::{Transport, Wait};

const SMALL: usize = 1_000;
const BIG: usize = 1_000_000;
const WATCHES: usize = 100_000;
const DIRECTORIES: [usize; 3] = [2_000, 20_000, 200_000];

fn main() {
    let before = resident();
    let big = Store::new(BIG);
    let per_node = (resident() - before) as f64 / BIG as f64;
    println!("memory: {per_node:.0} bytes per node of {BIG}, values of 8 bytes (limit 400)");
    let small = Store::new(SMALL);

    println!("\n{BIG} nodes against {SMALL}, by time (limit 1.50):");
    compare("read, any node", &small, &big, |store, rng| store.read(rng.below(store.nodes)));
    compare("read, the same 1000 nodes", &small, &big, |store, rng| store.read(rng.below(SMALL)));
    compare("write, any node", &small, &big, |store, rng| store.write(rng.below(store.nodes)));
    compare("write, the same 1000 nodes", &small, &big, |store, rng| {
        store.write(rng.below(SMALL));
    });
    compare("transaction, started and aborted", &small, &big, |store, _| {
        let id = store.start();
        store.end(id, b"F\0");
    });
    compare("transaction of 4 writes, committed", &small, &big, |store, rng| {
        let id = store.start();
        for _ in 0..4 {
            let path = path(rng.below(SMALL));
            store.call(Ty::Write, id, &[path.as_bytes(), b"\0value\0"]);
        }
        store.end(id, b"T\0");
    });
    compare("node created and removed in a directory of 1000", &small, &big, |store, _| {
        store.call(Ty::Mkdir, 0, &[b"/dir/new\0"]);
        store.call(Ty::Rm, 0, &[b"/dir/new\0"]);
    });

    let (near, far) = (Client::new(&small), Client::new(&big));
    compare("read, any node, over a socket", &near, &far, |client, rng| {
        client.call(Ty::Read, (path(rng.below(client.nodes)) + "\0").as_bytes());
    });
    compare("write, any node, over a socket", &near, &far, |client, rng| {
        client.call(Ty::Write, (path(rng.below(client.nodes)) + "\0value").as_bytes());
    });
    let bare = |nodes| (0..nodes).map(|at| (path(at), Box::from(at.to_le_bytes()))).collect();
    let (few, many): (Bare, Bare) = (bare(SMALL), bare(BIG));
    let look_up = |map: &Bare, rng: &mut Rng| {
        black_box(map.get(&path(rng.below(map.len()))).expect("a value").len());
    };
    compare("for comparison: a plain HashMap, any key", &few, &many, look_up);

    println!("\ndirectories in parts, time per child (limit 1.50 times the smaller directory's):");
    let stores = DIRECTORIES.map(Store::with_children);
    for changes in [false, true] {
        let mut smaller = None;
        for (children, store) in DIRECTORIES.iter().zip(&stores) {
            let mut times: Vec<_> = (0..9).map(|_| store.list(*children, changes)).collect();
            times.sort_by(f64::total_cmp);
            let time = times[times.len() / 2];
            let ratio = smaller.map_or(1.0, |smaller| time / smaller);
            // The first part after a change walks the tree of names, which misses the cache.
            let what = if changes { ", for comparison: right after a change" } else { "" };
            println!("{ratio:>5.2}  {time:>6.1} ns  {children} children{what}");
            smaller = Some(time);
        }
    }

    println!("\n{WATCHES} watches elsewhere against none, by time (limit 1.50):");
    let watched = Store::new(SMALL);
    for at in 0..WATCHES {
        watched.call(Ty::Watch, 0, &[format!("/elsewhere/{at}\0token\0").as_bytes()]);
    }
    let small = Store::new(SMALL);
    compare("write", &small, &watched, |store, rng| store.write(rng.below(SMALL)));
}

/// Times `act` on both in turns, and prints the median of the ratios.
fn compare<T>(what: &str, base: &T, other: &T, act: impl Fn(&T, &mut Rng)) {
    const BATCH: usize = 20_000;
    let mut rng = Rng(1);
    let mut time = |store: &T| {
        let start = Instant::now();
        for _ in 0..BATCH {
            act(store, &mut rng);
        }
        start.elapsed().as_secs_f64() / BATCH as f64 * 1e9
    };
    time(base);
    time(other);
    let mut rounds: Vec<_> = (0..15).map(|_| (time(base), time(other))).collect();
    rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (base, other) = rounds[rounds.len() / 2];
    println!("{:>5.2}  {base:>6.0} ns -> {other:>6.0} ns  {what}", other / base);
}

type Bare = HashMap<String, Box<[u8]>>;

struct Store {
    xenstored: Xenstored,
    pipe: Pipe,
    nodes: usize,
}

/// A blocking client over a socket.
struct Client {
    stream: UnixStream,
    nodes: usize,
}

impl Client {
    fn new(store: &Store) -> Self {
        let name = format!("xs-scale-{}-{}", std::process::id(), store.nodes);
        let socket = std::env::temp_dir().join(name);
        let mut server = Server::new(store.xenstored.clone()).expect("a server");
        server.bind(&socket, DomId::DOM0).expect("a socket");
        std::thread::spawn(move || server.run());
        let stream = UnixStream::connect(&socket).expect("a server");
        std::fs::remove_file(socket).expect("a socket");
        Client { stream, nodes: store.nodes }
    }

    fn call(&self, ty: Ty, payload: &[u8]) {
        let len = payload.len() as u32;
        let header = Header { msg_type: ty as u32, req_id: ReqId(1), tx_id: TxId::NONE, len };
        let mut stream = &self.stream;
        stream.write_all(&[&header.encode(), payload].concat()).expect("a server");
        let mut reply = [0; 256];
        let n = stream.read(&mut reply).expect("a reply");
        assert!(n >= Header::LEN && reply[0] != Ty::Error as u8);
    }
}

impl Store {
    fn new(nodes: usize) -> Self {
        let xenstored = Xenstored::new();
        let pipe = xenstored.connect(DomId::DOM0);
        let store = Store { xenstored, pipe, nodes };
        for at in 0..nodes {
            store.call(Ty::Write, 0, &[path(at).as_bytes(), b"\0", &at.to_le_bytes()]);
        }
        for at in 0..1000 {
            store.call(Ty::Mkdir, 0, &[format!("/dir/{at}\0").as_bytes()]);
        }
        store
    }

    /// Returns a store whose only directory has this many children.
    fn with_children(children: usize) -> Self {
        let xenstored = Xenstored::new();
        let pipe = xenstored.connect(DomId::DOM0);
        let store = Store { xenstored, pipe, nodes: 0 };
        for at in 0..children {
            store.call(Ty::Mkdir, 0, &[format!("/wide/child-{at:06}\0").as_bytes()]);
        }
        store
    }

    /// Lists the directory in parts, on request after a change. Returns the time per child in
    /// nanoseconds.
    fn list(&self, children: usize, changes: bool) -> f64 {
        if changes {
            self.call(Ty::Mkdir, 0, &[b"/wide/new\0"]);
            self.call(Ty::Rm, 0, &[b"/wide/new\0"]);
        }
        let start = Instant::now();
        let mut buf = vec![0; 8192];
        let mut offset = 0;
        loop {
            let request = format!("/wide\0{offset}\0");
            let n = self.exchange(Ty::DirectoryPart, 0, &[request.as_bytes()], &mut buf);
            let part = &buf[Header::LEN..n];
            let generation = part.iter().position(|byte| *byte == 0).expect("a generation");
            let names = &part[generation + 1..];
            offset += names.len();
            if names.ends_with(b"\0\0") || names == b"\0" {
                break;
            }
        }
        assert_eq!(offset, children * "child-000000\0".len() + 1);
        start.elapsed().as_secs_f64() / children as f64 * 1e9
    }

    fn read(&self, at: usize) {
        self.call(Ty::Read, 0, &[path(at).as_bytes(), b"\0"]);
    }

    fn write(&self, at: usize) {
        self.call(Ty::Write, 0, &[path(at).as_bytes(), b"\0value"]);
    }

    fn start(&self) -> u32 {
        let mut buf = [0; 64];
        let n = self.exchange(Ty::TransactionStart, 0, &[b"\0"], &mut buf);
        let text = std::str::from_utf8(&buf[Header::LEN..n - 1]).expect("a number");
        text.parse().expect("a number")
    }

    fn end(&self, id: u32, how: &[u8]) {
        self.call(Ty::TransactionEnd, id, &[how]);
    }

    fn call(&self, ty: Ty, tx: u32, payload: &[&[u8]]) {
        let mut buf = [0; 256];
        let n = self.exchange(ty, tx, payload, &mut buf);
        assert_ne!(buf[0], Ty::Error as u8, "{ty}: {}", buf[Header::LEN..n].escape_ascii());
        black_box(buf);
    }

    fn exchange(&self, ty: Ty, tx: u32, payload: &[&[u8]], reply: &mut [u8]) -> usize {
        let len = payload.iter().map(|part| part.len()).sum::<usize>();
        let header =
            Header { msg_type: ty as u32, req_id: ReqId(1), tx_id: TxId(tx), len: len as u32 };
        let mut message = [0; 256];
        message[..Header::LEN].copy_from_slice(&header.encode());
        let mut end = Header::LEN;
        for part in payload {
            message[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        self.pipe.send(&message[..end]).expect("a live xenstored");
        self.pipe.recv(reply, Wait::No).expect("a reply")
    }
}

fn path(at: usize) -> String {
    format!("/nodes/{}/{}/{}", at / 10_000, at / 100 % 100, at % 100)
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
