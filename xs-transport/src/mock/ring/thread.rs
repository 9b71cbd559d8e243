//! Rings in memory, each served by a thread.

use std::io;
use std::sync::Arc;
use std::thread;

use xs_proto::ring::{Page, RingPage};
use xs_proto::{DomId, Features};

use super::connection::{Connection, Turn};
use crate::mock::xenstored::Xenstored;
use crate::ring::{EventChannel, MemoryChannel, RingEndpoint};

impl Xenstored {
    /// Creates a page and an event channel that connect a domain to this xenstored, as those of a
    /// guest do. Introduces the domain if it is unknown. Each call makes a ring of its own.
    ///
    /// A thread serves the ring until the endpoint and its connections are dropped, or until the
    /// domain is gone. It offers the [features](xs_proto::Features) that the daemon offers: the
    /// oxenstored lets a guest reset its ring, and the C daemon tells it why it gave the ring up.
    ///
    /// A connection over a ring ends as one over a [`Pipe`](crate::mock::Pipe) does, for example by
    /// [`disconnect`](Self::disconnect), and the guest then reads an error in the page. As with
    /// genuine daemons, the guest of an oxenstored is not told.
    ///
    /// # Errors
    /// If the system cannot start a thread.
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

    /// Serves a guest over a page and xenstored's end of an event channel. Introduces the domain if it
    /// is unknown.
    ///
    /// A thread serves the ring until the channel fails, or until the domain is gone. The
    /// [`ring`](Self::ring) method does the same with a page and a channel that it makes. Use this one
    /// to write to the page as a broken guest does, or to lose events.
    ///
    /// # Errors
    /// `InvalidData` if the page is broken: the source is a
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

    pub(in crate::mock) fn serve_ring_with(
        &self,
        domid: DomId,
        page: impl Page + Send + 'static,
        channel: impl EventChannel + 'static,
        features: Features,
    ) -> io::Result<()> {
        let channel = Arc::new(channel);
        let (changed, notified) = (Arc::downgrade(&channel), channel.clone());
        let connection = Connection::new(
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
        let thread = thread::Builder::new().name(format!("ring of domain {domid}"));
        thread.spawn(move || serve(connection, &*channel))?;
        Ok(())
    }
}

/// Serves a ring until the domain or the other end of the channel is gone.
fn serve(mut connection: Connection<impl Page>, channel: &dyn EventChannel) {
    loop {
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
            return;
        }
    }
}
