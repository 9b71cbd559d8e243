//! Measures whether listing and walking the children of one node takes time in proportion to their
//! number: the time per child for 2,000, 20,000 and 200,000 children.
//!
//! ```text
//! cargo bench -p xs-client --bench children
//! ```
//!
//! The contender "parts" is `directory` with a peer that only sends prepared parts of the list: it
//! leaves out the work of a daemon. The contender "batches" sends the requests of the walk with
//! `directory_many` and `read_many`: its growth is that of the daemon, not of the walk.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId};
use xs_proto::{Header, MessageType, PAYLOAD_MAX};
use xs_transport::UnixTransport;
use xs_transport::mock::Xenstored;

/// The numbers of children, and how often each is measured. The fastest time counts.
const SIZES: [(usize, usize); 3] = [(2_000, 50), (20_000, 5), (200_000, 3)];

fn main() {
    println!(
        "{:>9} {:>14} {:>14} {:>14} {:>14}   time per child",
        "children", "parts", "directory", "batches", "walk"
    );
    for (children, rounds) in SIZES {
        let names: Vec<_> = (0..children).map(|at| format!("{at:06}")).collect();
        let parts = fastest(
            rounds,
            || serve_parts(&names),
            |client| {
                assert_eq!(client.directory("/a").expect("the list is complete").len(), children);
            },
        );

        let xenstored = Xenstored::new();
        for name in &names {
            xenstored.set(&format!("/a/{name}"), "1").expect("the path is valid");
        }
        let connect = || Client::from_transport(xenstored.connect(DomId::DOM0));
        let directory = fastest(rounds, connect, |client| {
            assert_eq!(client.directory("/a").expect("the list is complete").len(), children);
        });
        let walk = fastest(rounds, connect, |client| {
            assert_eq!(client.walk("/a").with_values().count(), children + 1);
        });
        let paths: Vec<_> = names.iter().map(|name| format!("/a/{name}")).collect();
        let batches = fastest(rounds, connect, |client| {
            assert!(client.directory_many(&paths).iter().all(Result::is_ok));
            assert!(client.read_many(&paths).iter().all(Result::is_ok));
        });
        let [parts, directory, batches, walk] = [parts, directory, batches, walk]
            .map(|time| format!("{:.0} ns", time.as_secs_f64() * 1e9 / children as f64));
        println!("{children:>9} {parts:>14} {directory:>14} {batches:>14} {walk:>14}");
    }
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
    Client::from_transport(
        UnixTransport::from_stream(ours, "a pair").expect("the stream is a socket"),
    )
}
