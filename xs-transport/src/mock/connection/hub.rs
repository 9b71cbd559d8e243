//! The daemon and its connections, behind one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use xs_proto::{DomId, Incoming, Reply};

use super::queue::{Notify, ReceiveQueue};
use crate::mock::daemon::{ConnId, Daemon};
use crate::mock::flavour::Flavour;
use crate::mock::id_map::IdMap;
use crate::mock::testing::fault::{Action, Fault, FaultHandle, FaultTarget, Faults};
use crate::mock::testing::record::Record;

/// The part of a xenstored that all its handles and connections share.
///
/// One lock guards everything, because requests are handled one after the other anyway, as in a
/// daemon with a single thread. Each [`ReceiveQueue`] has a lock of its own, which is taken after
/// the hub's lock.
#[derive(Debug)]
pub(in crate::mock) struct Hub {
    state: Mutex<State>,
}

/// The state behind the lock.
#[derive(Debug)]
pub(in crate::mock) struct State {
    pub(in crate::mock) daemon: Daemon,
    /// The requests recorded so far, if recording is on.
    pub(in crate::mock) records: Option<Vec<Record>>,
    faults: Faults,
    queues: IdMap<ConnId, Arc<ReceiveQueue>>,
    /// Connections whose last reply is held back until their next request.
    merging: Vec<ConnId>,
    /// Connections from which nothing is taken until their domain uses less of its quota.
    stalled: Vec<ConnId>,
    /// The payload of the current request. Kept to reuse its memory.
    payload: Vec<u8>,
}

impl Hub {
    pub(in crate::mock) fn new(flavour: Flavour) -> Self {
        let state = State {
            daemon: Daemon::start(flavour),
            records: None,
            faults: Faults::default(),
            queues: IdMap::default(),
            merging: Vec::new(),
            stalled: Vec::new(),
            payload: Vec::new(),
        };
        Hub { state: Mutex::new(state) }
    }

    pub(in crate::mock) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a trace hook leaves nothing half done that other connections depend on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault, and returns a handle to it.
    pub(in crate::mock) fn inject(self: &Arc<Self>, fault: Fault) -> FaultHandle {
        let target = Arc::downgrade(self);
        self.lock().faults.inject(fault, target)
    }
}

impl FaultTarget for Hub {
    fn release(&self, fault: u64) {
        let mut state = self.lock();
        for delayed in state.faults.take_delayed(fault) {
            state.daemon.handle(delayed.conn, delayed.header, &delayed.payload);
            state.finish();
        }
    }

    fn disarm(&self, fault: u64) {
        self.lock().faults.disarm(fault);
    }
}

impl State {
    /// Opens a connection of a domain, and introduces the domain if it is unknown.
    pub(super) fn connect(
        &mut self,
        domid: DomId,
        notify: Option<Notify>,
    ) -> (ConnId, Arc<ReceiveQueue>) {
        let queue = Arc::new(ReceiveQueue::new(notify));
        let id = self.daemon.connect(domid);
        self.queues.insert(id, queue.clone());
        self.finish();
        (id, queue)
    }

    /// Handles bytes that a client sent. Returns how many were taken, or `None` if the connection
    /// is closed. If some are left, the client has to receive first.
    pub(super) fn feed(&mut self, id: ConnId, bytes: &[u8]) -> Option<usize> {
        let mut payload = std::mem::take(&mut self.payload);
        let mut taken = 0;
        let mut is_open = self.queues.contains_key(&id);
        while is_open
            && taken < bytes.len()
            && self.daemon.output_len(id) < ReceiveQueue::BACKLOG_MAX
        {
            if self.stalls(id) {
                break;
            }
            let Ok(received) = self.daemon.receive(id, &bytes[taken..]) else {
                // The stream has lost its framing. The daemons close such a connection, too.
                self.close(id);
                is_open = false;
                break;
            };
            taken += received.consumed;
            if let Some(incoming) = received.event {
                payload.clear();
                payload.extend_from_slice(incoming.payload);
                let header = incoming.header;
                is_open = self.handle(id, Incoming { header, payload: &payload });
            }
        }
        self.payload = payload;
        self.finish();
        is_open.then_some(taken)
    }

    /// Moves more output to a queue with room. Stalled requests of its domain may continue.
    pub(super) fn refill(&mut self, id: ConnId) {
        self.pump(id);
        self.release_stalled();
    }

    /// Removes a connection whose client is gone.
    pub(super) fn disconnect(&mut self, id: ConnId) {
        if self.queues.remove(&id).is_some() {
            self.daemon.disconnect(id);
            self.release_stalled();
        }
    }

    /// Closes all connections of a domain, or of all domains, from the daemon's side. Returns how
    /// many there were.
    pub(in crate::mock) fn close_all(&mut self, domid: Option<DomId>) -> usize {
        let ids = match domid {
            Some(domid) => self.daemon.conns_of(domid),
            None => self.queues.keys().copied().collect(),
        };
        let before = self.queues.len();
        ids.into_iter().for_each(|id| self.close(id));
        let closed = before - self.queues.len();
        // Other connections may have waited for memory that these used.
        self.finish();
        closed
    }

    /// Delivers events and output after a change, and closes the connections of released domains.
    pub(in crate::mock) fn finish(&mut self) {
        self.daemon.deliver();
        for id in self.daemon.take_dirty() {
            self.pump(id);
        }
        self.release_stalled();
        for id in self.daemon.take_ended() {
            if let Some(queue) = self.queues.remove(&id) {
                queue.close();
            }
        }
    }

    /// Handles one request, or applies the fault that strikes it. Returns whether the connection
    /// is still open.
    fn handle(&mut self, id: ConnId, incoming: Incoming<'_>) -> bool {
        let Some(domid) = self.daemon.domid_of(id) else {
            return false;
        };
        let Incoming { header, payload } = incoming;
        if let Some(records) = &mut self.records {
            records.push(Record { conn: id, domid, header, payload: payload.into() });
        }
        self.merging.retain(|other| *other != id);
        match self.faults.strike(id, domid, &incoming) {
            None => self.daemon.handle(id, header, payload),
            Some(Action::Error(code)) => self.daemon.reply(id, header, &Reply::Error(code)),
            Some(Action::Ignore | Action::Delay) => {}
            Some(Action::Close) => {
                self.close(id);
                return false;
            }
            Some(Action::Instead(bytes)) => {
                self.pump(id);
                self.push(id, BytesMut::from(&*bytes));
            }
            Some(Action::Cut(bytes)) => {
                self.pump(id);
                self.daemon.handle(id, header, payload);
                let mut output = self.daemon.take_output(id);
                output.truncate(bytes);
                self.push(id, output);
                self.close(id);
                return false;
            }
            Some(Action::Split(bytes)) => {
                if let Some(queue) = self.queues.get(&id) {
                    queue.set_chunk(bytes);
                }
                self.daemon.handle(id, header, payload);
            }
            Some(Action::Merge) => {
                self.merging.push(id);
                self.daemon.handle(id, header, payload);
            }
        }
        true
    }

    /// Returns whether the client has to wait until its domain uses less of its quota, and notes it
    /// as stalled in this case. Output that the client's queue still has room for does not count.
    fn stalls(&mut self, id: ConnId) -> bool {
        let Some(domid) = self.daemon.domid_of(id) else {
            return false;
        };
        if !self.daemon.is_stalled(domid) {
            return false;
        }
        self.finish();
        let stalls = self.daemon.is_stalled(domid);
        if stalls && !self.stalled.contains(&id) {
            self.stalled.push(id);
            self.pump(id);
        }
        stalls
    }

    /// Unblocks stalled connections whose domain uses less by now.
    fn release_stalled(&mut self) {
        if self.stalled.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.stalled) {
            match self.daemon.domid_of(id) {
                Some(domid) if self.daemon.is_stalled(domid) => self.stalled.push(id),
                Some(_) => self.pump(id),
                None => {}
            }
        }
    }

    /// Moves a connection's output to its queue, as far as there is room. Closes the connection if
    /// its client leaves too much output unread.
    fn pump(&mut self, id: ConnId) {
        let Some(queue) = self.queues.get(&id) else {
            return;
        };
        if queue.has_room() && !self.merging.contains(&id) {
            queue.push(self.daemon.take_output(id));
        }
        let left = self.daemon.output_len(id);
        self.daemon.set_full(id, left > 0);
        let is_blocked = left >= ReceiveQueue::BACKLOG_MAX || self.stalled.contains(&id);
        queue.set_pressure(left > 0, is_blocked);
        if left + queue.len() >= ReceiveQueue::EVENTS_MAX {
            self.close(id);
        }
    }

    /// Queues bytes that did not come from the daemon.
    fn push(&self, id: ConnId, bytes: BytesMut) {
        if let Some(queue) = self.queues.get(&id) {
            queue.push(bytes);
        }
    }

    /// Closes a connection from the daemon's side. The client can still receive what is queued.
    fn close(&mut self, id: ConnId) {
        if let Some(queue) = self.queues.remove(&id) {
            self.daemon.disconnect(id);
            queue.close();
        }
    }
}
