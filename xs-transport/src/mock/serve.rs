//! The in-memory xenstored behind Unix sockets.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BytesMut};
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use xs_proto::DomId;

use super::pipe::{Notify, Pipe};
use super::xenstored::Xenstored;
use crate::transport::{Sent, Transport};

/// Serves a [`Xenstored`] over Unix sockets, to clients in any language: one socket as dom0, any
/// number as guests.
///
/// One thread, the one that calls [`run`](Self::run), serves them all. A client that does not read
/// delays nobody and holds no more memory than a [`Pipe`] does, plus what is in its way out.
///
/// ```
/// use std::time::Duration;
/// use xs_proto::DomId;
/// use xs_transport::UnixTransport;
/// use xs_transport::mock::{Server, Xenstored};
///
/// # let dir = std::env::temp_dir().join(format!("xs-serve-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let socket = dir.join("socket");
/// let mut server = Server::new(Xenstored::new())?;
/// server.bind(&socket, DomId::DOM0)?;
/// let stop = server.stop_handle();
/// let thread = std::thread::spawn(move || server.run());
///
/// let client = UnixTransport::connect(&socket, Duration::from_secs(10))?;
///
/// stop.stop();
/// thread.join().expect("no panic")?;
/// assert!(!socket.exists());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    xenstored: Xenstored,
    poll: Poll,
    inbox: Arc<Inbox>,
    listeners: Vec<Listener>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    buffer: Box<[u8]>,
}

/// Ends a [`Server`]'s run, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<Inbox>);

/// What others have for the thread that serves.
#[derive(Debug)]
struct Inbox {
    /// Clients that have something to be told.
    ready: Mutex<Vec<usize>>,
    /// The thread waits, or is about to.
    waits: AtomicBool,
    stop: AtomicBool,
    waker: Waker,
}

#[derive(Debug)]
struct Listener {
    socket: UnixListener,
    path: PathBuf,
    domid: DomId,
    /// A connection may wait to be accepted.
    pending: bool,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    pipe: Pipe,
    /// On their way to the client.
    unsent: BytesMut,
    /// Received and not yet taken by the xenstored.
    unfed: BytesMut,
    readable: bool,
    writable: bool,
}

/// What became of a client's turn.
#[derive(PartialEq, Eq)]
enum Turn {
    /// There is nothing to do until something happens.
    Done,
    /// There may be more; others first.
    More,
    /// The client is gone.
    Gone,
}

const WAKER: Token = Token(usize::MAX);
/// Tokens of listeners stand above this, tokens of clients below.
const LISTENERS: usize = usize::MAX / 2;

/// How much is read from one client before others get their turn.
const BUFFER: usize = 64 << 10;

impl Server {
    /// A server without sockets yet.
    ///
    /// # Errors
    /// The system gives no descriptors.
    pub fn new(xenstored: Xenstored) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = Inbox {
            ready: Mutex::default(),
            waits: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            waker: Waker::new(poll.registry(), WAKER)?,
        };
        Ok(Server {
            xenstored,
            poll,
            inbox: Arc::new(inbox),
            listeners: Vec::new(),
            clients: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Listens at `path`; who connects there is the domain `domid`, which is introduced.
    ///
    /// A socket left behind by a server that is gone is replaced. The file is removed when the
    /// server is dropped.
    ///
    /// # Errors
    /// `AddrInUse`: another server listens there, or the file is no socket.
    pub fn bind(&mut self, path: impl Into<PathBuf>, domid: DomId) -> io::Result<()> {
        let path = path.into();
        let mut socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path) => {
                fs::remove_file(&path)?;
                UnixListener::bind(&path)
            }
            result => result,
        }?;
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(Listener { socket, path, domid, pending: true });
        self.xenstored.introduce(domid);
        Ok(())
    }

    /// What is served.
    pub fn xenstored(&self) -> &Xenstored {
        &self.xenstored
    }

    /// Ends [`run`](Self::run).
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.inbox.clone())
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// The system's poll fails. What a client does is never an error.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.inbox.stop.load(Ordering::Acquire) {
            self.serve_ready();
            self.accept_pending();
            let timeout = self.inbox.about_to_wait();
            let polled = self.poll.poll(&mut events, timeout);
            self.inbox.waits.store(false, Ordering::SeqCst);
            match polled {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(at) if at >= LISTENERS => self.listeners[at - LISTENERS].pending = true,
                    Token(at) => {
                        if let Some(client) = self.clients.get_mut(at).and_then(Option::as_mut) {
                            client.readable |= event.is_readable() || event.is_read_closed();
                            client.writable |= event.is_writable();
                            self.serve(at);
                        }
                    }
                }
            }
        }
        // What has been answered gets its chance to leave.
        for client in self.clients.iter_mut().flatten() {
            client.flush();
        }
        self.clients.clear();
        Ok(())
    }

    /// Serves those who have something to be told, until nobody has.
    fn serve_ready(&mut self) {
        for at in self.inbox.take_ready() {
            self.serve(at);
        }
    }

    fn serve(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        match client.take_turn(&mut self.buffer) {
            Turn::Done => {}
            Turn::More => self.inbox.put_ready(at),
            Turn::Gone => {
                self.clients[at] = None;
                self.free.push(at);
                // There may be a descriptor for who could not be accepted.
                self.listeners.iter_mut().for_each(|listener| listener.pending = true);
            }
        }
    }

    fn accept_pending(&mut self) {
        for listener in 0..self.listeners.len() {
            while self.listeners[listener].pending {
                match self.listeners[listener].socket.accept() {
                    Ok((stream, _)) => {
                        let domid = self.listeners[listener].domid;
                        // Without a descriptor to spare, this client has to do without.
                        let _ = self.add(stream, domid);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Out of descriptors is tried again when one has come free.
                    Err(_) => self.listeners[listener].pending = false,
                }
            }
        }
    }

    fn add(&mut self, mut stream: UnixStream, domid: DomId) -> io::Result<()> {
        let at = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(at), interest) {
            self.free.push(at);
            return Err(error);
        }
        let inbox = self.inbox.clone();
        let notify = Notify(Box::new(move || inbox.put_ready(at)));
        let pipe = self.xenstored.connect_with(domid, Some(notify));
        let (unsent, unfed) = (BytesMut::new(), BytesMut::new());
        let client = Client { stream, pipe, unsent, unfed, readable: true, writable: true };
        self.clients[at] = Some(client);
        self.serve(at);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Somebody may have removed it already.
            let _ = fs::remove_file(&listener.path);
        }
    }
}

impl StopHandle {
    /// Ends the run, now or, if it has not begun, as soon as it begins.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        // Without a wake-up the run would end with the next event.
        let _ = self.0.waker.wake();
    }
}

impl Inbox {
    fn put_ready(&self, at: usize) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        if self.waits.swap(false, Ordering::SeqCst) {
            let _ = self.waker.wake();
        }
    }

    fn take_ready(&self) -> Vec<usize> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *ready)
    }

    /// How long the thread may wait. From here on it is woken.
    fn about_to_wait(&self) -> Option<std::time::Duration> {
        self.waits.store(true, Ordering::SeqCst);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        (!ready.is_empty()).then_some(std::time::Duration::ZERO)
    }
}

impl Client {
    /// Takes some requests from the client, and tells it all that it takes.
    fn take_turn(&mut self, buffer: &mut [u8]) -> Turn {
        if !self.feed() {
            self.flush();
            return Turn::Gone;
        }
        if self.unfed.is_empty() && self.readable {
            match self.stream.read(buffer) {
                Ok(0) => return Turn::Gone,
                Ok(n) => {
                    // A socket that gave less had no more; the next byte is a new event.
                    self.readable = n == buffer.len();
                    let is_alive = self.feed_bytes(&buffer[..n]);
                    if !is_alive {
                        self.flush();
                        return Turn::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Gone,
            }
        }
        if !self.flush() {
            return Turn::Gone;
        }
        // What the xenstored did not take it takes when the client has read.
        let has_more = if self.unfed.is_empty() { self.readable } else { self.unsent.is_empty() };
        if has_more { Turn::More } else { Turn::Done }
    }

    fn feed(&mut self) -> bool {
        let unfed = std::mem::take(&mut self.unfed);
        unfed.is_empty() || self.feed_bytes(&unfed)
    }

    /// Says whether the connection lives on.
    fn feed_bytes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.pipe.send(bytes) {
                Ok(Sent::Bytes(n)) => bytes.advance(n),
                Ok(Sent::Refused(_)) => return false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.unfed = BytesMut::from(bytes);
        true
    }

    /// Sends what there is to be told, as far as the socket takes it. Says whether the connection
    /// lives on.
    fn flush(&mut self) -> bool {
        loop {
            if self.unsent.is_empty() {
                match self.pipe.take() {
                    None => return false,
                    Some(bytes) if bytes.is_empty() => return true,
                    Some(bytes) => self.unsent = bytes,
                }
            }
            if !self.writable {
                return true;
            }
            match self.stream.write(&self.unsent) {
                Ok(n) => self.unsent.advance(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return true;
                }
                Err(_) => return false,
            }
        }
    }
}

/// Whether this is a socket that nobody listens on.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    use xs_proto::{Header, MessageType, ReqId, TxId};

    use super::*;

    /// A server in a thread, with a socket of dom0 and one of domain 5.
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
            fs::remove_dir(&self.dir).expect("no file is left behind");
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

    fn is_fine(stream: &UnixStream) -> bool {
        (&mut &*stream).write_all(&message(MessageType::Read, b"/tool\0")).unwrap();
        reply(stream) == (MessageType::Read as u32, Vec::new())
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let served = Served::new("stale");
        let mut second = Server::new(Xenstored::new()).unwrap();
        let error = second.bind(served.dir.join("socket"), DomId::DOM0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let stale = served.dir.join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        second.bind(&stale, DomId::DOM0).unwrap();
        let file = served.dir.join("file");
        fs::write(&file, "precious").unwrap();
        assert!(second.bind(&file, DomId::DOM0).is_err());
        fs::remove_file(&file).unwrap();
        assert!(is_fine(&served.connect()));
    }

    #[test]
    fn each_socket_has_its_domain() {
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
        // From another thread than the server's.
        served.xenstored.set("/a", "").unwrap();
        assert_eq!(reply(&watcher).1, b"/a\0t\0");
    }

    #[test]
    fn bad_clients_harm_nobody() {
        let served = Served::new("bad");
        let good = served.connect();
        // Half a header, half a message, too long a message, noise.
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
        assert!(is_fine(&good));
        drop(half);
        (&halved).write_all(&message(MessageType::Read, b"/tool\0")[19..]).unwrap();
        assert_eq!(reply(&halved).0, MessageType::Read as u32);
    }

    #[test]
    fn a_client_that_never_reads_delays_nobody() {
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
            assert!(sent < 64 << 20, "it is never held back");
            if sent % 1024 < read.len() {
                assert!(is_fine(&good));
            }
        }
        assert!(is_fine(&good));
        // Once it reads, it gets all that it asked for.
        silent.set_nonblocking(false).unwrap();
        for _ in 0..sent / read.len() {
            assert_eq!(reply(&silent).1.len(), value.len());
        }
    }

    #[test]
    fn ten_thousand_clients_come_and_go() {
        let served = Served::new("many");
        let watch = message(MessageType::Watch, b"/a\0t\0");
        for n in 0..10_000 {
            let client = served.connect();
            // Without a word, in the middle of one, and without waiting for the answer.
            let said = [0, 9, watch.len()][n % 3];
            (&client).write_all(&watch[..said]).unwrap();
        }
        let last = served.connect();
        // Each answer is a round of the server's, and in one of the next it sees who is gone.
        let are_gone = (0..10_000)
            .any(|_| is_fine(&last) && served.xenstored.connections(DomId::DOM0).len() == 1);
        assert!(are_gone, "{:?}", served.xenstored.connections(DomId::DOM0));
        assert_eq!(served.xenstored.watches(DomId::DOM0), []);
    }

    #[test]
    fn a_thousand_clients_at_once() {
        // Both ends of each are ours.
        crate::sys::allow_open_files(2_500).expect("as many descriptors as it takes");
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
}
