//! Callbacks that pass their events to the test.

use std::sync::mpsc::{self, Receiver};

use xs_client::{Client, EventKind, Result, WatchEvent, WatchToken};

use super::waiting::HANG_GUARD;

/// A watch whose callback passes each event to the test.
pub(crate) struct CallbackEvents {
    pub(crate) token: WatchToken,
    events: Receiver<Result<WatchEvent>>,
}

impl CallbackEvents {
    /// Sets the watch.
    pub(crate) fn watch(client: &Client, path: &str) -> Self {
        let (sender, events) = mpsc::channel();
        let token = client.watch_with(path, move |event| drop(sender.send(event))).unwrap();
        CallbackEvents { token, events }
    }

    /// Waits for the next call.
    pub(crate) fn next(&self) -> Result<WatchEvent> {
        self.events.recv_timeout(HANG_GUARD).expect("the callback is not called")
    }

    /// Waits for the next call and returns the kind of its event.
    pub(crate) fn next_kind(&self) -> EventKind {
        self.next().unwrap().kind
    }

    /// Returns whether the callback has not been called since the last event was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.try_recv().is_err()
    }

    /// Waits until the callback is dropped.
    ///
    /// # Panics
    /// Panics if the callback was called before.
    pub(crate) fn expect_drop(&self) {
        match self.events.recv_timeout(HANG_GUARD) {
            Ok(event) => panic!("the callback was called with {event:?}"),
            Err(error) => assert_eq!(error, mpsc::RecvTimeoutError::Disconnected),
        }
    }

    /// Returns whether the callback has been dropped, and was not called before.
    pub(crate) fn is_dropped(&self) -> bool {
        matches!(self.events.try_recv(), Err(mpsc::TryRecvError::Disconnected))
    }
}
