//! What the client lets be seen from outside, with the feature `tracing`; without it, nothing of
//! this is compiled in.
//!
//! Each operation is one event of level DEBUG, or TRACE if it succeeded, with the fields
//! `operation`, `path`, `tx_id`, `req_id`, `latency_us` and `error`. Values are never told.

use xs_proto::{ReqId, TxId};
use xs_transport::Failure;

use crate::calls::{Answered, CallId};
use crate::core::Scope;
use crate::error::Result;
use crate::op::{Answer, Label};
use crate::wakers::Ready;

/// An operation that is to be told of when it has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    #[cfg(feature = "tracing")]
    start: std::time::Instant,
}

impl Trace {
    /// The operation has ended; says what the answer means to the one who asked.
    #[inline(always)]
    pub(crate) fn end<T: Answer>(
        self,
        label: Label<'_>,
        scope: Scope,
        call: CallId,
        answer: Option<Answered>,
    ) -> Result<T> {
        let result = label.take(answer);
        self.tell(label, scope.tx_id(), call.req_id, &result);
        result
    }
}

#[cfg(feature = "tracing")]
impl Trace {
    pub(crate) fn start() -> Self {
        Trace { start: std::time::Instant::now() }
    }

    fn tell<T>(self, label: Label<'_>, tx_id: TxId, req_id: ReqId, result: &Result<T>) {
        let latency_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (operation, path) = (label.name, label.path);
        let (tx_id, req_id) = (tx_id.0, req_id.0);
        match result {
            Ok(_) => tracing::trace!(operation, path, tx_id, req_id, latency_us),
            Err(error) => {
                let error = tracing::field::display(error.kind());
                tracing::debug!(operation, path, tx_id, req_id, latency_us, error);
            }
        }
    }
}

/// Something that is told once the lock has been given back: who listens is other people's code.
#[cfg(feature = "tracing")]
#[derive(Debug)]
pub(crate) enum Note {
    Fired { path: Box<str>, token: Box<[u8]> },
    Lost(Failure),
    Reconnected { watches: usize },
}

#[cfg(feature = "tracing")]
impl Note {
    pub(crate) fn tell(self) {
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

#[cfg(feature = "tracing")]
pub(crate) fn watch_fired(path: &str, token: &[u8], ready: &mut Ready) {
    if tracing::level_enabled!(tracing::Level::TRACE) {
        ready.tell(Note::Fired { path: path.into(), token: token.into() });
    }
}

#[cfg(feature = "tracing")]
pub(crate) fn lost(failure: &Failure, ready: &mut Ready) {
    ready.tell(Note::Lost(failure.clone()));
}

#[cfg(feature = "tracing")]
pub(crate) fn reconnected(watches: usize, ready: &mut Ready) {
    ready.tell(Note::Reconnected { watches });
}

#[cfg(not(feature = "tracing"))]
impl Trace {
    #[inline(always)]
    pub(crate) fn start() -> Self {
        Trace {}
    }

    #[inline(always)]
    fn tell<T>(self, _: Label<'_>, _: TxId, _: ReqId, _: &Result<T>) {}
}

#[cfg(not(feature = "tracing"))]
#[inline(always)]
pub(crate) fn watch_fired(_: &str, _: &[u8], _: &mut Ready) {}

#[cfg(not(feature = "tracing"))]
#[inline(always)]
pub(crate) fn lost(_: &Failure, _: &mut Ready) {}

#[cfg(not(feature = "tracing"))]
#[inline(always)]
pub(crate) fn reconnected(_: usize, _: &mut Ready) {}
