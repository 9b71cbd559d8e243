//! A client's way to the in-memory xenstored.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use xs_proto::DomId;

use super::daemon::ConnId;
use super::xenstored::{Fed, Shared};
use crate::transport::{Interest, Sent, Transport, Wait};
use crate::waker::Waker;

/// A connection to a [`Xenstored`](super::Xenstored) in the same process; ends when dropped.
///
/// What is sent is handled before [`send`](Transport::send) returns, on the caller's thread.
///
/// Up to 64 KiB wait to be received; behind them, equal events coalesce. When
/// [`BACKLOG_MAX`](Self::BACKLOG_MAX) bytes of replies and events wait, nothing more can be sent
/// until some are received. If events go on to come until there are
/// [`EVENTS_MAX`](Self::EVENTS_MAX) bytes, the connection is closed.
pub struct Pipe {
    shared: Arc<Shared>,
    id: ConnId,
    domid: DomId,
    end: Arc<End>,
}

/// Where a connection's bytes wait for its client.
#[derive(Debug, Default)]
pub(super) struct End {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Readable when something can be received; made when somebody asks.
    signal: OnceLock<Waker>,
    /// Called when something can be received that could not before.
    notify: OnceLock<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    /// The daemon has more than the queue should hold.
    more: bool,
    /// The daemon takes no more.
    blocked: bool,
    /// Nothing will come any more.
    closed: bool,
    /// What can be received at a time.
    chunk: Option<usize>,
    woken: bool,
}

pub(super) struct Notify(pub(super) Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}

impl End {
    /// How many bytes wait to be received before the daemon keeps further ones to itself.
    const QUEUE: usize = 64 << 10;

    /// Whether the queue takes more.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes.len() < Self::QUEUE
    }

    pub(super) fn push(&self, bytes: BytesMut) {
        let mut queue = self.lock();
        if queue.closed || bytes.is_empty() {
            return;
        }
        if queue.bytes.is_empty() {
            queue.bytes = bytes;
            self.readable(&queue);
        } else {
            queue.bytes.extend_from_slice(&bytes);
        }
    }

    /// Says what the daemon keeps to itself.
    pub(super) fn set_pressure(&self, more: bool, blocked: bool) {
        let mut queue = self.lock();
        queue.more = more;
        if queue.blocked != blocked {
            queue.blocked = blocked;
            self.changed.notify_all();
            // Who serves this connection has kept what could not be sent.
            if let Some(Notify(notify)) = self.notify.get() {
                notify();
            }
        }
    }

    pub(super) fn set_chunk(&self, bytes: usize) {
        self.lock().chunk = Some(bytes);
    }

    /// Nothing comes after what is there.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.more = false;
        self.readable(&queue);
    }

    /// Likewise, and what is there is forgotten.
    fn abort(&self) {
        self.lock().bytes.clear();
        self.close();
    }

    pub(super) fn set_notify(&self, notify: Notify) {
        // Set once, by who made the pipe.
        let _ = self.notify.set(notify);
    }

    fn readable(&self, _queue: &Queue) {
        self.changed.notify_all();
        if let Some(signal) = self.signal.get() {
            signal.wake();
        }
        if let Some(Notify(notify)) = self.notify.get() {
            notify();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, Queue>, bool) {
        let Some(deadline) = deadline else {
            let queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            return (queue, false);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (queue, true);
        }
        let waited = self.changed.wait_timeout(queue, left);
        (waited.unwrap_or_else(PoisonError::into_inner).0, false)
    }
}

impl Pipe {
    /// How many bytes of replies and events can wait before nothing more can be sent.
    pub const BACKLOG_MAX: usize = 1 << 20;

    /// How many bytes of replies and events can wait before the connection is closed.
    pub const EVENTS_MAX: usize = 16 << 20;

    pub(super) fn new(shared: Arc<Shared>, id: ConnId, domid: DomId, end: Arc<End>) -> Self {
        Pipe { shared, id, domid, end }
    }

    /// The domain that the client is.
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// The connection's name in a [`Trace`](super::Trace).
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Takes what can be received, all at once if nothing splits it. `None`: it is the end.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "for the server"))]
    pub(super) fn take(&self) -> Option<BytesMut> {
        let mut queue = self.end.lock();
        let n = queue.chunk.unwrap_or(usize::MAX).min(queue.bytes.len());
        let bytes = queue.bytes.split_to(n);
        if bytes.is_empty() && queue.closed {
            return None;
        }
        self.after_taking(queue);
        Some(bytes)
    }

    fn after_taking(&self, queue: MutexGuard<'_, Queue>) {
        if queue.bytes.is_empty() && !queue.closed {
            if let Some(signal) = self.end.signal.get() {
                signal.clear();
            }
        }
        let is_due = queue.more && queue.bytes.len() < End::QUEUE;
        drop(queue);
        if is_due {
            self.shared.lock().pump_taken(self.id);
        }
    }
}

impl Transport for Pipe {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        match self.shared.lock().feed(self.id, bytes) {
            Fed::Taken(0) => Err(io::ErrorKind::WouldBlock.into()),
            Fed::Taken(n) => Ok(Sent::Bytes(n)),
            Fed::Closed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let deadline = wait.deadline();
        let mut queue = self.end.lock();
        while queue.bytes.is_empty() {
            if queue.closed {
                return Ok(0);
            }
            let woken = matches!(wait, Wait::UntilWoken(_)) && std::mem::take(&mut queue.woken);
            let Some(deadline) = deadline.filter(|_| !woken) else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let is_over;
            (queue, is_over) = self.end.wait_for(queue, deadline);
            if is_over {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let n = buf.len().min(queue.bytes.len()).min(queue.chunk.unwrap_or(usize::MAX));
        queue.bytes.copy_to_slice(&mut buf[..n]);
        self.after_taking(queue);
        Ok(n)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        let mut queue = self.end.lock();
        loop {
            let is_ready = (interest.receive() && !queue.bytes.is_empty())
                || (interest.send() && !queue.blocked)
                || queue.closed;
            if is_ready || std::mem::take(&mut queue.woken) {
                return Ok(());
            }
            let is_over;
            (queue, is_over) = self.end.wait_for(queue, deadline);
            if is_over {
                return Ok(());
            }
        }
    }

    fn wake(&self) {
        self.end.lock().woken = true;
        self.end.changed.notify_all();
    }

    fn close(&self) {
        self.shared.lock().disconnect(self.id);
        self.end.abort();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        let queue = self.end.lock();
        if self.end.signal.get().is_none() {
            let signal = Waker::new()?;
            if !queue.bytes.is_empty() || queue.closed {
                signal.wake();
            }
            // The lock is held: nobody else has set it meanwhile.
            let _ = self.end.signal.set(signal);
        }
        match self.end.signal.get() {
            Some(signal) => Ok(signal.as_fd()),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn describe(&self) -> String {
        format!("an in-memory xenstored, as domain {}", self.domid)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("id", &self.id).field("domid", &self.domid).finish()
    }
}
