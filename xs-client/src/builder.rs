//! Options of a client, and the functions that open one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use xs_transport::Transport;
use xs_transport::discover::{self, Candidate};

use crate::client::Client;
use crate::engine::{Connector, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;

/// Options for a [`Client`]. The client is created by [`open`](Self::open),
/// [`open_at`](Self::open_at), [`from_transport`](Self::from_transport) or
/// [`with_connector`](Self::with_connector).
///
/// ```no_run
/// use std::time::Duration;
/// use xs_client::Client;
///
/// let client = Client::builder()
///     .timeout(Duration::from_secs(2))
///     .open_at("/run/xenstored/socket")?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it opens a client"]
pub struct Builder {
    timeout: Option<Duration>,
    connect_timeout: Duration,
    watch_capacity: usize,
    reconnect: bool,
    candidates: Vec<Candidate>,
}

/// Longer than a working daemon takes for any request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Bounds the memory of a watch whose events pile up: some hundred kilobytes.
const DEFAULT_WATCH_CAPACITY: usize = 1024;

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Creates a builder with the default options.
    pub fn new() -> Self {
        Builder {
            timeout: Some(DEFAULT_TIMEOUT),
            connect_timeout: DEFAULT_TIMEOUT,
            watch_capacity: DEFAULT_WATCH_CAPACITY,
            reconnect: false,
            candidates: Vec::new(),
        }
    }

    /// Sets how long each operation may take. The default is 30 seconds; `None` waits indefinitely.
    ///
    /// An operation returns within about 10 ms of its deadline. The exception is setting or
    /// removing a watch over the xenbus device, where the kernel waits for the daemon.
    ///
    /// With a timeout of less than 10 seconds, an operation over a Unix socket needs one more
    /// system call, poll(2).
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets how long the first attempt to connect to each path or [candidate](Self::candidate) may
    /// take. The default is 30 seconds. An attempt to [reconnect](Self::reconnect) takes at most
    /// one second.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how many events each watch may hold until the program takes them. The default is 1024,
    /// the minimum 1.
    ///
    /// Further events are dropped, and the watch then returns one event of the kind
    /// [`Overflow`](crate::EventKind::Overflow). A watch whose events are not taken delays no other
    /// user of this client. Events that the client does not [receive](crate#threads) can delay the
    /// clients that cause them.
    pub fn watch_capacity(mut self, events: usize) -> Self {
        self.watch_capacity = events;
        self
    }

    /// Sets whether the client connects again when the connection is lost. The default is `false`.
    ///
    /// Operations that wait for an answer when the connection is lost still fail, because the
    /// daemon may or may not have executed them. The next operation, or the next wait for an event,
    /// tries to connect until its deadline. A [future](crate::futures) does the same through its
    /// driver. Calls that do not wait, such as [`start`](crate::Tree::start) and
    /// [`try_next`](crate::Watch::try_next), make at most one attempt, of at most 10 ms. Pauses
    /// between attempts grow from 5 ms to one second, and start again at 5 ms after a connection
    /// that has lasted for at least a second.
    ///
    /// On the new connection, the client sets all its watches again, and each watch returns an
    /// event of the kind [`Reconnected`](crate::EventKind::Reconnected). Operations in a
    /// transaction that was open fail with [`ErrorKind::TransactionLost`].
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Adds a candidate that [`open`](Self::open) tries before the paths of this machine.
    /// Candidates are tried in the order in which they were added. The other methods ignore them.
    ///
    /// ```no_run
    /// use std::net::TcpStream;
    /// use xs_client::Client;
    /// use xs_transport::StreamTransport;
    /// use xs_transport::discover::Candidate;
    ///
    /// let client = Client::builder()
    ///     .candidate(Candidate::new("a tunnel", |timeout| {
    ///         let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], 5901).into(), timeout)?;
    ///         Ok(Box::new(StreamTransport::new(stream, "a tunnel")?))
    ///     }))
    ///     .open()?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    pub fn candidate(mut self, candidate: Candidate) -> Self {
        self.candidates.push(candidate);
        self
    }

    /// Connects to the daemon of this machine; see [`Client::open`].
    ///
    /// # Errors
    /// [`ErrorKind::NoDaemon`], as for [`Client::open`].
    pub fn open(mut self) -> Result<Client> {
        let first = std::mem::take(&mut self.candidates);
        let open = move |timeout| {
            let paths = discover::candidates().into_iter().map(Candidate::from_path);
            discover::open_first(first.iter().cloned().chain(paths), timeout)
        };
        let transport = open(self.connect_timeout)
            .map_err(|error| Error::new("open", None, ErrorKind::NoDaemon(error)))?;
        let connector = Connector::new(move |timeout| Ok(open(timeout)?));
        Ok(self.client(transport.into(), Some(connector)))
    }

    /// Connects to the socket or device at `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], with the error of the system.
    pub fn open_at(self, path: impl AsRef<Path>) -> Result<Client> {
        let path = path.as_ref().to_owned();
        let transport = discover::open_at(&path, self.connect_timeout).map_err(|error| {
            Error::new("open", Some(&path.to_string_lossy()), ErrorKind::Unreachable(error))
        })?;
        let connector = Connector::new(move |timeout| discover::open_at(&path, timeout));
        Ok(self.client(transport.into(), Some(connector)))
    }

    /// Creates a client over a transport that is connected already.
    ///
    /// Such a client cannot connect again: [`reconnect`](Self::reconnect) has no effect.
    pub fn from_transport(self, transport: impl Transport + 'static) -> Client {
        self.client(Arc::new(transport), None)
    }

    /// Creates a client over a transport that `open` returns.
    ///
    /// `open` is called once now, and again for each attempt to [reconnect](Self::reconnect). Its
    /// argument is how long the attempt may take.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], with the error of `open`.
    pub fn with_connector(
        self,
        open: impl Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Result<Client> {
        let transport = open(self.connect_timeout)
            .map_err(|error| Error::new("open", None, ErrorKind::Unreachable(error)))?;
        Ok(self.client(transport.into(), Some(Connector::new(open))))
    }

    /// Creates a client. `connector` replaces a lost connection, if the client reconnects.
    fn client(self, transport: Arc<dyn Transport>, connector: Option<Connector>) -> Client {
        let connector = connector.filter(|_| self.reconnect);
        let engine = Engine::new(transport, self.watch_capacity, connector);
        Client::new(Handle(Arc::new(engine)), self.timeout)
    }
}

impl Client {
    /// Connects to the daemon of this machine: to its socket, or to the device of the kernel.
    ///
    /// It tries the paths of [`xs_transport::discover::candidates`](discover::candidates) in order;
    /// the environment variable `XENSTORED_PATH` sets the first one. [`Builder::candidate`] adds
    /// others.
    ///
    /// # Errors
    /// [`ErrorKind::NoDaemon`] if no path leads to a daemon. The error lists the paths that were
    /// tried, and why each of them failed.
    #[doc(alias("xs_open", "xs_daemon_open", "connect"))]
    pub fn open() -> Result<Self> {
        Builder::new().open()
    }

    /// Connects to the socket or device at `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], with the error of the system.
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self> {
        Builder::new().open_at(path)
    }

    /// Creates a client over a transport that is connected already, such as one to the in-memory
    /// daemon `xs_transport::mock::Xenstored`.
    pub fn from_transport(transport: impl Transport + 'static) -> Self {
        Builder::new().from_transport(transport)
    }

    /// Returns a builder, which sets timeouts and other options before it connects.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use xs_proto::DomId;
    use xs_transport::mock::Xenstored;

    use super::*;

    #[test]
    fn transport_is_opened_within_the_connect_timeout() {
        let xenstored = Xenstored::new();
        let name = xenstored.connect(DomId::DOM0).describe();
        let given = Arc::new(Mutex::new(Vec::new()));
        let times = given.clone();
        let client = Client::builder()
            .reconnect(true)
            .connect_timeout(Duration::from_secs(7))
            .with_connector(move |timeout| {
                times.lock().unwrap().push(timeout);
                Ok(Box::new(xenstored.connect(DomId::DOM0)))
            })
            .unwrap();
        assert_eq!(client.transport_name(), name);
        assert_eq!(*given.lock().unwrap(), [Duration::from_secs(7)]);
    }
}
