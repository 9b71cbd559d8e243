//! A client's end of a connection to the in-memory xenstored.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use xs_proto::DomId;

use super::hub::Hub;
use super::queue::{Notify, ReceiveQueue, Taken};
use crate::mock::daemon::ConnId;
use crate::process::Process;
use crate::sys::Descriptor;
use crate::transport::{Interest, Sent, Transport, Wait};

/// A connection to a [`Xenstored`](crate::mock::Xenstored) in the same process. Dropping it closes
/// it.
///
/// [`send`](Transport::send) handles requests on the caller's thread, before it returns.
///
/// Up to 64 KiB of replies and events are queued in order. A C daemon merges equal events in the
/// output behind them. At [`BACKLOG_MAX`](Self::BACKLOG_MAX) bytes, sending fails with
/// `WouldBlock` until the client has received some. At [`EVENTS_MAX`](Self::EVENTS_MAX) bytes,
/// which only events can reach, the connection is closed.
pub struct Pipe {
    hub: Arc<Hub>,
    id: ConnId,
    domid: DomId,
    queue: Arc<ReceiveQueue>,
    process: Process,
}

impl Pipe {
    /// How many bytes of replies and events can be pending before sending fails: 1 MiB.
    pub const BACKLOG_MAX: usize = ReceiveQueue::BACKLOG_MAX;

    /// How many bytes of replies and events can be pending before the connection is closed: 16 MiB.
    pub const EVENTS_MAX: usize = ReceiveQueue::EVENTS_MAX;

    /// Opens a connection of a domain.
    pub(in crate::mock) fn open(hub: &Arc<Hub>, domid: DomId, notify: Option<Notify>) -> Self {
        let (id, queue) = hub.lock().connect(domid, notify);
        Pipe { hub: hub.clone(), id, domid, queue, process: Process::current() }
    }

    /// Returns the domain of the client.
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// Returns the id of the connection, which a [`Trace`](crate::mock::Trace) names.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Returns whether the connection is closed. There may still be bytes to receive.
    pub(in crate::mock) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Takes the first part of the bytes to receive. It is empty if there are none yet.
    /// Returns `None` at the end of the stream.
    pub(in crate::mock) fn take(&self) -> Option<BytesMut> {
        let taken = self.queue.take();
        self.refill();
        match taken {
            Taken::Bytes(bytes) => Some(bytes),
            Taken::Nothing => Some(BytesMut::new()),
            Taken::End => None,
        }
    }

    /// Lets the daemon fill the room in the queue.
    fn refill(&self) {
        if self.queue.wants_more() {
            self.hub.lock().refill(self.id);
        }
    }
}

impl Transport for Pipe {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        match self.hub.lock().feed(self.id, bytes) {
            Some(0) => Err(io::ErrorKind::WouldBlock.into()),
            Some(n) => Ok(Sent::Bytes(n)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let taken = self.queue.read(buf, wait);
        self.refill();
        match taken {
            Taken::Bytes(n) => Ok(n),
            Taken::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            Taken::End => Ok(0),
        }
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.queue.wait(interest, deadline);
        Ok(())
    }

    fn wake(&self) {
        self.queue.wake();
    }

    fn close(&self) {
        self.hub.lock().disconnect(self.id);
        self.queue.abort();
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        self.queue.fd()
    }

    fn describe(&self) -> String {
        format!("an in-memory xenstored, as domain {}", self.domid)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // In a forked process, another thread of the parent may hold the locks.
        if self.process.is_current() {
            self.close();
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("id", &self.id).field("domid", &self.domid).finish()
    }
}
