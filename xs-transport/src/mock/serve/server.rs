//! A server of Unix sockets.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token, Waker};
use xs_proto::DomId;

use super::client::{Client, Turn};
use super::listener::Listener;
use crate::mock::connection::queue::Notify;
use crate::mock::xenstored::Xenstored;

/// Serves a [`Xenstored`] over Unix sockets, to clients in any language: one socket as dom0, any
/// number as guests.
///
/// One thread, the one that calls [`run`](Self::run), serves them all. A client that does not read
/// delays nobody and holds no more memory than a [`Pipe`](crate::mock::Pipe) does, plus what is in its
/// way out.
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
    /// That gives it no nodes to write to; [`Xenstored::add_guest`] does.
    ///
    /// A socket left behind by a server that is gone is replaced. The file is removed when the
    /// server is dropped.
    ///
    /// # Errors
    /// `AddrInUse`: another server listens there, or the file is no socket.
    pub fn bind(&mut self, path: impl Into<PathBuf>, domid: DomId) -> io::Result<()> {
        let mut listener = Listener::bind(path.into(), domid)?;
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(&mut listener.socket, token, Interest::READABLE)?;
        self.listeners.push(listener);
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
                            client.note(event);
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
        for at in 0..self.listeners.len() {
            while let Some(stream) = self.listeners[at].accept() {
                // Without a descriptor to spare, this client has to do without.
                let _ = self.add(stream, self.listeners[at].domid);
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
        self.clients[at] = Some(Client::new(stream, pipe));
        self.serve(at);
        Ok(())
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
