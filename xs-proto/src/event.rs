//! The messages that `receive` decodes.

use core::fmt;

use crate::reply::Reply;
use crate::wire::ReqId;

/// A message from the server, as [`ClientConnection::receive`] returns it.
///
/// [`ClientConnection::receive`]: crate::ClientConnection::receive
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a, K> {
    /// The reply to a request.
    Reply {
        /// The id of the request.
        req_id: ReqId,
        /// The key that the caller passed to `submit`.
        key: K,
        /// The reply: the variant that belongs to the request, or [`Reply::Error`].
        reply: Reply<'a>,
    },
    /// A watch fired (xenstore.txt, "Watches").
    ///
    /// Watches may fire spuriously, and each one fires once when it is set.
    Watch {
        /// The path that changed: the watched path or a descendant of it. It is relative if the
        /// watched path is relative.
        path: &'a str,
        /// The token of the watch, as passed with WATCH.
        token: &'a [u8],
    },
}

impl<K: fmt::Debug> fmt::Debug for Event<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Reply { req_id, key, reply } => f
                .debug_struct("Reply")
                .field("req_id", req_id)
                .field("key", key)
                .field("reply", reply)
                .finish(),
            Event::Watch { path, token } => f
                .debug_struct("Watch")
                .field("path", path)
                .field("token", &format_args!("\"{}\"", token.escape_ascii()))
                .finish(),
        }
    }
}

/// The result of decoding the start of some input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<E> {
    /// The number of input bytes that were consumed. Pass the remaining bytes to the next call.
    pub consumed: usize,
    /// The decoded message.
    ///
    /// `None` means that the input ended before the message did, or that a client discarded the
    /// reply to a [forgotten](crate::ClientConnection::forget) request. In both cases, continue
    /// while input remains.
    pub event: Option<E>,
}
