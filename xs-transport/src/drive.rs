//! The one loop that moves bytes between a machine and a transport.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, PoisonError};

use bytes::{Buf, BytesMut};
use xs_proto::{ConnectionError, ErrorCode};

use crate::sync::{Mutex, MutexGuard};
use crate::transport::{Interest, Sent, Transport, Wait};

/// A machine of `xs-proto`, and what its user keeps beside it, as [`Drive`] sees it.
pub trait Machine {
    /// Whether there is something to be sent.
    fn has_output(&self) -> bool;

    /// Bytes to be sent before any that are given later, in place of what `out` holds; none if
    /// there is nothing to send.
    fn take_output(&mut self, out: &mut BytesMut);

    /// Bytes that came. All of them are consumed.
    ///
    /// # Errors
    /// The peer broke the protocol: the connection is given up.
    fn receive(&mut self, input: &[u8]) -> Result<(), ConnectionError>;

    /// The message that was taken last was refused on its way; no reply will come.
    fn refused(&mut self, code: ErrorCode);

    /// The peer will send nothing more: says whether it stopped in the middle of a message.
    fn end_of_input(&mut self) -> ConnectionError;

    /// The connection is of no use any more. Nothing else is called after it, until there is
    /// [another one](Drive::reconnect).
    fn failed(&mut self, failure: &Failure);
}

/// Runs a [`Machine`] over a [`Transport`], for any number of threads.
///
/// The machine stands behind a lock that is never held during a system call. Two seats stand
/// beside it: who sits in the sender's moves bytes out, who sits in the receiver's waits for bytes
/// and hands them to the machine. A thread that needs something from the peer
/// [takes a turn](Drive::turn) in the receiver's seat if it is free; whoever finds it taken can
/// rely on the one who sits there. So a lone thread does its own sending and receiving, without
/// any hand-over, and no thread has to exist for it.
#[derive(Debug)]
pub struct Drive<M> {
    state: Mutex<State<M>>,
}

#[derive(Debug)]
struct State<M> {
    machine: M,
    transport: Arc<dyn Transport>,
    /// With bytes taken from the machine and not yet sent. `None`: somebody sits there.
    sender: Option<Box<Seat<BytesMut>>>,
    /// The transport took no more: somebody has to wait until it does.
    blocked: bool,
    /// … and somebody waits, and receives meanwhile unless another one does.
    unblocking: bool,
    /// With what is received into. `None`: somebody sits there.
    receiver: Option<Box<Seat<Box<[u8]>>>>,
    /// How many bytes are received at a time.
    buffer: usize,
    /// Who sits there can be woken.
    wakeable: bool,
    /// Counts what may be news to those who wait: that something was received or refused, or failed.
    news: u64,
    failure: Option<Failure>,
}

/// A seat, with all that is needed there.
#[derive(Debug)]
struct Seat<B> {
    transport: Arc<dyn Transport>,
    buffer: B,
}

/// Access to the machine, while it lasts. What the machine has to say leaves with the next
/// [`flush`](Drive::flush) or [`turn`](Drive::turn).
#[derive(Debug)]
pub struct Guard<'a, M>(MutexGuard<'a, State<M>>);

/// What became of a [turn](Drive::turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Bytes came, or may have come, or the connection failed: look.
    Received,
    /// Nothing came in the time given.
    Nothing,
    /// Somebody else is in the receiver's seat and will see to it.
    Occupied,
    /// The connection has failed.
    Failed,
}

impl<M: Machine> Drive<M> {
    /// Receives up to `buffer` bytes at a time.
    pub fn new(transport: Arc<dyn Transport>, machine: M, buffer: usize) -> Self {
        let sender = Seat { transport: transport.clone(), buffer: BytesMut::new() };
        let buffer = buffer.max(1);
        let space = vec![0; buffer].into_boxed_slice();
        let receiver = Seat { transport: transport.clone(), buffer: space };
        let state = State {
            machine,
            transport,
            sender: Some(Box::new(sender)),
            blocked: false,
            unblocking: false,
            receiver: Some(Box::new(receiver)),
            buffer,
            wakeable: false,
            news: 0,
            failure: None,
        };
        Drive { state: Mutex::new(state) }
    }

    /// The way to the peer.
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.lock().0.transport.clone()
    }

    /// Access to the machine.
    #[inline]
    pub fn lock(&self) -> Guard<'_, M> {
        // A panic elsewhere leaves nothing half done here: calls of the machine are its own
        // business, and the seats change hands between them.
        Guard(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends what the machine has to say, until nothing is left or the transport takes no more.
    /// If somebody else is sending, it is left to them.
    #[inline(always)]
    pub fn flush<'a>(&'a self, mut guard: Guard<'a, M>) -> Guard<'a, M> {
        while guard.0.has_output() {
            let state = &mut *guard.0;
            let Some(mut seat) = state.sender.take() else { break };
            if seat.buffer.is_empty() {
                state.machine.take_output(&mut seat.buffer);
            }
            let news = state.news;
            drop(guard);
            let sent = without_panic(|| seat.transport.send(&seat.buffer));
            guard = self.lock();

            let state = &mut *guard.0;
            if !Arc::ptr_eq(&seat.transport, &state.transport) {
                guard = self.dispose(guard, seat);
                continue;
            }
            let blocked = match sent {
                // All of its space serves again.
                Ok(Sent::Bytes(n)) if n == seat.buffer.len() => {
                    seat.buffer.clear();
                    false
                }
                sent => state.sent_otherwise(&mut seat, sent, news),
            };
            state.sender = Some(seat);
            state.blocked = blocked;
            if blocked {
                break;
            }
        }
        guard
    }

    /// The same where there is rarely anything to send.
    #[inline(always)]
    fn flush_rest<'a>(&'a self, guard: Guard<'a, M>) -> Guard<'a, M> {
        if guard.0.has_output() { self.flush_more(guard) } else { guard }
    }

    #[cold]
    fn flush_more<'a>(&'a self, guard: Guard<'a, M>) -> Guard<'a, M> {
        self.flush(guard)
    }

    /// Takes a turn: sends what there is to send, waits for bytes in the receiver's seat, if it is
    /// free, hands them to the machine, and sends what there is to send then.
    ///
    /// Look before whether what you want is here already. If something happens that may be news to
    /// you, between this call and the wait, there is no wait.
    #[inline]
    pub fn turn<'a>(&'a self, mut guard: Guard<'a, M>, wait: Wait) -> (Guard<'a, M>, Turn) {
        if guard.0.failure.is_some() {
            return (guard, Turn::Failed);
        }
        // Who can wait, waits before another attempt.
        if !guard.0.blocked || wait == Wait::No {
            let news = guard.0.news;
            guard = self.flush(guard);
            if guard.0.news != news {
                return (guard, Turn::Received);
            }
        }
        let state = &mut *guard.0;
        if state.unblocking {
            return (guard, Turn::Occupied);
        }
        // Who is sending at this moment will see for themselves.
        if state.blocked && state.sender.is_some() {
            return self.unblock(guard, wait);
        }
        let Some(seat) = state.receiver.take() else {
            return (guard, Turn::Occupied);
        };
        let (guard, turn) = self.receive(guard, seat, wait);
        (self.flush_rest(guard), turn)
    }

    /// Gives the connection up, for the reason given; the first one counts.
    pub fn fail<'a>(&'a self, mut guard: Guard<'a, M>, failure: Failure) -> Guard<'a, M> {
        guard.0.give_up(failure);
        guard
    }

    /// Goes on over another transport, after a failure.
    pub fn reconnect<'a>(
        &'a self,
        mut guard: Guard<'a, M>,
        transport: Arc<dyn Transport>,
    ) -> Guard<'a, M> {
        let state = &mut *guard.0;
        state.transport = transport;
        state.blocked = false;
        state.unblocking = false;
        state.wakeable = false;
        state.failure = None;
        // Who is still in a seat of the old connection keeps that one: it may take long to come
        // back, and brings nothing of interest.
        let transport = state.transport.clone();
        state.sender = Some(Box::new(Seat { transport, buffer: BytesMut::new() }));
        let transport = state.transport.clone();
        let buffer = vec![0; state.buffer].into_boxed_slice();
        state.receiver = Some(Box::new(Seat { transport, buffer }));
        guard
    }

    /// Does away with a seat of an earlier connection: without the lock, for the transport is
    /// somebody else's, and may be the last of its kind.
    #[cold]
    fn dispose<'a, B>(&'a self, guard: Guard<'a, M>, seat: Box<Seat<B>>) -> Guard<'a, M> {
        drop(guard);
        drop(seat);
        self.lock()
    }

    /// Waits until the transport takes more, or has something to read: a peer that waits for us
    /// to read takes nothing.
    #[cold]
    fn unblock<'a>(&'a self, mut guard: Guard<'a, M>, wait: Wait) -> (Guard<'a, M>, Turn) {
        let state = &mut *guard.0;
        let mut turn = Turn::Occupied;
        let news = state.news;
        let deadline = wait.deadline();
        if let Some(deadline) = deadline {
            let interest = match (&state.receiver, state.wakeable) {
                (Some(_), _) => Interest::Both,
                // They wake us when they have received something.
                (None, false) => Interest::Send,
                (None, true) => {
                    // They can wait for both; a wake has to find the one that it is meant for.
                    state.transport.wake();
                    return (guard, Turn::Occupied);
                }
            };
            state.unblocking = true;
            let transport = state.transport.clone();
            drop(guard);
            let waited = without_panic(|| transport.wait(interest, deadline));
            guard = self.lock();
            if Arc::ptr_eq(&transport, &guard.0.transport) {
                guard.0.unblocking = false;
                if let Err(error) = waited {
                    guard.0.give_up(Failure::Io(Arc::new(error)));
                }
            } else {
                drop(guard);
                drop(transport);
                guard = self.lock();
            }
            // There may have been a reason; and the time need not be over.
            turn = Turn::Received;
        }
        if let Some(seat) = guard.0.receiver.take() {
            let (again, received) = self.receive(guard, seat, Wait::No);
            guard = again;
            if deadline.is_none() {
                turn = received;
            }
        }
        // Otherwise nothing has changed since the last attempt.
        if deadline.is_some() || guard.0.news != news {
            guard = self.flush_rest(guard);
        }
        (guard, turn)
    }

    /// In the receiver's seat: receives once.
    #[inline(always)]
    fn receive<'a>(
        &'a self,
        mut guard: Guard<'a, M>,
        mut seat: Box<Seat<Box<[u8]>>>,
        wait: Wait,
    ) -> (Guard<'a, M>, Turn) {
        guard.0.wakeable = matches!(wait, Wait::UntilWoken(_));
        drop(guard);
        let received = without_panic(|| seat.transport.recv(&mut seat.buffer, wait));
        let mut guard = self.lock();
        let state = &mut *guard.0;
        if !Arc::ptr_eq(&seat.transport, &state.transport) {
            return (self.dispose(guard, seat), Turn::Received);
        }
        let mut turn = Turn::Received;
        if state.failure.is_none() {
            match received {
                Ok(n) if n > 0 && n <= seat.buffer.len() => {
                    state.news += 1;
                    if let Err(error) = state.machine.receive(&seat.buffer[..n]) {
                        state.give_up(Failure::Protocol(error));
                    }
                }
                received => turn = state.received_nothing(received),
            }
        }
        state.receiver = Some(seat);
        state.wakeable = false;
        if state.unblocking {
            // They may have got what they wait for, and have to receive as well now.
            state.transport.wake();
        }
        (guard, turn)
    }
}

/// A transport is other people's code: that it panics is reported by the hook for that, and ends the
/// connection as any other error does. Nobody may wait for who would never come back.
#[inline(always)]
fn without_panic<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::other("the transport has panicked")))
}

fn nonsense() -> Failure {
    Failure::Io(Arc::new(io::Error::other("the transport says that it took more than there was")))
}

impl<M: Machine> State<M> {
    /// Whether there is something to send, and nobody sends.
    #[inline]
    fn has_output(&self) -> bool {
        let output = |seat: &Seat<BytesMut>| !seat.buffer.is_empty() || self.machine.has_output();
        self.failure.is_none() && self.sender.as_deref().is_some_and(output)
    }

    /// Not all was sent; says whether somebody has to wait until more can be.
    #[cold]
    fn sent_otherwise(
        &mut self,
        seat: &mut Seat<BytesMut>,
        sent: io::Result<Sent>,
        news_before: u64,
    ) -> bool {
        let Seat { transport, buffer } = seat;
        match sent {
            Ok(Sent::Bytes(n)) if n > buffer.len() => self.give_up(nonsense()),
            Ok(Sent::Bytes(n)) => buffer.advance(n),
            Ok(Sent::Refused(code)) => {
                buffer.clear();
                self.news += 1;
                if self.failure.is_none() {
                    self.machine.refused(code);
                    if self.receiver.is_none() {
                        // Perhaps it was the message of who waits there: it would wait for a
                        // reply that never comes.
                        transport.wake();
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Who received meanwhile could not send, and may sit there again: nobody else would
            // find out that there is room now. Otherwise they will, with the reply to something
            // that is still on its way.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return self.news == news_before;
            }
            Err(error) => self.give_up(Failure::Io(Arc::new(error))),
        }
        false
    }

    /// Nothing was received; says what became of the turn.
    #[cold]
    fn received_nothing(&mut self, received: io::Result<usize>) -> Turn {
        match received {
            Ok(0) => {
                let error = self.machine.end_of_input();
                self.give_up(Failure::Protocol(error));
            }
            Ok(_) => self.give_up(nonsense()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.give_up(Failure::Io(Arc::new(error))),
        }
        Turn::Received
    }

    #[cold]
    fn give_up(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.news += 1;
            self.machine.failed(&failure);
            self.failure = Some(failure);
            // Whoever waits in the transport returns.
            self.transport.close();
        }
    }
}

impl<M> Guard<'_, M> {
    /// Whether nobody waits for the transport although somebody could: to receive, or to send
    /// what it did not take.
    #[inline]
    pub fn is_unattended(&self) -> bool {
        !self.0.unblocking && (self.0.receiver.is_some() || self.0.blocked)
    }

    /// Whether the receiver's seat is free.
    #[inline]
    pub fn is_free(&self) -> bool {
        !self.0.unblocking && self.0.receiver.is_some()
    }

    /// Whether the transport took no more: somebody has to wait until it does.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.0.blocked
    }
}

impl<M> Deref for Guard<'_, M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        &self.0.machine
    }
}

impl<M> DerefMut for Guard<'_, M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M {
        &mut self.0.machine
    }
}

/// Why a connection is of no use any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The peer closed the connection or broke the protocol.
    Protocol(ConnectionError),
    /// The system reported an error.
    Io(Arc<io::Error>),
    /// This side closed the connection.
    Closed,
}

impl Failure {
    /// The kind of I/O error that comes closest.
    pub fn io_kind(&self) -> io::ErrorKind {
        match self {
            Failure::Protocol(ConnectionError::Closed) => io::ErrorKind::ConnectionReset,
            Failure::Protocol(ConnectionError::Truncated) => io::ErrorKind::UnexpectedEof,
            Failure::Protocol(_) => io::ErrorKind::InvalidData,
            Failure::Io(error) => error.kind(),
            Failure::Closed => io::ErrorKind::NotConnected,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Protocol(error) => error.fmt(f),
            Failure::Io(error) => error.fmt(f),
            Failure::Closed => f.write_str("the connection was closed on this side"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Protocol(error) => Some(error),
            Failure::Io(error) => Some(&**error),
            Failure::Closed => None,
        }
    }
}
