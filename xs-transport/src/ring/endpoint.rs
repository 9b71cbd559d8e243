//! The guest's page and its event channel.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use xs_proto::ring::{Page, RingClient, RingError};

use super::channel::EventChannel;
use super::transport::RingTransport;

/// A page that is shared with xenstored, and its event channel.
///
/// [`connect`](Self::connect) makes a [`RingTransport`]. The page has one connection at a time, since
/// xenstored has no other way to tell connections apart: connecting again ends the connection before.
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
/// To let a client of `xs-client` replace a lost connection, pass a function that calls
/// [`connect`](Self::connect) to its builder (`Builder::with_connector`).
pub struct RingEndpoint<P, C> {
    shared: Arc<Shared<P, C>>,
}

/// The part that an endpoint shares with its connections.
pub(super) struct Shared<P, C> {
    state: Mutex<State<P>>,
    /// Notified when the thread that waits for the channel returns, for the threads that rely on it.
    changed: Condvar,
    pub(super) channel: C,
    /// The descriptor of the channel may be watched, so that it has to be readable while there are
    /// bytes to receive.
    pub(super) is_watched: AtomicBool,
    pub(super) name: String,
}

pub(super) struct State<P> {
    pub(super) client: RingClient<P>,
    /// The number of the connection. 0 before the first one.
    pub(super) generation: u64,
    pub(super) is_closed: bool,
    /// A thread has called `wake`, and no wait has returned since.
    pub(super) is_woken: bool,
    /// A thread waits for the channel.
    is_waiting: bool,
    /// Why the last connection has failed, if the ring was the reason.
    failure: Option<RingError>,
}

impl<P: Page, C: EventChannel> RingEndpoint<P, C> {
    /// Creates an endpoint. Its connections are [described](crate::Transport::describe) as `name`.
    pub fn new(page: P, channel: C, name: impl Into<String>) -> Self {
        let state = State {
            client: RingClient::new(page),
            generation: 0,
            is_closed: false,
            is_woken: false,
            is_waiting: false,
            failure: None,
        };
        RingEndpoint {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
                channel,
                is_watched: AtomicBool::new(false),
                name: name.into(),
            }),
        }
    }

    /// Connects, and ends the connection before, if there was one.
    ///
    /// The first connection uses the ring as it is. Each later one asks xenstored to reset the ring
    /// (`XENSTORE_RECONNECT`), unless xenstored or the toolstack has asked for it already. In either
    /// case this does not wait: until xenstored serves the ring, the transport sends and receives
    /// nothing.
    ///
    /// # Errors
    /// `Unsupported` if there was a connection, and xenstored does not offer to reset the ring. The
    /// source is [`RingError::NotOffered`]. Otherwise the error of the event channel.
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
        // xenstored may have missed what others have changed.
        if state.client.must_notify() || !is_first {
            self.shared.channel.notify()?;
        }
        drop(state);
        Ok(RingTransport::new(self.shared.clone(), generation))
    }
}

impl<P: Page, C: EventChannel> Shared<P, C> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<P>> {
        // No call on the state panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies xenstored of changes to the ring.
    pub(super) fn notify_if_needed(&self, state: &mut State<P>) -> io::Result<()> {
        match state.client.must_notify() {
            true => self.channel.notify(),
            false => Ok(()),
        }
    }

    /// Lets all waiting threads look at the state again.
    pub(super) fn tell_threads(&self, state: &mut State<P>) {
        self.changed.notify_all();
        if state.is_waiting {
            self.channel.raise();
        }
    }

    /// Waits for an event, until the deadline or until [`tell_threads`](Self::tell_threads), and
    /// clears the event. May return spuriously.
    ///
    /// One thread waits for the channel. If others wait as well, it wakes them.
    pub(super) fn wait_for_event<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P>>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State<P>>, io::Result<()>) {
        if state.is_waiting {
            return (self.wait_for_change(state, deadline), Ok(()));
        }
        state.is_waiting = true;
        drop(state);
        let role = WaitingRole(self);
        let waited = match self.channel.wait(deadline) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        };
        std::mem::forget(role);
        // No other thread begins to wait for the channel before the event has been cleared, and all
        // look at the ring afterwards.
        let mut state = self.lock();
        state.is_waiting = false;
        let cleared = self.channel.clear();
        self.changed.notify_all();
        (state, waited.and(cleared))
    }

    /// Clears the event without waiting. Leaves that to a thread that waits for it, if there is one,
    /// since that thread may be told of the event only once.
    pub(super) fn clear_event(&self, state: &State<P>) -> io::Result<()> {
        match state.is_waiting {
            true => Ok(()),
            false => self.channel.clear(),
        }
    }

    fn wait_for_change<'a>(
        &'a self,
        state: MutexGuard<'a, State<P>>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State<P>> {
        let Some(deadline) = deadline else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Makes the descriptor readable again if an event was cleared, but bytes are left.
    pub(super) fn update_readiness(&self, state: &mut State<P>) {
        if self.is_watched.load(Ordering::Relaxed)
            && !state.client.available().is_ok_and(|len| len == 0)
        {
            self.channel.raise();
        }
    }
}

impl<P> State<P> {
    /// Notes why a connection has failed.
    pub(super) fn fail(&mut self, error: RingError) -> io::Error {
        self.failure.get_or_insert(error);
        io_error(error)
    }
}

/// Lets other threads wait for the channel if a call of the channel panics.
struct WaitingRole<'a, P: Page, C: EventChannel>(&'a Shared<P, C>);

impl<P: Page, C: EventChannel> Drop for WaitingRole<'_, P, C> {
    fn drop(&mut self) {
        self.0.lock().is_waiting = false;
        self.0.changed.notify_all();
    }
}

/// Turns an error of the ring into one of the transport, of which it is the source.
fn io_error(error: RingError) -> io::Error {
    let kind = match error {
        RingError::Indices { .. } | RingError::Connection { .. } => io::ErrorKind::InvalidData,
        RingError::NotOffered => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, error)
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
