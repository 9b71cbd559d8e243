//! The limits of the transport below a client connection.

use crate::wire::PAYLOAD_MAX;

/// The limits and peculiarities of a client's transport.
///
/// The default fits xenstored's Unix socket. The kernel device `/dev/xen/xenbus` of Linux has
/// tighter limits:
///
/// ```
/// use xs_proto::Limits;
///
/// let xenbus = Limits::default().with_payload(4080).with_one_at_a_time().with_shared_session();
/// assert_eq!(xenbus.payload, 4080);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload of a request in bytes. Values above [`PAYLOAD_MAX`] have the effect of
    /// [`PAYLOAD_MAX`].
    pub payload: usize,
    /// Whether the next request waits until the previous one is answered.
    ///
    /// The xenbus device needs this: with two requests in flight on one descriptor, it can answer
    /// one with the value of the other.
    pub one_at_a_time: bool,
    /// Whether the daemon sees this connection and others as one client.
    ///
    /// If so, RESET_WATCHES also ends the watches and transactions of the other connections. The
    /// xenbus device shares one session among all of its users in a domain. [`ClientConnection`]
    /// only stores this flag; the caller must act on it.
    ///
    /// [`ClientConnection`]: crate::ClientConnection
    pub shared_session: bool,
}

impl Default for Limits {
    /// Returns the limits of xenstored's Unix socket.
    fn default() -> Self {
        Limits { payload: PAYLOAD_MAX, one_at_a_time: false, shared_session: false }
    }
}

impl Limits {
    /// Sets [`payload`](Self::payload), at most [`PAYLOAD_MAX`] bytes.
    #[must_use]
    pub fn with_payload(self, payload: usize) -> Self {
        Limits { payload: payload.min(PAYLOAD_MAX), ..self }
    }

    /// Sets [`one_at_a_time`](Self::one_at_a_time).
    #[must_use]
    pub fn with_one_at_a_time(self) -> Self {
        Limits { one_at_a_time: true, ..self }
    }

    /// Sets [`shared_session`](Self::shared_session).
    #[must_use]
    pub fn with_shared_session(self) -> Self {
        Limits { shared_session: true, ..self }
    }
}
