//! xenstored's end of the rings.

use core::fmt;
use core::sync::atomic::Ordering;

use super::error::{RingError, ServerError};
use super::half::{Consumer, Producer};
use super::page::{Field, Page, Ring};
use super::{CONNECTED, RECONNECT};
use crate::features::Features;

/// xenstored's end of a guest's page: receives requests, and sends replies and watch events, as
/// bytes.
///
/// It does no I/O. The caller drives it like a [`RingClient`](super::RingClient). The bytes are
/// those of [`ServerConnection`](crate::ServerConnection).
///
/// # Errors
/// An error ends the connection, and all later calls return the same error until
/// [`reset`](Self::reset).
///
/// * [`RingError::Reconnecting`]: the guest asks for a new connection. Discard what belongs to the
///   old one (watches, transactions, requests in flight), and then call [`reset`](Self::reset).
/// * Any other error: the guest has broken the page. [`give_up`](Self::give_up) tells it why.
///
/// The guest may be faulty or hostile. No call accesses bytes outside of the rings, and each call
/// does a bounded amount of work, whatever the page contains. The guest can also overwrite the
/// fields of this end, which this end does not read again.
///
/// ```
/// use xs_proto::Features;
/// use xs_proto::ring::{RingClient, RingError, RingPage, RingServer};
///
/// let page = RingPage::new();
/// let mut server = RingServer::new(&page, Features::RECONNECTION)?;
/// let mut client = RingClient::new(&page);
///
/// client.send(b"half of a mess")?;
/// client.reconnect()?;
///
/// let mut buf = [0; 16];
/// assert_eq!(server.receive(&mut buf), Err(RingError::Reconnecting));
/// server.reset();
///
/// client.send(b"request")?;
/// assert_eq!(server.receive(&mut buf)?, 7);
/// # Ok::<(), RingError>(())
/// ```
pub struct RingServer<P> {
    page: P,
    features: Features,
    state: Result<Halves, RingError>,
    must_notify: bool,
}

#[derive(Clone, Copy, Debug)]
struct Halves {
    requests: Consumer,
    replies: Producer,
}

impl<P: Page> RingServer<P> {
    /// Connects to a guest's page, and offers it `features`.
    ///
    /// The page may hold requests already. If it asks for a new connection, it is
    /// [reset](Self::reset).
    ///
    /// # Errors
    /// [`RingError::Indices`] if the indices in the page are impossible, or
    /// [`RingError::Connection`] if the state of the connection is undefined.
    pub fn new(page: P, features: Features) -> Result<Self, RingError> {
        let mut server =
            RingServer { page, features, state: Err(RingError::Reconnecting), must_notify: true };
        match server.page.load(Field::Connection, Ordering::Acquire) {
            CONNECTED => {
                server.page.store(Field::ServerFeatures, features.bits(), Ordering::Relaxed);
                let requests = Consumer::start(&server.page, Ring::Requests)?;
                let replies = Producer::start(&server.page, Ring::Replies)?;
                server.state = Ok(Halves { requests, replies });
            }
            RECONNECT => server.reset(),
            value => return Err(RingError::Connection { value }),
        }
        Ok(server)
    }

    /// Copies bytes from the ring to `buf`, and returns their number: 0 if there are none.
    ///
    /// # Errors
    /// Fails if the connection has ended, see [above](Self#errors).
    pub fn receive(&mut self, buf: &mut [u8]) -> Result<usize, RingError> {
        self.transfer(|page, halves| halves.requests.read(page, buf))
    }

    /// Copies as much of `bytes` to the ring as there is room for, and returns the number of bytes:
    /// 0 if there is no room.
    ///
    /// # Errors
    /// Fails if the connection has ended, see [above](Self#errors).
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, RingError> {
        self.transfer(|page, halves| halves.replies.write(page, bytes))
    }

    /// Returns whether the caller must notify the event channel now; see
    /// [`RingClient::must_notify`](super::RingClient::must_notify).
    #[must_use = "the other end is not notified unless the caller does it"]
    pub fn must_notify(&mut self) -> bool {
        core::mem::take(&mut self.must_notify)
    }

    /// Returns whether the guest asks for a new connection. Also works after an error, to which the
    /// guest may have responded in this way.
    pub fn is_reconnecting(&self) -> bool {
        self.page.load(Field::Connection, Ordering::Acquire) == RECONNECT
    }

    /// Empties both rings, clears the error, and tells the guest that it is connected.
    pub fn reset(&mut self) {
        for ring in [Ring::Requests, Ring::Replies] {
            self.page.store(Field::Consumer(ring), 0, Ordering::Relaxed);
            self.page.store(Field::Producer(ring), 0, Ordering::Relaxed);
        }
        self.page.store(Field::ServerFeatures, self.features.bits(), Ordering::Relaxed);
        self.page.store(Field::Error, 0, Ordering::Relaxed);
        let (requests, replies) = (Consumer::empty(Ring::Requests), Producer::empty(Ring::Replies));
        self.state = Ok(Halves { requests, replies });
        // The guest reads the other fields after it has seen this.
        self.page.store(Field::Connection, CONNECTED, Ordering::Release);
        self.must_notify = true;
    }

    /// Ends the connection. If this end offers [`Features::ERROR`], tells the guest why.
    pub fn give_up(&mut self, error: ServerError) {
        self.state = Err(RingError::GivenUp(error));
        if self.features.contains(Features::ERROR) {
            self.page.store(Field::Error, error.number(), Ordering::Relaxed);
            self.must_notify = true;
        }
    }

    /// Moves bytes if the guest is connected, and keeps the first error for later calls.
    fn transfer(
        &mut self,
        run: impl FnOnce(&P, &mut Halves) -> Result<usize, RingError>,
    ) -> Result<usize, RingError> {
        let mut halves = self.state?;
        let moved = match self.page.load(Field::Connection, Ordering::Acquire) {
            CONNECTED => run(&self.page, &mut halves),
            RECONNECT => Err(RingError::Reconnecting),
            value => Err(RingError::Connection { value }),
        };
        self.state = moved.map(|_| halves);
        self.must_notify |= moved.is_ok_and(|len| len > 0);
        moved
    }
}

impl<P> fmt::Debug for RingServer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingServer").field("state", &self.state).finish_non_exhaustive()
    }
}
