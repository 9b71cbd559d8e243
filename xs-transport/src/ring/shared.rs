//! The state of a ring that its endpoint and its connections share, and the wait for events.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use xs_proto::ring::{Page, RingClient, RingError};

use super::channel::EventChannel;

/// The part that an endpoint shares with its connections.
pub(super) struct Shared<P, C> {
    state: Mutex<State<P>>,
    /// Notified when the thread that waits for the channel returns, for the threads that rely on
    /// it.
    changed: Condvar,
    pub(super) channel: C,
    /// Whether a caller has asked for the descriptor of the channel. A reactor may then watch it,
    /// so it has to be readable while there are bytes to receive.
    pub(super) is_watched: AtomicBool,
    pub(super) name: String,
}

pub(super) struct State<P> {
    pub(super) client: RingClient<P>,
    /// The number of the connection. 0 before the first one.
    pub(super) generation: u64,
    pub(super) is_closed: bool,
    /// A thread has called `wake`, and no wait has returned since.
    pub(super) is_woken: bool,
    /// A thread waits for the channel.
    is_waiting: bool,
    /// Why the last connection has failed, if the ring was the reason.
    pub(super) failure: Option<RingError>,
}

impl<P: Page, C: EventChannel> Shared<P, C> {
    pub(super) fn new(page: P, channel: C, name: String) -> Self {
        let state = State {
            client: RingClient::new(page),
            generation: 0,
            is_closed: false,
            is_woken: false,
            is_waiting: false,
            failure: None,
        };
        Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            channel,
            is_watched: AtomicBool::new(false),
            name,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<P>> {
        // No call on the state panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies xenstored of changes to the ring.
    pub(super) fn notify_if_needed(&self, state: &mut State<P>) -> io::Result<()> {
        match state.client.must_notify() {
            true => self.channel.notify(),
            false => Ok(()),
        }
    }

    /// Ends the waits of all threads, which then check the state again.
    pub(super) fn tell_threads(&self, state: &mut State<P>) {
        self.changed.notify_all();
        if state.is_waiting {
            self.channel.raise();
        }
    }

    /// Waits for an event, until the deadline or until [`tell_threads`](Self::tell_threads), and
    /// clears the event. May return spuriously.
    ///
    /// One thread waits for the channel. The others wait until this thread wakes them.
    pub(super) fn wait_for_event<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P>>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State<P>>, io::Result<()>) {
        if state.is_waiting {
            return (self.wait_for_change(state, deadline), Ok(()));
        }
        state.is_waiting = true;
        drop(state);
        let role = WaitingRole(self);
        let waited = match self.channel.wait(deadline) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        };
        std::mem::forget(role);
        // The event is cleared before another thread can begin to wait for the channel, and before
        // the threads check the ring.
        let mut state = self.lock();
        state.is_waiting = false;
        let cleared = self.channel.clear();
        self.changed.notify_all();
        (state, waited.and(cleared))
    }

    /// Clears the event without waiting. Does nothing while a thread waits for the channel: that
    /// thread clears the event itself, and would miss an event that another thread clears.
    pub(super) fn clear_event(&self, state: &State<P>) -> io::Result<()> {
        match state.is_waiting {
            true => Ok(()),
            false => self.channel.clear(),
        }
    }

    fn wait_for_change<'a>(
        &'a self,
        state: MutexGuard<'a, State<P>>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State<P>> {
        let Some(deadline) = deadline else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Makes the descriptor readable again if an event was cleared, but bytes are left.
    pub(super) fn update_readiness(&self, state: &mut State<P>) {
        if self.is_watched.load(Ordering::Relaxed)
            && !state.client.available().is_ok_and(|len| len == 0)
        {
            self.channel.raise();
        }
    }
}

impl<P> State<P> {
    /// Keeps the first error of the ring, and converts the error to one of the transport.
    pub(super) fn fail(&mut self, error: RingError) -> io::Error {
        self.failure.get_or_insert(error);
        io_error(error)
    }
}

/// Lets other threads wait for the channel if a call of the channel panics.
struct WaitingRole<'a, P: Page, C: EventChannel>(&'a Shared<P, C>);

impl<P: Page, C: EventChannel> Drop for WaitingRole<'_, P, C> {
    fn drop(&mut self) {
        self.0.lock().is_waiting = false;
        self.0.changed.notify_all();
    }
}

/// Converts an error of the ring to an I/O error that holds it.
pub(super) fn io_error(error: RingError) -> io::Error {
    let kind = match error {
        RingError::Indices { .. } | RingError::Connection { .. } => io::ErrorKind::InvalidData,
        RingError::NotOffered => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, error)
}
