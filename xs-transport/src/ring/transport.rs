//! A connection over a page.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use xs_proto::ring::Page;

use super::channel::EventChannel;
use super::shared::{Shared, State};
use crate::sys::Descriptor;
use crate::transport::{Interest, Sent, Transport, Wait};

/// A connection to xenstored over the page of a [`RingEndpoint`](super::RingEndpoint).
///
/// # Errors
/// If the ring fails, [`send`](Transport::send), [`recv`](Transport::recv) and
/// [`wait`](Transport::wait) fail with an [`io::Error`] that holds the
/// [`RingError`](xs_proto::ring::RingError). This includes an error that xenstored has written to
/// the error field of the page. If the endpoint connects again, the previous connection reports the
/// end of the stream.
///
/// Closing or dropping a transport does not tell xenstored, which keeps the watches and
/// transactions until the ring is reset or the domain is gone.
pub struct RingTransport<P, C> {
    shared: Arc<Shared<P, C>>,
    generation: u64,
}

impl<P: Page, C: EventChannel> RingTransport<P, C> {
    pub(super) fn new(shared: Arc<Shared<P, C>>, generation: u64) -> Self {
        RingTransport { shared, generation }
    }

    /// Returns whether this is the current connection of the page, and not closed.
    fn is_open(&self, state: &State<P>) -> bool {
        state.generation == self.generation && !state.is_closed
    }

    /// Receives bytes without waiting. Returns `None` if there are none, and `Some(0)` at the end
    /// of the stream.
    fn take(&self, state: &mut State<P>, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if state.generation != self.generation {
            return Ok(Some(0));
        }
        let len = match state.client.receive(buf) {
            Ok(len) => len,
            Err(_) if state.is_closed => 0,
            Err(error) => return Err(state.fail(error)),
        };
        if len > 0 {
            // The bytes have been received. If the other end is gone, a later call fails.
            let _ = self.shared.notify_if_needed(state);
        }
        if len == buf.len() {
            self.shared.update_readiness(state);
        }
        Ok(match len {
            0 if state.is_closed => Some(0),
            0 => None,
            len => Some(len),
        })
    }

    fn is_ready(&self, state: &mut State<P>, interest: Interest) -> io::Result<bool> {
        if !self.is_open(state) {
            return Ok(true);
        }
        let mut ready = || {
            Ok((interest.receive() && state.client.available()? > 0)
                || (interest.send() && state.client.room()? > 0))
        };
        ready().map_err(|error| state.fail(error))
    }
}

impl<P: Page + Send, C: EventChannel> Transport for RingTransport<P, C> {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut state = self.shared.lock();
        if !self.is_open(&state) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let len = state.client.send(bytes).map_err(|error| state.fail(error))?;
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.shared.notify_if_needed(&mut state)?;
        Ok(Sent::Bytes(len))
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let mut state = self.shared.lock();
        let (mut has_waited, mut waited) = (false, Ok(()));
        loop {
            if let Some(len) = self.take(&mut state, buf)? {
                return Ok(len);
            }
            waited?;
            let is_woken =
                matches!(wait, Wait::UntilWoken(_)) && std::mem::take(&mut state.is_woken);
            // Every event ends the wait, since it may mean that there is room to send.
            if has_waited || is_woken {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            has_waited = true;
            match wait.deadline() {
                Some(deadline) => {
                    (state, waited) = self.shared.wait_for_event(state, deadline);
                }
                None => waited = self.shared.clear_event(&state),
            }
        }
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        let mut state = self.shared.lock();
        let (mut has_waited, mut waited) = (false, Ok(()));
        loop {
            let is_ready = self.is_ready(&mut state, interest)?;
            if is_ready || std::mem::take(&mut state.is_woken) {
                break;
            }
            waited?;
            if has_waited || deadline.is_some_and(|at| at <= Instant::now()) {
                break;
            }
            (state, waited) = self.shared.wait_for_event(state, deadline);
            // If a thread watches the descriptor, the event may be for that thread.
            has_waited = self.shared.is_watched.load(Ordering::Relaxed);
        }
        self.shared.update_readiness(&mut state);
        Ok(())
    }

    fn wake(&self) {
        let mut state = self.shared.lock();
        state.is_woken = true;
        self.shared.tell_threads(&mut state);
    }

    fn close(&self) {
        let mut state = self.shared.lock();
        if state.generation == self.generation {
            state.is_closed = true;
            self.shared.tell_threads(&mut state);
            if self.shared.is_watched.load(Ordering::Relaxed) {
                self.shared.channel.raise();
            }
        }
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        self.shared.is_watched.store(true, Ordering::Relaxed);
        let fd = self.shared.channel.fd()?;
        // An event may have been cleared before the descriptor was watched.
        self.shared.channel.raise();
        Ok(fd)
    }

    fn describe(&self) -> String {
        self.shared.name.clone()
    }
}

impl<P, C> fmt::Debug for RingTransport<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RingTransport").field(&self.shared.name).finish()
    }
}
