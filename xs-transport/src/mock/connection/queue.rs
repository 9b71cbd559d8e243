//! The queue in which a connection's replies and events wait for its client.

use std::fmt;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::sys::{Descriptor, LazyWaker};
use crate::transport::{Interest, Wait};

/// The bytes that a client can receive, filled by the hub and emptied by the client.
///
/// Its lock is the last in the lock order: no other lock is taken while it is held, except by the
/// callback, which may take a lock that is not part of the xenstored.
#[derive(Debug)]
pub(in crate::mock) struct ReceiveQueue {
    state: Mutex<State>,
    changed: Condvar,
    /// Readable while bytes or the end of the stream can be received.
    readiness: LazyWaker,
    notify: Option<Notify>,
}

/// Called when the queue becomes readable or the hub accepts requests again. The xenstored's locks
/// are held during the call.
pub(in crate::mock) struct Notify(pub(in crate::mock) Box<dyn Fn() + Send + Sync>);

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    /// The daemon holds more output for this connection.
    has_more: bool,
    /// The hub takes no more requests from this connection.
    is_blocked: bool,
    /// Nothing follows the bytes in the queue.
    is_closed: bool,
    /// The most bytes that the client receives at a time, if a fault limits them.
    chunk: Option<usize>,
    /// A thread has called [`wake`](ReceiveQueue::wake), and no wait has returned since.
    is_woken: bool,
}

/// The result of taking bytes from the queue.
pub(super) enum Taken<T> {
    /// At least one byte.
    Bytes(T),
    /// The queue is empty for now.
    Nothing,
    /// The queue is empty, and the connection closed.
    End,
}

impl ReceiveQueue {
    /// How many bytes of output stop the hub from taking more requests.
    pub(super) const BACKLOG_MAX: usize = 1 << 20;

    /// How many bytes of output make the hub close the connection.
    pub(super) const EVENTS_MAX: usize = 16 << 20;

    /// How many bytes the queue holds before the daemon keeps further output.
    const CAPACITY: usize = 64 << 10;

    pub(super) fn new(notify: Option<Notify>) -> Self {
        ReceiveQueue {
            state: Mutex::default(),
            changed: Condvar::new(),
            readiness: LazyWaker::default(),
            notify,
        }
    }

    /// Returns how many bytes are queued.
    pub(super) fn len(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Returns whether nothing follows the bytes in the queue.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Returns whether the daemon may push more.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes.len() < Self::CAPACITY
    }

    /// Appends bytes. Does nothing once the queue is closed.
    pub(super) fn push(&self, bytes: BytesMut) {
        let mut state = self.lock();
        if state.is_closed || bytes.is_empty() {
            return;
        }
        if state.bytes.is_empty() {
            state.bytes = bytes;
            self.became_readable();
        } else {
            state.bytes.extend_from_slice(&bytes);
        }
    }

    /// Sets whether the daemon holds more output, and whether the hub takes no more requests.
    pub(super) fn set_pressure(&self, has_more: bool, is_blocked: bool) {
        let mut state = self.lock();
        state.has_more = has_more;
        if state.is_blocked != is_blocked {
            state.is_blocked = is_blocked;
            self.changed.notify_all();
            // A server of this connection may hold requests that the hub did not take before.
            self.call_notify();
        }
    }

    /// Limits how many bytes the client receives at a time.
    pub(super) fn set_chunk(&self, bytes: usize) {
        self.lock().chunk = Some(bytes);
    }

    /// Ends the stream after the bytes that are queued.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.has_more = false;
        self.became_readable();
    }

    /// Ends the stream, and discards the bytes that are queued.
    pub(super) fn abort(&self) {
        self.lock().bytes.clear();
        self.close();
    }

    /// Takes the first bytes, at most 64 KiB, or as many as a fault allows at a time.
    pub(super) fn take(&self) -> Taken<BytesMut> {
        let mut state = self.lock();
        match state.takeable(Self::CAPACITY) {
            0 if state.is_closed => Taken::End,
            0 => Taken::Nothing,
            len => {
                let bytes = state.bytes.split_to(len);
                self.update_readiness(&state);
                Taken::Bytes(bytes)
            }
        }
    }

    /// Copies bytes to `buf`, as many as fit and a fault allows. Waits as `wait` says if the queue
    /// is empty.
    pub(super) fn read(&self, buf: &mut [u8], wait: Wait) -> Taken<usize> {
        let mut state = self.lock();
        while state.bytes.is_empty() {
            if state.is_closed {
                return Taken::End;
            }
            let until_woken = matches!(wait, Wait::UntilWoken(_));
            let is_woken = until_woken && std::mem::take(&mut state.is_woken);
            let Some(deadline) = wait.deadline().filter(|_| !is_woken) else {
                return Taken::Nothing;
            };
            let is_over;
            (state, is_over) = self.wait_for_change(state, deadline);
            if is_over {
                return Taken::Nothing;
            }
        }
        let len = state.takeable(buf.len());
        state.bytes.copy_to_slice(&mut buf[..len]);
        self.update_readiness(&state);
        Taken::Bytes(len)
    }

    /// Returns whether the daemon holds output that the queue has room for.
    pub(super) fn wants_more(&self) -> bool {
        let state = self.lock();
        state.has_more && state.bytes.len() < Self::CAPACITY
    }

    /// Waits until the client can do what it is interested in, the connection is closed, a thread
    /// calls [`wake`](Self::wake), or the deadline has passed.
    pub(super) fn wait(&self, interest: Interest, deadline: Option<Instant>) {
        let mut state = self.lock();
        loop {
            let is_ready = (interest.receive() && !state.bytes.is_empty())
                || (interest.send() && !state.is_blocked)
                || state.is_closed;
            if is_ready || std::mem::take(&mut state.is_woken) {
                return;
            }
            let is_over;
            (state, is_over) = self.wait_for_change(state, deadline);
            if is_over {
                return;
            }
        }
    }

    /// Ends a wait of another thread, now or as soon as it begins.
    pub(super) fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_all();
    }

    /// Returns a descriptor that poll(2) reports as readable while the client can receive.
    pub(super) fn fd(&self) -> io::Result<Descriptor<'_>> {
        let state = self.lock();
        self.readiness.descriptor(!state.bytes.is_empty() || state.is_closed)
    }

    /// Clears the descriptor's readiness once the queue is empty.
    fn update_readiness(&self, state: &State) {
        if state.bytes.is_empty() && !state.is_closed {
            self.readiness.clear();
        }
    }

    /// Tells the client that it can receive. The caller holds the lock.
    fn became_readable(&self) {
        self.changed.notify_all();
        self.readiness.wake();
        self.call_notify();
    }

    fn call_notify(&self) {
        if let Some(Notify(notify)) = &self.notify {
            notify();
        }
    }

    /// Waits for a change, and returns whether the deadline has passed instead.
    fn wait_for_change<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        let Some(deadline) = deadline else {
            let state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            return (state, false);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (state, true);
        }
        let waited = self.changed.wait_timeout(state, left);
        (waited.unwrap_or_else(PoisonError::into_inner).0, false)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns how many bytes a client with room for `room` receives at once.
    fn takeable(&self, room: usize) -> usize {
        room.min(self.bytes.len()).min(self.chunk.unwrap_or(usize::MAX))
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}
