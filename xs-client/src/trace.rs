//! Events for `tracing`. Without the feature `tracing`, the functions do nothing.
//!
//! Each operation that was submitted is an event of level TRACE, or DEBUG if it failed, with the
//! fields `operation`, `path`, `tx_id`, `req_id`, `latency_us` and `error`. Values are never
//! reported.

use xs_proto::{ReqId, TxId};
use xs_transport::Failure;

use crate::error::Error;

/// The instant at which an operation began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    #[cfg(feature = "tracing")]
    at: std::time::Instant,
}

impl Start {
    pub(crate) fn now() -> Self {
        Start {
            #[cfg(feature = "tracing")]
            at: std::time::Instant::now(),
        }
    }

    /// Reports an operation that has ended.
    #[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
    pub(crate) fn report(
        self,
        operation: &str,
        path: Option<&str>,
        tx_id: TxId,
        req_id: ReqId,
        error: Option<&Error>,
    ) {
        #[cfg(feature = "tracing")]
        {
            let latency_us = u64::try_from(self.at.elapsed().as_micros()).unwrap_or(u64::MAX);
            let (tx_id, req_id) = (tx_id.0, req_id.0);
            match error {
                None => tracing::trace!(operation, path, tx_id, req_id, latency_us),
                Some(error) => {
                    let error = tracing::field::display(error.kind());
                    tracing::debug!(operation, path, tx_id, req_id, latency_us, error);
                }
            }
        }
    }
}

/// An event that is reported once the lock is released, since a subscriber is user code.
#[derive(Debug)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code))]
pub(crate) enum Note {
    Fired { path: Box<str>, token: Box<[u8]> },
    Lost(Failure),
    Reconnected { watches: usize },
}

/// Returns the note that a watch has fired.
pub(crate) fn watch_fired(path: &str, token: &[u8]) -> Option<Note> {
    #[cfg(feature = "tracing")]
    if tracing::level_enabled!(tracing::Level::TRACE) {
        return Some(Note::Fired { path: path.into(), token: token.into() });
    }
    _ = (path, token);
    None
}

/// Returns the note that the connection has failed.
pub(crate) fn connection_lost(failure: &Failure) -> Option<Note> {
    cfg!(feature = "tracing").then(|| Note::Lost(failure.clone()))
}

/// Returns the note that the connection was replaced.
pub(crate) fn reconnected(watches: usize) -> Option<Note> {
    cfg!(feature = "tracing").then_some(Note::Reconnected { watches })
}

impl Note {
    pub(crate) fn emit(self) {
        #[cfg(feature = "tracing")]
        match self {
            Note::Fired { path, token } => {
                tracing::trace!(path, token = %token.escape_ascii(), "watch fired");
            }
            Note::Lost(Failure::Closed) => tracing::debug!("connection closed"),
            Note::Lost(failure) => tracing::warn!(cause = %failure, "connection lost"),
            Note::Reconnected { watches } => tracing::info!(watches, "connected again"),
        }
    }
}
