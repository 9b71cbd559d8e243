//! The client in the caller's event loop.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};
use xs_transport::Failure;

use crate::client::Client;
use crate::engine::{Attempt, Turn, Waiter, WatchToken};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;

/// A descriptor that is readable whenever a client has something for an event loop to do.
///
/// Register it with mio, or give it to poll(2), epoll(7) or anything else that takes a descriptor.
/// It stays the same when the client reconnects. When it is readable, call
/// [`process`](Self::process). Then take the events of the watches that it names
/// ([`Watch::try_next`](crate::Watch::try_next)), and the results of the operations that were
/// [started](crate::Tree::start) ([`Pending::try_take`](crate::Pending::try_take)), until none is
/// left.
///
/// The descriptor reports only changes since the last `process`, so take all events and results
/// before the next wait. Wait no longer than until [`deadline`](Self::deadline) and the
/// [`Pending::deadline`](crate::Pending::deadline) of each operation.
///
/// The loop and other threads may also use blocking operations. If these receive events or results
/// for the loop, the descriptor becomes readable. A client has one event source. A second one
/// replaces the first, whose descriptor then does not report the events and results that other
/// threads receive.
///
/// ```
/// # use std::time::Duration;
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let mut source = client.event_source()?;
/// let mut watch = client.watch("/a")?;
///
/// let mut poll = mio::Poll::new()?;
/// poll.registry().register(&mut source, mio::Token(0), mio::Interest::READABLE)?;
/// let mut events = mio::Events::with_capacity(8);
/// poll.poll(&mut events, None)?;
///
/// let tokens = source.process()?;
/// assert_eq!(tokens, [watch.token()]);
/// assert_eq!(&*watch.try_next()?.unwrap().path, "/a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it ends the reception of events"]
pub struct EventSource {
    handle: Arc<Handle>,
    /// Watches the transport's descriptor, and the notifier of other threads.
    poll: Poll,
    events: Events,
    notifier: Waker,
    registered: RawFd,
    /// The generation of the connection whose descriptor is registered.
    generation: u64,
    /// The poll also watches for a writable transport.
    watches_writable: bool,
    /// When to try again to connect, or to watch the transport.
    retry: Option<Instant>,
}

/// The number of receives after which the loop gets the replies and events.
const BUDGET: u32 = 32;

const TRANSPORT: mio::Token = mio::Token(0);
const NOTIFIER: mio::Token = mio::Token(1);

/// The pause before another attempt to watch a descriptor.
const RETRY: Duration = Duration::from_millis(10);

impl Client {
    /// Returns a descriptor for the caller's event loop.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn event_source(&self) -> Result<EventSource> {
        EventSource::new(self.handle.clone())
            .map_err(|error| Error::new("event_source", None, ErrorKind::System(error)))
    }
}

impl EventSource {
    fn new(handle: Arc<Handle>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let notifier = Arc::new(Notifier(mio::Waker::new(poll.registry(), NOTIFIER)?));
        let mut source = EventSource {
            handle,
            poll,
            events: Events::with_capacity(4),
            notifier: Waker::from(notifier),
            registered: -1,
            generation: 0,
            watches_writable: false,
            retry: None,
        };
        let waiter = source.waiter();
        source.handle.lock().set_event_loop(Some((waiter, false)));
        source.register()?;
        // Bytes or events may have arrived before.
        source.notifier.wake_by_ref();
        Ok(source)
    }

    /// Receives all bytes that have arrived and sends all pending output, without waiting. Returns
    /// the watches that have events to take, whether new or not.
    ///
    /// # Errors
    /// The connection is lost and [not replaced](crate::Builder::reconnect). The watches and the
    /// operations in flight report it, too.
    pub fn process(&mut self) -> Result<Vec<WatchToken>> {
        // A forked process shares the poll with its parent, and must not clear the readiness.
        if self.handle.lock().is_forked() {
            return Err(Error::new("process", None, Failure::Forked));
        }
        // The readiness is cleared first, so that later events set it again.
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(lost(error)),
            _ => {}
        }
        let mut guard = self.handle.lock();
        // Events that the loop receives itself need not wake it.
        guard.set_event_loop(None);
        let mut turn = Turn::Received;
        for _ in 0..BUDGET {
            turn = guard.try_receive();
            if turn != Turn::Received {
                break;
            }
            guard.run_user_code();
        }
        // If another party receives, it wakes the loop when it stops.
        guard.set_event_loop(Some((self.waiter(), turn == Turn::Taken)));
        let tokens = guard.watches.tokens_with_events();
        let is_send_blocked = guard.is_send_blocked();
        let failure = guard.failure().cloned();
        let generation = guard.generation();
        drop(guard);

        if turn == Turn::Received {
            // More bytes may be there, which the descriptor does not report again.
            self.notifier.wake_by_ref();
        }
        // User code that ran when the guard was dropped may already have replaced the connection.
        if let Some(failure) = failure {
            return if self.connect()? {
                Ok(tokens)
            } else {
                Err(Error::new("process", None, ErrorKind::Lost(failure)))
            };
        }
        self.retry = None;
        if generation != self.generation {
            // Another party has replaced the connection.
            self.register_or_retry();
        }
        if generation == self.generation {
            self.watch_writable(is_send_blocked);
        }
        Ok(tokens)
    }

    /// Returns when to call [`process`](Self::process) even if the descriptor is not readable: to
    /// try again to connect, or to watch a new connection. `None` otherwise.
    pub fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// Tries to replace the connection. Returns false if it is lost for good.
    fn connect(&mut self) -> Result<bool> {
        let attempt = self.handle.lock().try_connect(Instant::now());
        self.retry = match attempt {
            Attempt::Never => return Ok(false),
            Attempt::Later(at) => at,
            Attempt::Connected => {
                self.retry = None;
                self.register_or_retry();
                return Ok(true);
            }
        };
        Ok(true)
    }

    /// Watches a new connection. If this fails, the loop tries again later: the connection itself
    /// is good, and other parties use it.
    fn register_or_retry(&mut self) {
        match self.register() {
            // Bytes may have arrived before.
            Ok(()) => self.notifier.wake_by_ref(),
            Err(_) => self.retry = Some(Instant::now() + RETRY),
        }
    }

    /// Watches the descriptor of the current transport instead of any earlier one.
    fn register(&mut self) -> io::Result<()> {
        let guard = self.handle.lock();
        // The transport keeps its descriptor open until it is registered.
        let (transport, generation) = (guard.transport(), guard.generation());
        drop(guard);
        let registry = self.poll.registry();
        if self.registered >= 0 {
            let _ = registry.deregister(&mut SourceFd(&self.registered));
            self.registered = -1;
        }
        let fd = transport.fd()?.as_raw_fd();
        registry.register(&mut SourceFd(&fd), TRANSPORT, Interest::READABLE)?;
        self.registered = fd;
        self.generation = generation;
        self.watches_writable = false;
        Ok(())
    }

    /// Watches for a writable transport while sending is blocked, and no longer otherwise. If this
    /// fails, the loop tries again later.
    fn watch_writable(&mut self, is_send_blocked: bool) {
        // While sending is blocked, each call registers anew, which also reports a transport that
        // was writable all the time: a shortage of the system may have blocked sending.
        if !is_send_blocked && !self.watches_writable {
            return;
        }
        let interest = match is_send_blocked {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        let registry = self.poll.registry();
        match registry.reregister(&mut SourceFd(&self.registered), TRANSPORT, interest) {
            Ok(()) => self.watches_writable = is_send_blocked,
            Err(_) => self.retry = Some(Instant::now() + RETRY),
        }
    }

    fn waiter(&self) -> Waiter {
        Waiter::Task(self.notifier.clone())
    }
}

impl AsFd for EventSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

impl AsRawFd for EventSource {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl Source for EventSource {
    fn register(
        &mut self,
        registry: &Registry,
        token: mio::Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.poll.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: mio::Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.poll.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.poll.as_raw_fd()).deregister(registry)
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.handle.lock().remove_event_loop(&self.waiter());
    }
}

/// Makes the event source readable.
struct Notifier(mio::Waker);

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // This fails only if the counter is full, and the descriptor is readable then.
        let _ = self.0.wake();
    }
}

fn lost(error: io::Error) -> Error {
    Error::new("process", None, ErrorKind::Lost(Failure::from(error)))
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("connection", &self.handle)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::DomId;
    use xs_transport::mock::Xenstored;

    use super::*;

    #[test]
    fn dropped_source_is_no_longer_notified() {
        let client = Client::from_transport(Xenstored::new().connect(DomId::DOM0));
        let first = client.event_source().unwrap();
        let second = client.event_source().unwrap();
        drop(first);
        assert!(client.handle.lock().has_event_loop());
        drop(second);
        assert!(!client.handle.lock().has_event_loop());
    }
}
