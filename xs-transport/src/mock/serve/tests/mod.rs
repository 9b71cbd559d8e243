//! Tests with real sockets, and with well-behaved and misbehaving clients.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use xs_proto::{DomId, Header, MessageType, ReqId, TxId};

use super::server::{Server, StopHandle};
use crate::mock::Xenstored;

mod files;
mod turns;

/// A server in its own thread, with one socket for dom0 and one for domain 5.
struct Served {
    dir: PathBuf,
    xenstored: Xenstored,
    stop: StopHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Served {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xs-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let xenstored = Xenstored::new();
        let mut server = Server::new(xenstored.clone()).unwrap();
        server.bind(dir.join("socket"), DomId::DOM0).unwrap();
        server.bind(dir.join("guest-5"), DomId::new(5)).unwrap();
        let stop = server.stop_handle();
        let thread = Some(thread::spawn(move || server.run()));
        Served { dir, xenstored, stop, thread }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.join("socket")).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        let result = self.thread.take().unwrap().join();
        fs::remove_dir(&self.dir).expect("the server removes its files");
        if !thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

fn message(msg_type: MessageType, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let header = Header { msg_type: msg_type as u32, req_id: ReqId(1), tx_id: TxId::NONE, len };
    [&header.encode(), payload].concat()
}

fn reply(mut stream: &UnixStream) -> (u32, Vec<u8>) {
    let mut header = [0; Header::LEN];
    stream.read_exact(&mut header).unwrap();
    let header = Header::decode(&header);
    let mut payload = vec![0; header.len as usize];
    stream.read_exact(&mut payload).unwrap();
    (header.msg_type, payload)
}

fn is_served(stream: &UnixStream) -> bool {
    (&mut &*stream).write_all(&message(MessageType::Read, b"/tool\0")).unwrap();
    reply(stream) == (MessageType::Read as u32, Vec::new())
}

#[test]
fn idle_sockets_are_closed_when_their_connections_are_broken() {
    let served = Served::new("broken");
    let (mut one, mut other) = (served.connect(), served.connect());
    assert!(is_served(&one) && is_served(&other));
    assert_eq!(served.xenstored.disconnect(DomId::DOM0), 2);
    assert_eq!(one.read(&mut [0; 9]).unwrap(), 0);
    assert_eq!(other.read(&mut [0; 9]).unwrap(), 0);
    assert!(is_served(&served.connect()));
}

#[test]
fn clients_of_each_socket_act_as_its_domain() {
    let served = Served::new("domains");
    served.xenstored.seed("/local/domain/5/data [n5]").unwrap();
    let guest = UnixStream::connect(served.dir.join("guest-5")).unwrap();
    (&guest).write_all(&message(MessageType::Write, b"data\0hello")).unwrap();
    assert_eq!(reply(&guest).1, b"OK\0");
    (&guest).write_all(&message(MessageType::Read, b"/tool\0")).unwrap();
    assert_eq!(reply(&guest).1, b"EACCES\0");
    assert_eq!(served.xenstored.get("/local/domain/5/data").unwrap(), b"hello");
}

#[test]
fn events_reach_clients_that_only_listen() {
    let served = Served::new("events");
    let watcher = served.connect();
    (&watcher).write_all(&message(MessageType::Watch, b"/a\0t\0")).unwrap();
    assert_eq!(reply(&watcher).1, b"OK\0");
    assert_eq!(reply(&watcher).1, b"/a\0t\0");
    let writer = served.connect();
    (&writer).write_all(&message(MessageType::Write, b"/a/b\0x")).unwrap();
    assert_eq!(reply(&writer).1, b"OK\0");
    assert_eq!(reply(&watcher).1, b"/a/b\0t\0");
    // A change from outside the server's thread.
    served.xenstored.set("/a", "").unwrap();
    assert_eq!(reply(&watcher).1, b"/a\0t\0");
}

#[test]
fn misbehaving_clients_do_not_disturb_others() {
    let served = Served::new("bad");
    let good = served.connect();
    // A partial header, a partial message, an oversize message and random bytes.
    let half = served.connect();
    (&half).write_all(&message(MessageType::Read, b"/tool\0")[..9]).unwrap();
    let halved = served.connect();
    (&halved).write_all(&message(MessageType::Read, b"/tool\0")[..19]).unwrap();
    let long = served.connect();
    let header = Header { msg_type: 2, req_id: ReqId(1), tx_id: TxId::NONE, len: 5000 };
    (&long).write_all(&header.encode()).unwrap();
    assert_eq!((&long).read(&mut [0; 9]).unwrap(), 0);
    let noise = served.connect();
    (&noise).write_all(&[0xff; 1000]).unwrap();
    assert_eq!((&noise).read(&mut [0; 9]).unwrap_or(0), 0);
    assert!(is_served(&good));
    drop(half);
    (&halved).write_all(&message(MessageType::Read, b"/tool\0")[19..]).unwrap();
    assert_eq!(reply(&halved).0, MessageType::Read as u32);
}

#[test]
fn client_that_does_not_read_does_not_delay_others() {
    let served = Served::new("silent");
    let value = vec![b'x'; 4000];
    let good = served.connect();
    (&good).write_all(&message(MessageType::Write, &[b"/big\0", &*value].concat())).unwrap();
    reply(&good);
    let silent = served.connect();
    silent.set_nonblocking(true).unwrap();
    let read = message(MessageType::Read, b"/big\0");
    let mut sent = 0;
    while let Ok(n) = (&silent).write(&read) {
        sent += n;
        assert!(sent < 64 << 20, "the server never stops reading");
        if sent % 1024 < read.len() {
            assert!(is_served(&good));
        }
    }
    assert!(is_served(&good));
    // Once the client reads, it receives all replies.
    silent.set_nonblocking(false).unwrap();
    for _ in 0..sent / read.len() {
        assert_eq!(reply(&silent).1.len(), value.len());
    }
}

#[test]
fn connections_are_removed_after_ten_thousand_clients_have_gone() {
    let served = Served::new("many");
    let watch = message(MessageType::Watch, b"/a\0t\0");
    for n in 0..10_000 {
        let client = served.connect();
        // Closes without a request, within one, or before its reply.
        let sent = [0, 9, watch.len()][n % 3];
        (&client).write_all(&watch[..sent]).unwrap();
    }
    let last = served.connect();
    // Each reply takes the server one round. Within a few of them it notices all closed sockets.
    let are_gone = (0..10_000)
        .any(|_| is_served(&last) && served.xenstored.connections(DomId::DOM0).len() == 1);
    assert!(are_gone, "{:?}", served.xenstored.connections(DomId::DOM0));
    assert_eq!(served.xenstored.watches(DomId::DOM0), []);
}

#[test]
fn thousand_concurrent_clients_are_served() {
    // This process has both ends of each connection.
    crate::sys::allow_open_files(2_500).expect("enough descriptors");
    let served = Served::new("thousand");
    let clients: Vec<_> = (0..1000).map(|_| served.connect()).collect();
    for client in &clients {
        (&mut &*client).write_all(&message(MessageType::Watch, b"/a\0t\0")).unwrap();
    }
    for client in &clients {
        assert_eq!(reply(client).1, b"OK\0");
        assert_eq!(reply(client).1, b"/a\0t\0");
    }
    served.xenstored.set("/a", "").unwrap();
    for client in &clients {
        assert_eq!(reply(client).1, b"/a\0t\0");
    }
}
