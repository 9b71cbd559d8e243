//! The reader and writer roles, and the pumps: the parties that can take over.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use xs_transport::{Failure, Interest, Received, Transport, Wait};

use super::deferred::{Deferred, Waiter};
use super::parker::Parker;

/// The reader role: its holder receives for all parties.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) buffer: Box<[u8]>,
    pub(super) generation: u64,
}

/// The writer role: its holder sends for all parties.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) transport: Arc<dyn Transport>,
    /// Bytes that were taken from the machine and are not sent yet.
    pub(super) output: BytesMut,
    pub(super) generation: u64,
}

/// The size of the receive buffer, which holds several hundred small replies.
///
/// It holds fewer of the smallest events than a watch queues by default (1024), so one receive does
/// not overflow a watch whose owner keeps up.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// The free roles, and flags about the parties that hold the others. A role is in a box, so that
/// taking it and putting it back move only a pointer.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) reader: Option<Box<Reader>>,
    pub(super) writer: Option<Box<Writer>>,
    /// A party holds the connector role: it is making a new connection.
    pub(super) connecting: bool,
    /// The reader role was put back, and no pump has been woken to take it yet.
    pub(super) offered: bool,
    /// The holder of the reader role can be interrupted by `Transport::wake`.
    pub(super) interruptible: bool,
    /// The transport accepted no more bytes. One party has to wait until it is writable.
    pub(super) send_blocked: bool,
    /// A blocked thread waits until the transport is writable.
    pub(super) awaiting_writable: bool,
}

impl Reader {
    /// Receives once. If sending is blocked, the wait also ends when the transport is writable.
    pub(super) fn receive(&mut self, wait: Wait, send_blocked: bool) -> Result<Received, Failure> {
        match wait {
            Wait::Until(until) | Wait::UntilWoken(until) if send_blocked => {
                xs_transport::wait_once(&*self.transport, Interest::Both, until)?;
                xs_transport::receive_once(&*self.transport, &mut self.buffer, Wait::No)
            }
            _ => xs_transport::receive_once(&*self.transport, &mut self.buffer, wait),
        }
    }
}

impl Roles {
    pub(super) fn new(transport: &Arc<dyn Transport>, generation: u64) -> Self {
        let buffer = vec![0; RECEIVE_BUFFER].into_boxed_slice();
        let reader = Reader { transport: transport.clone(), buffer, generation };
        let output = BytesMut::new();
        let writer = Writer { transport: transport.clone(), output, generation };
        Roles {
            reader: Some(Box::new(reader)),
            writer: Some(Box::new(writer)),
            connecting: false,
            offered: false,
            interruptible: false,
            send_blocked: false,
            awaiting_writable: false,
        }
    }

    /// Returns whether sending is blocked and no blocked thread waits until it is possible again.
    pub(super) fn needs_writable_wait(&self) -> bool {
        self.send_blocked && !self.awaiting_writable
    }
}

/// The parties that can take over the reader role, or the wait for a writable transport, from the
/// party that has it now.
///
/// A thread registers only after it has found the role taken, so the table is empty while a lone
/// thread uses the client.
#[derive(Debug, Default)]
pub(super) struct Pumps {
    /// Blocked threads, in the order of their registration.
    parked: BTreeMap<Ticket, Arc<Parker>>,
    last_ticket: u64,
    /// The driver of tasks, or the task thread in its place.
    pub(super) driver: Option<Poller>,
    /// The caller's event loop.
    pub(super) event_loop: Option<Poller>,
}

/// The key of a parked thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The registration of a driver or an event loop, which lasts until it is woken. It then checks the
/// state and registers again.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) waiter: Waiter,
    /// The poller has to be woken when the reader role is free: it has found the role taken, or is
    /// the task thread. Otherwise its reactor tells it when the transport is readable.
    pub(super) wants_role: bool,
    /// The poller has found sending blocked, and its reactor tells it when the transport is
    /// writable.
    pub(super) watches_writable: bool,
}

impl Pumps {
    /// Adds a thread that is about to sleep.
    pub(super) fn park(&mut self, parker: Arc<Parker>) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.parked.insert(ticket, parker);
        ticket
    }

    /// Removes a thread that has slept. Returns false if it was woken as a pump.
    pub(super) fn unpark(&mut self, ticket: Ticket) -> bool {
        self.parked.remove(&ticket).is_some()
    }

    /// Wakes the next pump to take the reader role, which is free: the first parked thread, or else
    /// each poller that wants it.
    pub(super) fn wake_next(&mut self, deferred: &mut Deferred) {
        if self.wake_parked(deferred) {
            return;
        }
        for poller in [&mut self.driver, &mut self.event_loop] {
            if let Some(poller) = poller.take_if(|poller| poller.wants_role) {
                deferred.wake_first(poller.waiter);
            }
        }
    }

    /// Wakes the first parked thread, which then sends and receives. Returns false without one.
    pub(super) fn wake_parked(&mut self, deferred: &mut Deferred) -> bool {
        let first = self.parked.pop_first();
        first.map(|(_, parker)| deferred.wake(Waiter::Thread(parker))).is_some()
    }

    /// Wakes the next pump to wait for a writable transport: the first parked thread, or else each
    /// poller that does not watch for it yet.
    pub(super) fn wake_for_writable(&mut self, deferred: &mut Deferred) {
        if self.wake_parked(deferred) {
            return;
        }
        for poller in [&mut self.driver, &mut self.event_loop] {
            if let Some(poller) = poller.take_if(|poller| !poller.watches_writable) {
                deferred.wake_first(poller.waiter);
            }
        }
    }

    /// Wakes the driver and the event loop, which then check the state again.
    pub(super) fn wake_pollers(&mut self, deferred: &mut Deferred) {
        for poller in [&mut self.driver, &mut self.event_loop] {
            if let Some(poller) = poller.take() {
                deferred.wake_first(poller.waiter);
            }
        }
    }

    /// Wakes all pumps, which then check the state again.
    pub(super) fn wake_all(&mut self, deferred: &mut Deferred) {
        let parked = std::mem::take(&mut self.parked);
        deferred.wake_all(parked.into_values().map(Waiter::Thread));
        self.wake_pollers(deferred);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parked_threads_are_woken_in_order_and_once() {
        let (mut pumps, mut deferred) = (Pumps::default(), Deferred::default());
        let tickets = [(); 3].map(|()| pumps.park(Arc::default()));
        assert!(pumps.wake_parked(&mut deferred));
        assert_eq!(tickets.map(|ticket| pumps.unpark(ticket)), [false, true, true]);
        assert!(!pumps.wake_parked(&mut deferred));
    }
}
