//! Sending and receiving without waiting, and the registration of drivers and event loops.

use xs_transport::{Received, Wait};

#[cfg(any(feature = "futures", feature = "mio"))]
use super::deferred::Waiter;
use super::guard::Guard;
#[cfg(any(feature = "futures", feature = "mio"))]
use super::roles::Poller;
use super::state::State;

/// The result of [`Guard::try_receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was received, or the connection has just failed.
    Received,
    /// There is nothing to receive.
    Nothing,
    /// Another party receives.
    Taken,
    /// The connection has failed.
    Failed,
}

impl Guard<'_> {
    /// Sends all pending output and receives once, without waiting.
    pub(crate) fn try_receive(&mut self) -> Turn {
        if self.failure().is_some() {
            return Turn::Failed;
        }
        self.try_send();
        if self.roles.awaiting_writable {
            return Turn::Taken;
        }
        let Some(mut reader) = self.take_reader(false) else {
            return Turn::Taken;
        };
        let received = self.with_role(|| reader.receive(Wait::No, false));
        let turn = match received {
            Ok(Received::Nothing) => Turn::Nothing,
            _ => Turn::Received,
        };
        self.put_back_reader(reader, received);
        turn
    }

    /// Sends all pending output, even if the transport accepted no more at the last attempt.
    /// Returns false if it still accepts no more, or if a blocked thread waits until it does.
    pub(crate) fn try_send(&mut self) -> bool {
        self.gathered = false;
        self.roles.send_blocked &= self.roles.awaiting_writable;
        self.flush();
        !self.roles.send_blocked
    }
}

impl State {
    /// Registers the driver, which is woken when the reader role is free if it `wants_role`. If
    /// sending is blocked, the driver itself watches for a writable transport.
    #[cfg(feature = "futures")]
    pub(crate) fn set_driver(&mut self, waiter: &Waiter, wants_role: bool) {
        let mut slot = self.pumps.driver.take().map(|known| known.waiter);
        self.deferred.register(&mut slot, waiter);
        let watches_writable = self.roles.send_blocked;
        self.pumps.driver = slot.map(|waiter| Poller { waiter, wants_role, watches_writable });
    }

    /// Registers the event loop with its waiter and whether it wants the reader role, or removes
    /// it. If sending is blocked, the loop itself watches for a writable transport.
    #[cfg(feature = "mio")]
    pub(crate) fn set_event_loop(&mut self, poller: Option<(Waiter, bool)>) {
        let watches_writable = self.roles.send_blocked;
        let poller =
            poller.map(|(waiter, wants_role)| Poller { waiter, wants_role, watches_writable });
        let known = std::mem::replace(&mut self.pumps.event_loop, poller);
        self.deferred.release(known.map(|poller| poller.waiter));
    }

    /// Removes the event loop, unless another one has replaced it.
    #[cfg(feature = "mio")]
    pub(crate) fn remove_event_loop(&mut self, waiter: &Waiter) {
        if self.pumps.event_loop.as_ref().is_some_and(|known| known.waiter.wakes_same(waiter)) {
            self.set_event_loop(None);
        }
    }

    #[cfg(all(test, feature = "mio"))]
    pub(crate) fn has_event_loop(&self) -> bool {
        self.pumps.event_loop.is_some()
    }
}
