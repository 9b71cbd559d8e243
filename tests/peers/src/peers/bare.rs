//! The baseline: the bytes that any client has to move over the socket, and nothing else.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::{Header, MessageType, ReqId, TxId};

use super::StartResult;
use crate::child::print_line;
use crate::work::{FLOOD_ROOT, Flood, KEYS, Tally, key, value};

/// Sends `window` requests in one write, and reads until all replies have arrived.
pub(super) fn read(socket: &Path, window: usize) -> StartResult {
    let mut stream = UnixStream::connect(socket)?;
    // All messages are encoded before the clock runs: one window for each key that may come first.
    let windows: Vec<_> = (0..KEYS)
        .map(|first| {
            let keys = first..first + window;
            let request = |at| message(MessageType::Read, format!("{}\0", key(at)).as_bytes());
            let reply = |at| message(MessageType::Read, value(at).as_bytes());
            let requests: Vec<u8> = keys.clone().flat_map(request).collect();
            let replies: Vec<u8> = keys.flat_map(reply).collect();
            (requests, replies)
        })
        .collect();
    let mut buffer = vec![0; 64 * 1024];
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        for round in 0..count / window {
            let (requests, expected) = &windows[round * window % KEYS];
            stream.write_all(requests).expect("cannot send");
            let mut received = 0;
            while received < expected.len() {
                match stream.read(&mut buffer[received..]).expect("cannot receive") {
                    0 => panic!("the daemon has closed the connection"),
                    n => received += n,
                }
            }
            // The daemons reply in order, so one comparison checks the whole window.
            if buffer[..received] == expected[..] {
                tally.correct += window as u64;
            } else {
                tally.wrong += window as u64;
            }
        }
        tally
    }))
}

/// Receives events and decodes their paths.
pub(super) fn flood(socket: &Path) -> StartResult {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&message(MessageType::Watch, format!("{FLOOD_ROOT}\0bare\0").as_bytes()))?;
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        print_line("ready").expect("cannot print");
        loop {
            match stream.read(&mut buffer[received..]).expect("cannot receive") {
                0 => panic!("the daemon has closed the connection"),
                n => received += n,
            }
            let (mut at, mut is_over) = (0, false);
            while let Some(header) = buffer[at..received].first_chunk::<{ Header::LEN }>() {
                let header = Header::decode(header);
                let end = at + Header::LEN + header.len as usize;
                if end > received {
                    break;
                }
                if header.msg_type == MessageType::WatchEvent as u32 {
                    let payload = &buffer[at + Header::LEN..end];
                    let path = payload.split(|byte| *byte == 0).next().unwrap_or_default();
                    is_over |= !flood.record(std::str::from_utf8(path).expect("not a path"));
                }
                at = end;
            }
            buffer.copy_within(at..received, 0);
            received -= at;
            if is_over {
                return flood.finish();
            }
        }
    }))
}

/// Creates nodes.
pub(crate) fn create_nodes(
    socket: &Path,
    nodes: impl Iterator<Item = (String, &'static str)>,
) -> io::Result<()> {
    let mut writer = Writer::new(socket)?;
    for (path, value) in nodes {
        writer.queue(&path, value.as_bytes());
    }
    writer.run()
}

/// Writes nodes, and thereby fires watches, as fast as the daemon accepts the writes.
///
/// The writer never blocks in a read. Each reply would wake it on the core that it shares with the
/// daemon, and how often that happens depends on how busy the readers keep the core, not on how well
/// they read. Instead it polls for the replies of one connection while the daemon processes the
/// writes of another.
#[derive(Debug)]
pub(crate) struct Writer {
    connections: Vec<Connection>,
    messages: Vec<Vec<u8>>,
}

/// The number of writes in flight on one connection. They and their replies fit into any socket
/// buffer, and keep a daemon busy.
const WINDOW: usize = 96;

const CONNECTIONS: usize = 2;

/// The pause between two attempts to receive replies.
const POLL_INTERVAL: Duration = Duration::from_micros(50);

impl Writer {
    pub(crate) fn new(socket: &Path) -> io::Result<Self> {
        let connections =
            (0..CONNECTIONS).map(|_| Connection::new(socket)).collect::<io::Result<_>>()?;
        Ok(Writer { connections, messages: Vec::new() })
    }

    pub(crate) fn queue(&mut self, path: &str, value: &[u8]) {
        let payload = [path.as_bytes(), b"\0", value].concat();
        self.messages.push(message(MessageType::Write, &payload));
    }

    /// Sends the queued writes, and waits for all replies.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        for (at, window) in self.messages.chunks(WINDOW).enumerate() {
            let connection = &mut self.connections[at % CONNECTIONS];
            connection.receive_replies()?;
            connection.stream.write_all(&window.concat())?;
            connection.in_flight = window.len();
        }
        self.messages.clear();
        self.connections.iter_mut().try_for_each(Connection::receive_replies)
    }
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    in_flight: usize,
}

impl Connection {
    /// How long replies may take. oxenstored does not reply to a writer while a watcher does not
    /// receive its events.
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn new(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, in_flight: 0 })
    }

    /// Receives the replies to all writes in flight.
    fn receive_replies(&mut self) -> io::Result<()> {
        let reply = message(MessageType::Write, b"OK\0");
        let mut buffer = vec![0; self.in_flight * reply.len()];
        let (mut received, start) = (0, Instant::now());
        while received < buffer.len() {
            match self.stream.read(&mut buffer[received..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => received += n,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(error) if start.elapsed() > Self::TIMEOUT => return Err(error),
                Err(_) => thread::sleep(POLL_INTERVAL),
            }
        }
        self.in_flight = 0;
        match buffer.chunks(reply.len()).all(|it| it == reply) {
            true => Ok(()),
            false => Err(io::Error::other("a write failed")),
        }
    }
}

fn message(msg_type: MessageType, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let header = Header { msg_type: msg_type as u32, req_id: ReqId(0), tx_id: TxId::NONE, len };
    [&header.encode(), payload].concat()
}
