//! The guest's end of the rings.

use core::fmt;
use core::sync::atomic::Ordering;

use super::error::{RingError, ServerError};
use super::half::{Consumer, Producer};
use super::page::{Field, Page, Ring};
use super::{CONNECTED, RECONNECT};
use crate::features::Features;

/// The guest's end of a page: sends requests, and receives replies and watch events, as bytes.
///
/// It does no I/O. The caller drives it with these methods, in any order:
///
/// * [`send`](Self::send) copies bytes to xenstored, as many as there is room for;
///   [`receive`](Self::receive) copies bytes from xenstored, as many as have come.
/// * [`must_notify`](Self::must_notify) says whether to notify the event channel. Call it after
///   each `send`, `receive` and `reconnect`, and before waiting.
/// * If `send` and `receive` return 0 and there is nothing to notify, wait for the event channel,
///   clear its event, and call both again. One channel serves both directions: an event may mean
///   that bytes have come, that there is room, that the state of the connection has changed, or
///   nothing.
///
/// The bytes are those of [`ClientConnection`](crate::ClientConnection). A message may be longer
/// than the ring, and the ring may hold any part of it.
///
/// # Connecting
/// An end begins unconnected, and connects as soon as the page says that xenstored serves it
/// (XENSTORE_CONNECTED). Until then `send` and `receive` return 0. The [module](super) says where a
/// guest finds the page.
///
/// # Errors
/// An error ends the connection: watches, transactions and requests in flight are lost, and all
/// later calls return the same error. [`reconnect`](Self::reconnect) starts over if xenstored
/// offers it. If the other end has asked to start over ([`RingError::Reconnecting`]), call
/// [`restart`](Self::restart). In both cases, also start over with the protocol
/// ([`ClientConnection::restart`](crate::ClientConnection::restart)).
///
/// The other end may be faulty or hostile. No call accesses bytes outside of the rings, and each
/// call does a bounded amount of work, whatever the page contains.
///
/// ```
/// use xs_proto::Features;
/// use xs_proto::ring::{RingClient, RingPage, RingServer};
///
/// let page = RingPage::new();
/// let mut server = RingServer::new(&page, Features::NONE)?;
/// let mut client = RingClient::new(&page);
///
/// assert_eq!(client.send(b"request")?, 7);
/// assert!(client.must_notify());
///
/// let mut buf = [0; 16];
/// assert_eq!(server.receive(&mut buf)?, 7);
/// assert_eq!(buf[..7], *b"request");
/// # Ok::<(), xs_proto::ring::RingError>(())
/// ```
pub struct RingClient<P> {
    page: P,
    state: State,
    must_notify: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// xenstored does not serve the page yet.
    Unconnected,
    Connected {
        requests: Producer,
        replies: Consumer,
    },
    Failed(RingError),
}

impl<P: Page> RingClient<P> {
    /// Creates the guest's end of a page.
    pub fn new(page: P) -> Self {
        RingClient { page, state: State::Unconnected, must_notify: false }
    }

    /// Copies as much of `bytes` to the ring as there is room for, and returns the number of bytes:
    /// 0 if there is no room, or no connection yet.
    ///
    /// # Errors
    /// Fails if the connection has ended, see [above](Self#errors).
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, RingError> {
        self.transfer(|page, requests, _| requests.write(page, bytes))
    }

    /// Copies bytes from the ring to `buf`, and returns their number: 0 if there are none, or no
    /// connection yet.
    ///
    /// # Errors
    /// Fails if the connection has ended, see [above](Self#errors).
    pub fn receive(&mut self, buf: &mut [u8]) -> Result<usize, RingError> {
        self.transfer(|page, _, replies| replies.read(page, buf))
    }

    /// Returns how many bytes [`send`](Self::send) would copy at most: 0 if there is no connection
    /// yet.
    ///
    /// # Errors
    /// Fails if the connection has ended, see [above](Self#errors).
    pub fn room(&mut self) -> Result<usize, RingError> {
        self.examine(|page, requests, _| requests.room(page))
    }

    /// Returns how many bytes [`receive`](Self::receive) would copy at most: 0 if there is no
    /// connection yet.
    ///
    /// # Errors
    /// Fails if the connection has ended, see [above](Self#errors).
    pub fn available(&mut self) -> Result<usize, RingError> {
        self.examine(|page, _, replies| replies.available(page))
    }

    /// Returns whether the caller must notify the event channel now. One notification covers all
    /// calls before; the next call returns `false` unless there is something new.
    #[must_use = "the other end is not notified unless the caller does it"]
    pub fn must_notify(&mut self) -> bool {
        core::mem::take(&mut self.must_notify)
    }

    /// Returns whether xenstored serves the page, as of the last call.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// Returns the features of xenstored. They are undefined before the end is connected.
    pub fn server_features(&self) -> Features {
        Features::from_bits(self.page.load(Field::ServerFeatures, Ordering::Relaxed))
    }

    /// Returns the port of the event channel that the page names, or `None` before Xen 4.21.
    pub fn event_channel(&self) -> Option<u32> {
        Some(self.page.load(Field::EventChannel, Ordering::Relaxed)).filter(|port| *port != 0)
    }

    /// Asks xenstored to reset the ring, and starts over once it has done so. Everything that
    /// belongs to the connection is lost.
    ///
    /// Until the end is connected again, do not rely on notifications alone: the oxenstored of Xen
    /// 4.17 and 4.20 resets the ring without one. Call [`receive`](Self::receive) every few
    /// milliseconds.
    ///
    /// # Errors
    /// [`RingError::NotOffered`] if xenstored does not offer to reset the ring
    /// ([`Features::RECONNECTION`]). Nothing has changed then.
    pub fn reconnect(&mut self) -> Result<(), RingError> {
        if !self.server_features().contains(Features::RECONNECTION) {
            return Err(RingError::NotOffered);
        }
        self.page.store(Field::Connection, RECONNECT, Ordering::Release);
        self.must_notify = true;
        self.restart();
        Ok(())
    }

    /// Returns to the unconnected state. The end connects again as soon as the page says that
    /// xenstored serves it.
    pub fn restart(&mut self) {
        self.state = State::Unconnected;
    }

    /// Moves bytes if the end is connected.
    fn transfer(
        &mut self,
        run: impl FnOnce(&P, &mut Producer, &mut Consumer) -> Result<usize, RingError>,
    ) -> Result<usize, RingError> {
        let moved = self.examine(run)?;
        self.must_notify |= moved > 0;
        Ok(moved)
    }

    /// Calls `run` if the end is connected, and keeps the first error for later calls. Returns 0 if
    /// the end is unconnected.
    fn examine(
        &mut self,
        run: impl FnOnce(&P, &mut Producer, &mut Consumer) -> Result<usize, RingError>,
    ) -> Result<usize, RingError> {
        let result = self.update_state().and_then(|()| match &mut self.state {
            State::Connected { requests, replies } => run(&self.page, requests, replies),
            State::Unconnected => Ok(0),
            State::Failed(error) => Err(*error),
        });
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Reads the state of the connection from the page, and connects if xenstored serves the page.
    fn update_state(&mut self) -> Result<(), RingError> {
        let connection = self.page.load(Field::Connection, Ordering::Acquire);
        match (self.state, connection) {
            (State::Failed(error), _) => return Err(error),
            (State::Connected { .. }, CONNECTED) => {}
            (State::Unconnected, CONNECTED) => {
                let requests = Producer::start(&self.page, Ring::Requests)?;
                let replies = Consumer::start(&self.page, Ring::Replies)?;
                self.state = State::Connected { requests, replies };
            }
            (State::Unconnected, RECONNECT) => return Ok(()),
            (State::Connected { .. }, RECONNECT) => return Err(RingError::Reconnecting),
            (_, value) => return Err(RingError::Connection { value }),
        }
        // `Relaxed` suffices: no other read depends on this value. If it is visible before the
        // features are, the call after the next event sees both.
        let error = ServerError::from_number(self.page.load(Field::Error, Ordering::Relaxed));
        // Without this feature, the field may hold anything.
        match error.filter(|_| self.server_features().contains(Features::ERROR)) {
            Some(error) => Err(RingError::GivenUp(error)),
            None => Ok(()),
        }
    }
}

impl<P> fmt::Debug for RingClient<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingClient").field("state", &self.state).finish_non_exhaustive()
    }
}
