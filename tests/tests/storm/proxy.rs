//! A proxy between clients and a daemon, which splits, delays and cuts.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::random::Random;

/// A thread that accepts connections at a socket and connects each of them to another one. Dropping
/// it ends all connections and threads.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: PathBuf,
    seed: AtomicU64,
    is_calm: AtomicBool,
    has_ended: AtomicBool,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    streams: [UnixStream; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(socket: PathBuf, target: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).expect("the socket can be created");
        let shared = Arc::new(Shared {
            target,
            seed: AtomicU64::new(0),
            is_calm: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let for_thread = shared.clone();
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if for_thread.has_ended.load(Ordering::SeqCst) {
                    break;
                }
                // If the daemon cannot be reached, the client's connection ends.
                let _ = client.and_then(|client| for_thread.connect(client));
            }
        });
        Proxy { shared, socket, thread: Some(thread) }
    }

    /// Sets the seed of the next connection.
    pub(crate) fn seed(&self, seed: u64) {
        self.shared.seed.store(seed, Ordering::Relaxed);
    }

    pub(crate) fn set_calm(&self, is_calm: bool) {
        self.shared.is_calm.store(is_calm, Ordering::SeqCst);
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.shared.connections.lock().unwrap().iter().for_each(Connection::cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        let ended = self.thread.take().map(JoinHandle::join);
        self.cut();
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking());
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: UnixStream) -> io::Result<()> {
        let daemon = UnixStream::connect(&self.target)?;
        let mut random = Random::new(self.seed.load(Ordering::Relaxed), 0);
        // Connections differ in how often they are cut. Some are never, and some at once.
        let cut_once_in = *random.pick(&[3, 100, 1000, u64::MAX]);
        let mut threads = Vec::new();
        for (from, to) in [(&client, &daemon), (&daemon, &client)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let (shared, random) = (self.clone(), Random::new(random.next(), 0));
            threads.push(thread::spawn(move || {
                let _ = shared.copy(&from, &to, random, cut_once_in);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            }));
        }
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|connection| !connection.threads.iter().all(JoinHandle::is_finished));
        connections.push(Connection { streams: [client, daemon], threads });
        Ok(())
    }

    fn copy(
        &self,
        mut from: &UnixStream,
        mut to: &UnixStream,
        mut random: Random,
        cut_once_in: u64,
    ) -> io::Result<()> {
        let mut buf = [0; 4096];
        loop {
            let most = *random.pick(&[1, 15, 16, 17, 100, 4096, 4096]);
            let n = from.read(&mut buf[..most])?;
            if n == 0 {
                return Ok(());
            }
            if !self.is_calm.load(Ordering::SeqCst) {
                if random.one_in(cut_once_in) {
                    // Some of the bytes still arrive.
                    let _ = to.write(&buf[..random.below(n as u64 + 1) as usize]);
                    return Ok(());
                }
                match random.below(64) {
                    0 => thread::sleep(Duration::from_millis(random.below(5))),
                    1..8 => thread::yield_now(),
                    _ => {}
                }
            }
            to.write_all(&buf[..n])?;
        }
    }
}

impl Connection {
    fn cut(&self) {
        for stream in &self.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
