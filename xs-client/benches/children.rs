//! Measures whether listing and walking the children of one node takes time in proportion to their
//! number: the time per child for 2,000, 20,000 and 200,000 children, and how it grows.
//!
//! ```text
//! cargo bench -p xs-client --features cli --bench children
//! ```
//!
//! Without the feature `cli`, `xs` is left out. Some lines leave out part of the work, to show where
//! growth comes from:
//!
//! * "names" only makes a list of the names, and drops it;
//! * "parts" is `directory` with a peer that sends prepared parts of the list, without a daemon;
//! * "single reads" reads each child, with one request at a time;
//! * "batches" sends the requests of the walk with `directory_many` and `read_many`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId};
use xs_proto::{Header, MessageType, PAYLOAD_MAX};
use xs_transport::UnixTransport;
use xs_transport::mock::{Server, Xenstored};

/// The numbers of children, and how often each is measured. The fastest time counts.
const SIZES: [(usize, usize); 3] = [(2_000, 50), (20_000, 9), (200_000, 5)];

fn main() {
    let mut table: Vec<(&str, Vec<f64>)> = Vec::new();
    for (children, rounds) in SIZES {
        for (at, (name, time)) in measure(children, rounds).into_iter().enumerate() {
            if at == table.len() {
                table.push((name, Vec::new()));
            }
            table[at].1.push(time.as_secs_f64() * 1e9 / children as f64);
        }
    }
    println!(
        "time per child with 2,000, 20,000 and 200,000 children (limit 1.50 times the one before)"
    );
    for (name, times) in table {
        let mut line = format!("{name:<24} {:>7.1} ns", times[0]);
        for pair in times.windows(2) {
            line += &format!("  {:>7.1} ns ({:.2})", pair[1], pair[1] / pair[0]);
        }
        println!("{line}");
    }
}

/// Returns the time of each contender with this number of children.
fn measure(children: usize, rounds: usize) -> Vec<(&'static str, Duration)> {
    let names: Vec<_> = (0..children).map(|at| format!("{at:06}")).collect();
    let paths: Vec<_> = names.iter().map(|name| format!("/a/{name}")).collect();
    let xenstored = Xenstored::new();
    for path in &paths {
        xenstored.set(path, "1").expect("the path is valid");
    }
    let connect = || Client::from_transport(xenstored.connect(DomId::DOM0));
    let list = |client: &Client| {
        assert_eq!(client.directory("/a").expect("the list is complete").len(), children);
    };
    let changed = || {
        let client = connect();
        client.write("/a/new", "1").and_then(|()| client.rm("/a/new")).expect("it is writable");
        client
    };
    let joined = names.join("\0");
    let mut results = vec![
        (
            "names",
            fastest(rounds, connect, |_| {
                let names: Vec<_> = joined.split('\0').map(str::to_owned).collect();
                assert_eq!(names.len(), children);
            }),
        ),
        ("parts", fastest(rounds, || serve_parts(&names), list)),
        ("directory", fastest(rounds, connect, list)),
        ("directory after a change", fastest(rounds, changed, list)),
        (
            "single reads",
            fastest(rounds, connect, |client| {
                assert!(paths.iter().all(|path| client.read(path).is_ok()));
            }),
        ),
        (
            "batches",
            fastest(rounds, connect, |client| {
                assert!(client.directory_many(&paths).iter().all(Result::is_ok));
                assert!(client.read_many(&paths).iter().all(Result::is_ok));
            }),
        ),
        (
            "walk",
            fastest(rounds, connect, |client| {
                assert_eq!(client.walk("/a").with_values().count(), children + 1);
            }),
        ),
    ];
    if let Some(xs) = option_env!("CARGO_BIN_EXE_xs") {
        let socket = serve(xenstored.clone());
        for (name, command) in [("xs ls", "ls"), ("xs dump", "dump")] {
            let run = |_: &Client| {
                let mut xs = Command::new(xs);
                let xs = xs.arg("--socket").arg(&socket).args([command, "/a"]);
                assert!(xs.stdout(Stdio::null()).status().expect("xs runs").success());
            };
            results.push((name, fastest(rounds, connect, run)));
        }
        let _ = std::fs::remove_file(socket);
    }
    results
}

/// Serves a xenstored at a socket, and returns the socket's path.
fn serve(xenstored: Xenstored) -> PathBuf {
    let socket = std::env::temp_dir().join(format!("xs-children-{}", std::process::id()));
    let mut server = Server::new(xenstored).expect("descriptors are available");
    server.bind(&socket, DomId::DOM0).expect("the socket can be created");
    thread::spawn(move || server.run());
    socket
}

/// Runs a function with a new client each time, and returns its fastest time.
fn fastest(rounds: usize, connect: impl Fn() -> Client, run: impl Fn(&Client)) -> Duration {
    let times = (0..rounds).map(|_| {
        let client = connect();
        let start = Instant::now();
        run(&client);
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

/// Returns a client of a peer that answers each request for a list with its prepared parts.
fn serve_parts(names: &[String]) -> Client {
    let (ours, mut theirs) = UnixStream::pair().expect("descriptors are available");
    let list: Vec<u8> = names.iter().flat_map(|name| format!("{name}\0").into_bytes()).collect();
    let name_len = names[0].len() + 1;
    thread::spawn(move || {
        let mut header = [0; Header::LEN];
        while theirs.read_exact(&mut header).is_ok() {
            let request = Header::decode(&header);
            let mut payload = vec![0; request.len as usize];
            theirs.read_exact(&mut payload).expect("the client sends whole messages");
            let mut reply = request;
            let mut bytes = b"E2BIG\0".to_vec();
            if request.msg_type == MessageType::Directory as u32 {
                reply.msg_type = MessageType::Error as u32;
            } else {
                let offset = payload.split(|byte| *byte == 0).nth(1).expect("there is an offset");
                let offset: usize = String::from_utf8_lossy(offset).parse().expect("a number");
                let room = (PAYLOAD_MAX - 4) / name_len * name_len;
                let end = list.len().min(offset + room);
                bytes = [b"1\0", &list[offset..end]].concat();
                bytes.extend((end == list.len()).then_some(0));
            }
            reply.len = bytes.len() as u32;
            if theirs.write_all(&[&reply.encode(), &*bytes].concat()).is_err() {
                return;
            }
        }
    });
    Client::from_transport(UnixTransport::new(ours, "a pair").expect("the stream is a socket"))
}
