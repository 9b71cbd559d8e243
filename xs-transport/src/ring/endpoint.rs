//! The guest's page and its event channel.

use std::fmt;
use std::io;
use std::sync::Arc;

use xs_proto::ring::{Page, RingError};

use super::channel::EventChannel;
use super::shared::{Shared, io_error};
use super::transport::RingTransport;

/// A page that is shared with xenstored, and its event channel.
///
/// [`connect`](Self::connect) makes a [`RingTransport`]. The page has one connection at a time,
/// because the bytes in the rings do not name a connection. Connecting again ends the previous
/// connection.
///
/// ```
/// use std::sync::Arc;
/// use xs_proto::Features;
/// use xs_proto::ring::{RingPage, RingServer};
/// use xs_transport::ring::{EventChannel, MemoryChannel, RingEndpoint};
/// use xs_transport::{Sent, Transport, Wait};
///
/// let page = Arc::new(RingPage::new());
/// let (ours, theirs) = MemoryChannel::pair();
/// let mut server = RingServer::new(page.clone(), Features::NONE)?;
///
/// let endpoint = RingEndpoint::new(page, ours, "the ring of an example");
/// let transport = endpoint.connect()?;
/// assert_eq!(transport.send(b"request")?, Sent::Bytes(7));
///
/// // xenstored has been notified, and replies.
/// theirs.wait(None)?;
/// server.send(b"reply")?;
/// theirs.notify()?;
/// assert_eq!(transport.recv(&mut [0; 16], Wait::Until(None))?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To make a client of `xs-client` replace a lost connection, pass a function that calls
/// [`connect`](Self::connect) to its builder (`Builder::with_connector`).
pub struct RingEndpoint<P, C> {
    shared: Arc<Shared<P, C>>,
}

impl<P: Page, C: EventChannel> RingEndpoint<P, C> {
    /// Creates an endpoint. Its connections are [described](crate::Transport::describe) as `name`.
    pub fn new(page: P, channel: C, name: impl Into<String>) -> Self {
        RingEndpoint { shared: Arc::new(Shared::new(page, channel, name.into())) }
    }

    /// Connects, and ends the previous connection, if there was one.
    ///
    /// The first connection uses the ring as it is. Each later one asks xenstored to reset the ring
    /// (`XENSTORE_RECONNECT`), unless xenstored or the toolstack has asked for it already.
    /// `connect` does not wait for xenstored: until xenstored serves the ring, the transport sends
    /// and receives nothing.
    ///
    /// # Errors
    /// `Unsupported` if there was a connection, and xenstored does not offer to reset the ring: the
    /// error holds [`RingError::NotOffered`]. Otherwise the error of the event channel.
    pub fn connect(&self) -> io::Result<RingTransport<P, C>> {
        let mut state = self.shared.lock();
        let is_first = state.generation == 0;
        if !is_first {
            match state.failure.take() {
                Some(RingError::Reconnecting) => state.client.restart(),
                failure => {
                    if let Err(error) = state.client.reconnect() {
                        state.failure = failure;
                        return Err(io_error(error));
                    }
                }
            }
        }
        state.generation += 1;
        state.is_closed = false;
        let generation = state.generation;
        self.shared.tell_threads(&mut state);
        // xenstored may have missed the event for an earlier change of the page, for example by the
        // toolstack.
        if state.client.must_notify() || !is_first {
            self.shared.channel.notify()?;
        }
        drop(state);
        Ok(RingTransport::new(self.shared.clone(), generation))
    }
}

impl<P, C> Clone for RingEndpoint<P, C> {
    fn clone(&self) -> Self {
        RingEndpoint { shared: self.shared.clone() }
    }
}

impl<P, C> fmt::Debug for RingEndpoint<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RingEndpoint").field(&self.shared.name).finish()
    }
}
