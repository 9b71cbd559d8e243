//! A server of Unix sockets.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use xs_proto::DomId;

use super::client::{Client, Turn};
use super::listener::Listener;
use super::mailbox::Mailbox;
use super::turns::{Source, Turns};
use crate::mock::connection::queue::Notify;
use crate::mock::xenstored::Xenstored;

/// Serves a [`Xenstored`] over Unix sockets, to clients in any language. Each socket stands for
/// one domain.
///
/// The thread that calls [`run`](Self::run) serves all clients. Clients, and listeners on which
/// clients connect, take turns of limited length, so that none of them can occupy the server.
/// [Stopping](StopHandle) the server takes at most one turn. A client that does not read does not
/// delay the others. The memory that a client can occupy is [limited](crate::mock#limits).
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
pub struct Server {
    xenstored: Xenstored,
    poll: Poll,
    mailbox: Arc<Mailbox>,
    listeners: Vec<Listener>,
    /// The clients, each at the index that its token names.
    clients: Vec<Option<Client>>,
    /// Unused indices of `clients`.
    free: Vec<usize>,
    /// The listeners and clients that have work.
    pub(super) turns: Turns,
    buffer: Box<[u8]>,
}

/// Stops a [`Server`] from any thread.
#[derive(Clone)]
pub struct StopHandle(Arc<Mailbox>);

const WAKER: Token = Token(usize::MAX);

/// Tokens of listeners start here. The tokens of clients are below.
const LISTENERS: usize = usize::MAX / 2;

/// How many bytes are read from one client before the others have their turn.
const BUFFER: usize = 16 << 10;

/// How many clients a listener accepts before the others have their turn.
pub(super) const ACCEPTED_MAX: usize = 8;

/// Only the owner of the file may connect. Root always may.
const DEFAULT_MODE: u32 = 0o600;

impl Server {
    /// Creates a server that has no sockets yet.
    ///
    /// # Errors
    /// Fails if the process or the system is out of descriptors.
    pub fn new(xenstored: Xenstored) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mailbox = Arc::new(Mailbox::new(poll.registry(), WAKER)?);
        Ok(Server {
            xenstored,
            poll,
            mailbox,
            listeners: Vec::new(),
            clients: Vec::new(),
            free: Vec::new(),
            turns: Turns::default(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Listens at `path`. Clients of this socket act as `domid`, which is introduced.
    ///
    /// Introducing a domain gives it no nodes that it may write to. [`Xenstored::add_guest`] does.
    ///
    /// Only the user of this process can connect to the socket, whatever the umask.
    /// [`bind_with_mode`](Self::bind_with_mode) lets others connect. The socket of a server that no
    /// longer runs is replaced. Dropping the server removes the file, unless another one has
    /// replaced it.
    ///
    /// # Errors
    /// `AddrInUse` if another server listens at `path`. `IsADirectory` or `AlreadyExists` if there
    /// is a file that is not a socket, such as a dangling symbolic link. Otherwise the error of
    /// bind(2).
    pub fn bind(&mut self, path: impl Into<PathBuf>, domid: DomId) -> io::Result<()> {
        self.bind_with_mode(path, domid, DEFAULT_MODE)
    }

    /// Like [`bind`](Self::bind), with these permissions of the file, such as `0o660`. To connect,
    /// a client needs the permission to write.
    ///
    /// # Errors
    /// Like [`bind`](Self::bind).
    pub fn bind_with_mode(
        &mut self,
        path: impl Into<PathBuf>,
        domid: DomId,
        mode: u32,
    ) -> io::Result<()> {
        let mut listener = Listener::bind(&path.into(), domid, mode)?;
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(&mut listener.socket, token, Interest::READABLE)?;
        self.turns.add(Source::Listener(self.listeners.len()));
        self.listeners.push(listener);
        self.xenstored.introduce(domid);
        Ok(())
    }

    /// Returns the xenstored that is served.
    pub fn xenstored(&self) -> &Xenstored {
        &self.xenstored
    }

    /// Returns a handle that stops [`run`](Self::run).
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.mailbox.clone())
    }

    /// Serves clients until the server is stopped.
    ///
    /// # Errors
    /// Fails if the system's poll fails. No client can make it fail.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.mailbox.is_stopped() {
            self.poll(&mut events)?;
            self.round();
            // Serves the output that the first round has caused.
            self.round();
        }
        // Send the replies to requests that were already handled.
        for client in self.clients.iter_mut().flatten() {
            client.flush();
        }
        self.clients.clear();
        Ok(())
    }

    /// Collects the sources of work from the system. Waits for the first one if there is none.
    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        let has_work = self.turns.len() > 0;
        let timeout = if has_work { Some(Duration::ZERO) } else { self.mailbox.prepare_wait() };
        let collected = self.collect(events, timeout);
        self.mailbox.end_wait();
        collected
    }

    pub(super) fn collect(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &*events {
            match event.token() {
                WAKER => {}
                Token(at) if at >= LISTENERS => self.turns.add(Source::Listener(at - LISTENERS)),
                Token(at) => {
                    if let Some(client) = self.clients.get_mut(at).and_then(Option::as_mut) {
                        client.handle_event(event);
                        self.turns.add(Source::Client(at));
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives one turn to each source of work, unless the server is stopped.
    pub(super) fn round(&mut self) {
        for at in self.mailbox.take_ready() {
            self.turns.add(Source::Client(at));
        }
        for _ in 0..self.turns.len() {
            if self.mailbox.is_stopped() {
                return;
            }
            self.turn();
        }
    }

    /// Gives one turn to the source that has waited longest.
    pub(super) fn turn(&mut self) {
        match self.turns.next() {
            Some(Source::Listener(at)) => self.accept(at),
            Some(Source::Client(at)) => self.serve(at),
            None => {}
        }
    }

    fn serve(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        match client.take_turn(&mut self.buffer) {
            Turn::Idle => {}
            Turn::More => self.turns.add(Source::Client(at)),
            Turn::Gone => {
                self.clients[at] = None;
                self.free.push(at);
                // Accepting may have failed for want of the descriptor that is free now.
                (0..self.listeners.len()).for_each(|at| self.turns.add(Source::Listener(at)));
            }
        }
    }

    fn accept(&mut self, at: usize) {
        for _ in 0..ACCEPTED_MAX {
            let Some(stream) = self.listeners[at].accept() else {
                return;
            };
            // Fails if the system is out of descriptors or memory. The client sees the end of the
            // stream.
            let _ = self.add(stream, self.listeners[at].domid);
        }
        self.turns.add(Source::Listener(at));
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
        let mailbox = self.mailbox.clone();
        let notify = Notify(Box::new(move || mailbox.push_ready(at)));
        let pipe = self.xenstored.connect_with(domid, Some(notify));
        self.clients[at] = Some(Client::new(stream, pipe));
        self.turns.add(Source::Client(at));
        Ok(())
    }
}

impl StopHandle {
    /// Stops the server. If it does not run yet, it stops as soon as it does.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("sockets", &self.listeners.len())
            .field("clients", &(self.clients.len() - self.free.len()))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").field("is_stopped", &self.0.is_stopped()).finish()
    }
}
