//! The client: how to get one, and what it offers beside the tree.

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use xs_proto::{DomId, ErrorCode};
use xs_transport::{Transport, discover};

use crate::core::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::link::{Handle, Link};
use crate::op::{self, Answer, Op};
use crate::reconnect::Opener;
use crate::tree::Tree;

/// A connection to a xenstored, to be cloned and shared at will.
///
/// Any number of threads may use one client; their requests are in flight together, as far as the
/// way to the daemon allows, and each gets its own answer. A thread that is alone with a client
/// does its own sending and receiving, and the client starts none of its own until a watch with a
/// callback is set. When the last clone, transaction and watch is dropped, the connection ends; also
/// for the other side of a fork(2), which had better open a client of its own.
///
/// It dereferences to [`Tree`], which has the operations on nodes.
///
/// ```no_run
/// use xs_client::Client;
///
/// let client = Client::open()?;
/// println!("I am domain {}", client.read_str("domid")?);
/// client.write("data/greeting", "hello")?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    tree: Tree,
}

impl Client {
    /// Connects to the xenstored of this machine, wherever libxenstore would find it; see
    /// [`discover`].
    ///
    /// # Errors
    /// None can be reached; the error says what was tried, and how it failed.
    pub fn open() -> Result<Self> {
        Builder::new().open()
    }

    /// Connects to the socket or the device at `path`.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self> {
        Builder::new().open_at(path)
    }

    /// Uses a transport of the caller's.
    pub fn over(transport: impl Transport + 'static) -> Self {
        Builder::new().over(transport)
    }

    /// To choose the timeout and other things before connecting.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The same client, with another timeout for each operation; `None`: wait for ever.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use std::time::Duration;
    ///
    /// client.with_timeout(Duration::from_millis(100)).mkdir("/a")?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        let mut client = self.clone();
        client.tree.timeout = timeout.into();
        client
    }

    /// Which way leads to the daemon: the path of a socket or a device.
    pub fn transport_name(&self) -> String {
        self.handle.drive.transport().describe()
    }

    /// Ends the connection now: everybody who waits for something returns with an error. No other
    /// one is made, even if the client [reconnects](Builder::reconnect).
    pub fn close(&self) {
        self.handle.close();
    }

    /// Tells the daemon of a new domain: its Xenstore ring is at the guest frame `gfn` and rings
    /// the event channel `evtchn`. For privileged domains.
    pub fn introduce(&self, domid: DomId, gfn: u64, evtchn: u32) -> Result<()> {
        self.run(&op::introduce(domid, gfn, evtchn))
    }

    /// Tells the daemon to forget a domain. For privileged domains.
    pub fn release(&self, domid: DomId) -> Result<()> {
        self.run(&op::release(domid))
    }

    /// Lets the shutdown of a domain that was resumed be noticed again. For privileged domains.
    pub fn resume(&self, domid: DomId) -> Result<()> {
        self.run(&op::resume(domid))
    }

    /// Lets `domid` act with the rights of `target`. For privileged domains.
    pub fn set_target(&self, domid: DomId, target: DomId) -> Result<()> {
        self.run(&op::set_target(domid, target))
    }

    /// The home of a domain, such as `/local/domain/5`; the domain need not exist.
    pub fn get_domain_path(&self, domid: DomId) -> Result<String> {
        self.run(&op::get_domain_path(domid))
    }

    /// Whether the daemon knows a domain.
    pub fn is_domain_introduced(&self, domid: DomId) -> Result<bool> {
        self.run(&op::is_domain_introduced(domid))
    }

    /// Gives a command to the daemon itself, such as `["check"]`, and returns what it says. Which
    /// commands there are depends on the daemon. For privileged domains.
    pub fn control<S: AsRef<[u8]>>(&self, words: impl IntoIterator<Item = S>) -> Result<String> {
        self.run(&op::control(words))
    }

    /// The features of the daemon, as bits (`XENSTORE_SERVER_FEATURE_*`).
    ///
    /// # Errors
    /// Daemons before Xen 4.22 answer ENOSYS.
    pub fn get_features(&self) -> Result<u32> {
        self.is_known(&op::get_feature(DomId::DOM0))?;
        self.run(&op::get_server_feature())
    }

    /// The features that the daemon offers to a domain.
    pub fn get_domain_features(&self, domid: DomId) -> Result<u32> {
        self.run(&op::get_feature(domid))
    }

    /// Sets the features that the daemon offers to a domain, before it is introduced. For
    /// privileged domains.
    pub fn set_domain_features(&self, domid: DomId, features: u32) -> Result<()> {
        self.run(&op::set_feature(domid, features))
    }

    /// The names of the quotas that the daemon knows.
    ///
    /// # Errors
    /// Daemons before Xen 4.22 answer ENOSYS.
    pub fn quotas(&self) -> Result<Vec<String>> {
        self.is_known(&op::get_quota(None, "nodes"))?;
        let names = self.run(&op::quotas())?;
        Ok(names.split_ascii_whitespace().map(String::from).collect())
    }

    /// The default value of a quota for new domains.
    pub fn get_quota(&self, quota: &str) -> Result<u32> {
        self.quota_of(None, quota)
    }

    /// The value of a quota for a domain.
    pub fn get_domain_quota(&self, domid: DomId, quota: &str) -> Result<u32> {
        self.quota_of(Some(domid), quota)
    }

    /// Sets the default value of a quota for new domains. For privileged domains.
    pub fn set_quota(&self, quota: &str, value: u32) -> Result<()> {
        self.run(&op::set_quota(None, quota, value))
    }

    /// Sets the value of a quota for a domain. For privileged domains.
    pub fn set_domain_quota(&self, domid: DomId, quota: &str, value: u32) -> Result<()> {
        self.run(&op::set_quota(Some(domid), quota, value))
    }

    /// Ends all watches and transactions of this connection, as the daemon sees it. The watches
    /// of this client end with it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on the xenbus device, where it would end those of everybody in
    /// the domain; see [`reset_domain_watches`](Self::reset_domain_watches).
    pub fn reset_watches(&self) -> Result<()> {
        if self.handle.drive.transport().limits().shared_session {
            let why = "on this device it would end the watches and transactions of all programs";
            return Err(Error::new("reset_watches", None, ErrorKind::Unsupported(why)));
        }
        self.reset_domain_watches()
    }

    /// Like [`reset_watches`](Self::reset_watches), also on the xenbus device, where it ends the
    /// watches and transactions of all programs and of the kernel in this domain.
    pub fn reset_domain_watches(&self) -> Result<()> {
        let answer = self.run(&op::reset_watches());
        if answer.is_ok() {
            self.forget_callbacks();
        }
        answer
    }

    /// Whether the daemon knows a type of request at all. To be asked before one without payload
    /// is sent: oxenstored, which does not know these types, takes such a request up only when
    /// another one follows.
    fn is_known<T: Answer>(&self, op: &Op<'_, T>) -> Result<()> {
        match self.run(op) {
            Err(error) if error.code() == Some(&ErrorCode::NotSupported) => Err(error),
            Err(error) if error.code().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    fn quota_of(&self, domid: Option<DomId>, quota: &str) -> Result<u32> {
        let op = op::get_quota(domid, quota);
        let value = self.run(&op)?;
        value
            .trim()
            .parse()
            .map_err(|_| op.label.unexpected("the value of the quota is not a number"))
    }
}

impl Deref for Client {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

/// How a [`Client`] connects, and what holds for it.
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
pub struct Builder {
    timeout: Option<Duration>,
    connect_timeout: Duration,
    watch_capacity: usize,
    reconnect: bool,
}

/// Longer than any daemon takes that still works.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Some hundred kilobytes, if nobody takes events of a busy watch.
const DEFAULT_WATCH_CAPACITY: usize = 1024;

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Builder {
            timeout: Some(DEFAULT_TIMEOUT),
            connect_timeout: DEFAULT_TIMEOUT,
            watch_capacity: DEFAULT_WATCH_CAPACITY,
            reconnect: false,
        }
    }

    /// Sets how long each operation may take. The default is 30 seconds; `None` waits indefinitely.
    ///
    /// With a timeout of less than ten seconds, an operation over the Unix socket takes one system
    /// call more, a poll(2).
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long connecting may take; 30 seconds unless set.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many events of one watch are kept for its owner to take, before an
    /// [overflow](crate::EventKind::Overflow) is reported; 1024 unless set, at least 1.
    #[must_use]
    pub fn watch_capacity(mut self, events: usize) -> Self {
        self.watch_capacity = events;
        self
    }

    /// Whether to connect again when the connection is lost; not unless set.
    ///
    /// Those who wait for an answer when it happens get an error all the same: whether their
    /// request was carried out is not known. The next call, or whoever waits for a watch, connects
    /// again, and tries until its deadline; a [future](crate::futures) likewise, by its driver. What
    /// does not wait, [`start`](crate::Tree::start) and [`try_next`](crate::Watch::try_next), makes
    /// one attempt, when it is time for one. The pauses between attempts grow up to a second.
    ///
    /// On the new connection all watches are set again, and each is given an event that says so
    /// ([`Reconnected`](crate::EventKind::Reconnected)). Transactions that were open fail with
    /// [`ErrorKind::TransactionLost`].
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Connects to the xenstored of this machine; see [`Client::open`].
    pub fn open(self) -> Result<Client> {
        let transport = discover::open(self.connect_timeout)
            .map_err(|error| Error::new("open", None, ErrorKind::NotFound(error)))?;
        Ok(self.client(transport.into(), Opener::new(|timeout| Ok(discover::open(timeout)?))))
    }

    /// Connects to the socket or the device at `path`.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open_at(self, path: impl AsRef<Path>) -> Result<Client> {
        let path = path.as_ref().to_owned();
        let transport = discover::open_at(&path, self.connect_timeout).map_err(|error| {
            Error::new("open", Some(&path.to_string_lossy()), ErrorKind::Unreachable(error))
        })?;
        let opener = Opener::new(move |timeout| discover::open_at(&path, timeout));
        Ok(self.client(transport.into(), opener))
    }

    /// Uses a transport of the caller's, which cannot be connected again.
    pub fn over(mut self, transport: impl Transport + 'static) -> Client {
        self.reconnect = false;
        self.client(Arc::new(transport), Opener::new(|_| Err(io::ErrorKind::NotConnected.into())))
    }

    /// Uses transports that `open` makes, within the time that it is given: one now, and another
    /// one whenever the client is to [reconnect](Self::reconnect).
    ///
    /// # Errors
    /// Those of `open`.
    pub fn over_each(
        self,
        open: impl Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Result<Client> {
        let transport = open(self.connect_timeout)
            .map_err(|error| Error::new("open", None, ErrorKind::Unreachable(error)))?;
        Ok(self.client(transport.into(), Opener::new(open)))
    }

    fn client(self, transport: Arc<dyn Transport>, opener: Opener) -> Client {
        let link = Link::new(transport, self.watch_capacity, self.reconnect.then_some(opener));
        let handle = Arc::new(Handle(Arc::new(link)));
        Client { tree: Tree { handle, scope: Scope::NONE, timeout: self.timeout } }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use xs_proto::MessageType;
    use xs_transport::mock::{Fault, Flavour, Xenstored};

    use super::*;

    #[test]
    fn a_client_knows_its_way_and_how_long_to_look_for_it() {
        let xenstored = Xenstored::new();
        let name = xenstored.connect(DomId::DOM0).describe();
        let given = Arc::new(Mutex::new(Vec::new()));
        let times = given.clone();
        let client = Client::builder()
            .reconnect(true)
            .connect_timeout(Duration::from_secs(7))
            .over_each(move |timeout| {
                times.lock().unwrap().push(timeout);
                Ok(Box::new(xenstored.connect(DomId::DOM0)))
            })
            .unwrap();
        assert_eq!(client.transport_name(), name);
        assert!(client.handle.reconnects());
        let shown = format!("{client:?}");
        assert!(shown.contains("Opener {") && shown.contains("Background {"), "{shown}");
        assert_eq!(*given.lock().unwrap(), [Duration::from_secs(7)]);
    }

    /// The features, and how many requests there were.
    fn features(xenstored: &Xenstored) -> (Result<u32>, usize) {
        let client = Client::over(xenstored.connect(DomId::DOM0));
        xenstored.record();
        let features = client.with_timeout(Duration::from_millis(10)).get_features();
        (features, xenstored.take_records().len())
    }

    #[test]
    fn a_daemon_is_not_asked_without_payload_for_what_it_does_not_know() {
        let (features, requests) = features(&Xenstored::with_flavour(Flavour::Ocaml417));
        assert_eq!(features.unwrap_err().code(), Some(&ErrorCode::NotSupported));
        assert_eq!(requests, 1);
    }

    #[test]
    fn whether_it_knows_is_all_that_is_asked_before() {
        let xenstored = Xenstored::new();
        xenstored.inject(Fault::error(ErrorCode::Access).on(MessageType::GetFeature));
        let (answer, requests) = features(&xenstored);
        assert!(answer.is_ok());
        assert_eq!(requests, 2);
        // But that has to be answered.
        xenstored.inject(Fault::ignore().on(MessageType::GetFeature));
        let (answer, requests) = features(&xenstored);
        assert!(answer.unwrap_err().is_timeout());
        assert_eq!(requests, 1);
    }
}
