//! The client in one's own event loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};
use xs_transport::{Turn, Wait};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::link::Handle;
use crate::reconnect::Attempt;
use crate::watches::Token;

/// A descriptor that is readable whenever a client has something for an event loop to do.
///
/// It can be registered with mio, or given to poll(2), epoll(7) or anything else that takes a
/// descriptor; it stays the same when the client reconnects. When it is readable, call
/// [`process`](Self::process), then take what there is from the watches that it names
/// ([`Watch::try_next`](crate::Watch::try_next)) and from the operations that were
/// [started](crate::Tree::start) ([`Pending::try_take`](crate::Pending::try_take)), until they
/// have nothing more.
///
/// It is readable for what is new since the last `process`: take all there is before waiting again.
/// Wait no longer than until [`deadline`](Self::deadline), and than the
/// [`Pending::deadline`](crate::Pending::deadline) of what was started.
///
/// Nothing new is hidden while the descriptor is quiet. The loop may use the blocking operations as
/// well, as may other threads: what they receive for others makes the descriptor readable. One
/// client has one event source; a second one takes the place of the first, which then misses what
/// others receive.
///
/// ```
/// # use std::time::Duration;
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
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
#[derive(Debug)]
pub struct EventSource {
    handle: Arc<Handle>,
    /// Holds the transport's descriptor, and what other threads ring.
    poll: Poll,
    events: Events,
    bell: Waker,
    registered: RawFd,
    /// Whether the transport is watched for room as well.
    sending: bool,
    /// … and of which connection it is.
    session: u64,
    /// When to try to connect again.
    retry: Option<Instant>,
}

const TRANSPORT: mio::Token = mio::Token(0);
const BELL: mio::Token = mio::Token(1);

impl Client {
    /// A descriptor for one's own event loop.
    ///
    /// # Errors
    /// The system's descriptors are used up.
    pub fn event_source(&self) -> Result<EventSource> {
        EventSource::new(self.handle.clone())
            .map_err(|error| Error::new("event_source", None, ErrorKind::System(error)))
    }
}

impl EventSource {
    fn new(handle: Arc<Handle>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Waker::from(Arc::new(Bell(mio::Waker::new(poll.registry(), BELL)?)));
        let mut guard = handle.drive.lock();
        let session = guard.session();
        guard.observer = Some(bell.clone());
        drop(guard);
        let transport = handle.drive.transport();
        let fd = transport.fd()?.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), TRANSPORT, Interest::READABLE)?;
        // There may be something already.
        bell.wake_by_ref();
        let (registered, events) = (fd, Events::with_capacity(4));
        let (sending, retry) = (false, None);
        Ok(EventSource { handle, poll, events, bell, registered, sending, session, retry })
    }

    /// Receives what has come and sends what waits to be sent, without waiting for anything. Says
    /// which watches have something to be taken, all of them, not only what is new.
    ///
    /// # Errors
    /// The connection is lost, and no other [is to be made](crate::Builder::reconnect). The
    /// watches and the operations under way say so, too.
    pub fn process(&mut self) -> Result<Vec<Token>> {
        // Takes the readiness away before looking: what comes later shows again.
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(lost(error)),
            _ => {}
        }
        let link = &self.handle;
        let mut guard = link.drive.lock();
        // What we receive ourselves is no news to us.
        guard.observer = None;
        guard.observer_stands = false;
        loop {
            let (again, turn) = link.drive.turn(guard, Wait::No);
            guard = link.wake_ready(again);
            match turn {
                Turn::Received => {}
                // They stopped before they could know whom to tell.
                Turn::Occupied if guard.is_free() => {}
                Turn::Nothing | Turn::Failed => break,
                // Whoever receives meanwhile rings when they stop.
                Turn::Occupied => {
                    guard.observer_stands = true;
                    break;
                }
            }
        }
        if guard.is_unattended() {
            guard.hand_over();
        }
        guard.observer = Some(self.bell.clone());
        let tokens = guard.books.watches.with_events();
        let blocked = guard.is_blocked();
        let failure = guard.failure().cloned();
        let session = guard.session();
        drop(link.wake_ready(guard));

        // If there was one, somebody may have connected again before the lock was taken anew.
        if let Some(failure) = failure {
            return if self.reconnect()? {
                Ok(tokens)
            } else {
                Err(Error::new("process", None, ErrorKind::Lost(failure)))
            };
        }
        self.retry = None;
        if session != self.session {
            // Somebody else was faster to connect again.
            self.register().map_err(lost)?;
            self.bell.wake_by_ref();
        }
        self.watch_for_room(blocked).map_err(lost)?;
        Ok(tokens)
    }

    /// When to call [`process`](Self::process) even if the descriptor is quiet: to try again to
    /// connect. `None` as long as there is a connection.
    pub fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// After a failure: false if there will be no other connection.
    fn reconnect(&mut self) -> Result<bool> {
        let (guard, attempt) = self.handle.try_reconnect(self.handle.drive.lock());
        drop(guard);
        self.retry = match attempt {
            Attempt::Never => return Ok(false),
            Attempt::Later(at) => at,
            Attempt::Connected => {
                self.register().map_err(lost)?;
                // The watches were told: that is something to process.
                self.bell.wake_by_ref();
                None
            }
        };
        Ok(true)
    }

    /// Watches the descriptor of a new transport. That of the old one is closed, which is how the
    /// system forgets it.
    fn register(&mut self) -> io::Result<()> {
        // If there is another one before its descriptor is taken, that will be noticed.
        self.session = self.handle.drive.lock().session();
        let registry = self.poll.registry();
        let _ = registry.deregister(&mut SourceFd(&self.registered));
        // It keeps its descriptor while we register that, whoever connects meanwhile.
        let transport = self.handle.drive.transport();
        self.registered = transport.fd()?.as_raw_fd();
        self.sending = false;
        registry.register(&mut SourceFd(&self.registered), TRANSPORT, Interest::READABLE)
    }

    fn watch_for_room(&mut self, sending: bool) -> io::Result<()> {
        if sending != self.sending {
            self.sending = sending;
            let interest = match sending {
                true => Interest::READABLE | Interest::WRITABLE,
                false => Interest::READABLE,
            };
            let registry = self.poll.registry();
            registry.reregister(&mut SourceFd(&self.registered), TRANSPORT, interest)?;
        }
        Ok(())
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
        let mut guard = self.handle.drive.lock();
        if guard.observer.as_ref().is_some_and(|bell| bell.will_wake(&self.bell)) {
            guard.observer = None;
        }
    }
}

struct Bell(mio::Waker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It can only fail when the counter is full: the descriptor is readable then.
        let _ = self.0.wake();
    }
}

fn lost(error: io::Error) -> Error {
    Error::new("process", None, ErrorKind::Lost(xs_transport::Failure::Io(Arc::new(error))))
}

#[cfg(test)]
mod tests {
    use xs_proto::DomId;
    use xs_transport::mock::Xenstored;

    use super::*;

    #[test]
    fn one_that_goes_is_rung_no_more() {
        let client = Client::over(Xenstored::new().connect(DomId::DOM0));
        let source = client.event_source().unwrap();
        assert!(client.handle.drive.lock().observer.is_some());
        drop(source);
        assert!(client.handle.drive.lock().observer.is_none());
    }
}
