//! The floor: what has to go over the socket, and nothing else.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::{Header, MessageType, ReqId, TxId};

use super::Started;
use crate::child::say;
use crate::work::{FLOODED, Flood, KEYS, Tally, key, value};

/// One write of so many requests, and reads until all the answers are there.
pub(super) fn read(socket: &Path, together: usize) -> Started {
    let mut stream = UnixStream::connect(socket)?;
    // Each key begins a window of its own, and none is made while the clock runs.
    let windows: Vec<_> = (0..KEYS)
        .map(|first| {
            let window = first..first + together;
            let request = |at| message(MessageType::Read, format!("{}\0", key(at)).as_bytes());
            let reply = |at| message(MessageType::Read, value(at).as_bytes());
            let requests: Vec<u8> = window.clone().flat_map(request).collect();
            let replies: Vec<u8> = window.flat_map(reply).collect();
            (requests, replies)
        })
        .collect();
    let mut buffer = vec![0; 64 * 1024];
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        for round in 0..count / together {
            let (requests, expected) = &windows[round * together % KEYS];
            stream.write_all(requests).expect("to send");
            let mut have = 0;
            while have < expected.len() {
                match stream.read(&mut buffer[have..]).expect("to receive") {
                    0 => panic!("the daemon has closed the connection"),
                    n => have += n,
                }
            }
            // The daemons answer in order, all at once: it costs no more than one look.
            if buffer[..have] == expected[..] {
                tally.right += together as u64;
            } else {
                tally.wrong += together as u64;
            }
        }
        tally
    }))
}

/// Takes events from the socket, and looks at their paths.
pub(super) fn flood(socket: &Path) -> Started {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&message(MessageType::Watch, format!("{FLOODED}\0bare\0").as_bytes()))?;
    let mut buffer = vec![0; 64 * 1024];
    let mut have = 0;
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        say("ready").expect("to speak");
        loop {
            match stream.read(&mut buffer[have..]).expect("to receive") {
                0 => panic!("the daemon has closed the connection"),
                n => have += n,
            }
            let (mut at, mut over) = (0, false);
            while let Some(header) = buffer[at..have].first_chunk::<{ Header::LEN }>() {
                let header = Header::decode(header);
                let end = at + Header::LEN + header.len as usize;
                if end > have {
                    break;
                }
                if header.msg_type == MessageType::WatchEvent as u32 {
                    let payload = &buffer[at + Header::LEN..end];
                    let path = payload.split(|byte| *byte == 0).next().unwrap_or_default();
                    over |= !flood.note(std::str::from_utf8(path).expect("a path"));
                }
                at = end;
            }
            buffer.copy_within(at..have, 0);
            have -= at;
            if over {
                return flood.done();
            }
        }
    }))
}

/// Makes the nodes that the contenders use.
pub(crate) fn prepare(
    socket: &Path,
    nodes: impl Iterator<Item = (String, &'static str)>,
) -> io::Result<()> {
    let mut flooder = Flooder::new(socket)?;
    for (path, value) in nodes {
        flooder.queue(&path, value.as_bytes());
    }
    flooder.run()
}

/// Fires watches: writes, with so many on their way.
///
/// It never waits in a read: each answer would wake it, on the core that it shares with the daemon,
/// and how often that happens depends on how busy readers keep that core, not on how well they read.
/// It looks from time to time, and has another connection with writes on their way meanwhile, so that
/// the daemon is always at work.
#[derive(Debug)]
pub(crate) struct Flooder {
    ways: Vec<Way>,
    messages: Vec<Vec<u8>>,
}

/// Few enough that they and their answers fit into any buffer, and enough to keep a daemon at work.
const WINDOW: usize = 96;

const WAYS: usize = 2;

/// Between two looks.
const LOOK: Duration = Duration::from_micros(50);

impl Flooder {
    pub(crate) fn new(socket: &Path) -> io::Result<Self> {
        let ways = (0..WAYS).map(|_| Way::new(socket)).collect::<io::Result<_>>()?;
        Ok(Flooder { ways, messages: Vec::new() })
    }

    pub(crate) fn queue(&mut self, path: &str, value: &[u8]) {
        let payload = [path.as_bytes(), b"\0", value].concat();
        self.messages.push(message(MessageType::Write, &payload));
    }

    /// Writes all that is queued.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        for (at, window) in self.messages.chunks(WINDOW).enumerate() {
            let way = &mut self.ways[at % WAYS];
            way.settle()?;
            way.stream.write_all(&window.concat())?;
            way.unanswered = window.len();
        }
        self.messages.clear();
        self.ways.iter_mut().try_for_each(Way::settle)
    }
}

#[derive(Debug)]
struct Way {
    stream: UnixStream,
    unanswered: usize,
}

impl Way {
    /// Nothing of it takes longer than this: oxenstored leaves a writer unanswered when a watcher
    /// does not take its events.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn new(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Way { stream, unanswered: 0 })
    }

    /// Takes the answers to all that it has written.
    fn settle(&mut self) -> io::Result<()> {
        let reply = message(MessageType::Write, b"OK\0");
        let mut buffer = vec![0; self.unanswered * reply.len()];
        let (mut have, start) = (0, Instant::now());
        while have < buffer.len() {
            match self.stream.read(&mut buffer[have..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => have += n,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(error) if start.elapsed() > Self::PATIENCE => return Err(error),
                Err(_) => thread::sleep(LOOK),
            }
        }
        self.unanswered = 0;
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
