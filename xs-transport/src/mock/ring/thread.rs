//! Rings that are each served by a thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use xs_proto::ring::{Page, RingPage};
use xs_proto::{DomId, Features};

use super::connection::{Connection, Turn};
use crate::mock::xenstored::Xenstored;
use crate::ring::{EventChannel, MemoryChannel, RingEndpoint};

impl Xenstored {
    /// Creates a page and an event channel that connect a domain to this xenstored, like those of a
    /// guest. Introduces the domain if it is unknown. Each call creates a new ring.
    ///
    /// A thread serves the ring until the endpoint and its connections are dropped, or until the
    /// domain is gone. It offers the [features](xs_proto::Features) of the daemon: oxenstored lets
    /// a guest reset its ring, and the C daemon of Xen 4.22 tells a guest why it gave up the ring.
    ///
    /// A connection over a ring ends like one over a [`Pipe`](crate::mock::Pipe), for example by
    /// [`disconnect`](Self::disconnect). The guest then reads an error in the page, if the daemon
    /// offers this feature.
    ///
    /// # Errors
    /// Fails if the system cannot start a thread.
    ///
    /// ```
    /// use xs_proto::{ClientConnection, DomId, Event, Path, Reply, Request, TxId};
    /// use xs_transport::mock::Xenstored;
    /// use xs_transport::{Transport, Wait};
    ///
    /// let xenstored = Xenstored::new();
    /// xenstored.add_guest(DomId::new(5));
    ///
    /// let endpoint = xenstored.ring(DomId::new(5))?;
    /// let transport = endpoint.connect()?;
    /// let mut client = ClientConnection::new(transport.limits());
    /// client.submit(TxId::NONE, &Request::Read(Path::new("name")?), ())?;
    /// transport.send(&client.take_output())?;
    ///
    /// let mut buf = [0; 64];
    /// let reply = loop {
    ///     let n = match transport.recv(&mut buf, Wait::Until(None)) {
    ///         Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
    ///         result => result?,
    ///     };
    ///     if let Some(Event::Reply { reply, .. }) = client.receive(&buf[..n])?.event {
    ///         break reply;
    ///     }
    /// };
    /// assert_eq!(reply, Reply::Value(b"guest-5".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ring(&self, domid: DomId) -> io::Result<RingEndpoint<Arc<RingPage>, MemoryChannel>> {
        let page = Arc::new(RingPage::new());
        let (ours, theirs) = MemoryChannel::pair();
        self.serve_ring(domid, page.clone(), theirs)?;
        Ok(RingEndpoint::new(
            page,
            ours,
            format!("a ring of an in-memory xenstored, as domain {domid}"),
        ))
    }

    /// Serves a guest over a page and xenstored's end of an event channel. Introduces the domain if
    /// it is unknown.
    ///
    /// A thread serves the ring until the channel fails, or until the domain is gone.
    /// [`ring`](Self::ring) does the same with a new page and channel. Use this method to write to
    /// the page as a broken guest does, or to lose events.
    ///
    /// # Errors
    /// `InvalidData` if the page is broken: the error holds a
    /// [`RingError`](xs_proto::ring::RingError). Otherwise the error of starting a thread.
    pub fn serve_ring(
        &self,
        domid: DomId,
        page: impl Page + Send + 'static,
        channel: impl EventChannel + 'static,
    ) -> io::Result<()> {
        self.introduce(domid);
        self.serve_ring_with(domid, page, channel, self.ring_features(domid))
    }

    pub(super) fn serve_ring_with(
        &self,
        domid: DomId,
        page: impl Page + Send + 'static,
        channel: impl EventChannel + 'static,
        features: Features,
    ) -> io::Result<()> {
        self.start_ring(domid, page, channel, features, |_| {}).map(drop)
    }

    /// Starts the thread of a ring, after `prepare`.
    pub(in crate::mock) fn start_ring<P: Page + Send + 'static>(
        &self,
        domid: DomId,
        page: P,
        channel: impl EventChannel + 'static,
        features: Features,
        prepare: impl FnOnce(&mut Connection<P>),
    ) -> io::Result<RingThread<P>> {
        let channel = Arc::new(channel);
        let (changed, notified) = (Arc::downgrade(&channel), channel.clone());
        let mut connection = Connection::new(
            self,
            domid,
            page,
            features,
            move || {
                if let Some(channel) = changed.upgrade() {
                    channel.raise();
                }
            },
            move || notified.notify(),
        )
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        prepare(&mut connection);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (stopped, raised) = (is_stopped.clone(), Arc::downgrade(&channel));
        let thread = thread::Builder::new().name(format!("ring of domain {domid}"));
        let handle = thread.spawn(move || serve(connection, &*channel, &stopped))?;
        Ok(RingThread { domid, is_stopped, channel: raised, handle })
    }
}

/// The thread of a ring.
#[cfg_attr(
    not(all(target_os = "linux", feature = "xen")),
    allow(dead_code, reason = "only a host stops its rings")
)]
pub(in crate::mock) struct RingThread<P> {
    domid: DomId,
    is_stopped: Arc<AtomicBool>,
    channel: Weak<dyn EventChannel>,
    handle: JoinHandle<Option<Connection<P>>>,
}

#[cfg(all(target_os = "linux", feature = "xen"))]
impl<P> RingThread<P> {
    /// Returns the domain whose ring it is.
    pub(in crate::mock) fn domid(&self) -> DomId {
        self.domid
    }

    /// Returns whether the thread has ended, because its domain is gone.
    pub(in crate::mock) fn is_over(&self) -> bool {
        self.handle.is_finished()
    }

    /// Stops the thread, and returns the connection if it was still served.
    pub(in crate::mock) fn stop(self) -> Option<Connection<P>> {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(channel) = self.channel.upgrade() {
            channel.raise();
        }
        self.handle.join().ok().flatten()
    }
}

/// Serves a ring until the domain or the other end of the channel is gone, or until it is stopped.
/// In the latter case, returns the connection.
fn serve<P: Page>(
    mut connection: Connection<P>,
    channel: &dyn EventChannel,
    is_stopped: &AtomicBool,
) -> Option<Connection<P>> {
    loop {
        if is_stopped.load(Ordering::SeqCst) {
            return Some(connection);
        }
        // The event is cleared before the turn, so that the next one starts a turn of its own. The
        // last requests of a guest that is gone are handled, too.
        let cleared = channel.clear();
        let turn = connection.take_turn();
        let is_over = match turn {
            Turn::Gone => true,
            Turn::More => cleared.is_err(),
            Turn::Idle => cleared.is_err() || channel.wait(None).is_err(),
        };
        if is_over {
            return None;
        }
    }
}
