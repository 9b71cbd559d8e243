//! The contract between a transport and its caller.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use xs_proto::{ErrorCode, Limits};

use crate::sys::Descriptor;

/// A connection to a Xenstore daemon that moves bytes in both directions.
///
/// A transport knows how its medium behaves: short reads and writes, error numbers, how to wait. It
/// does not match replies to requests and does not retry. The callers are [`Drive`] and the crate
/// `xs-client`, which follow the rules below. Read them to implement a transport, or to call one
/// directly.
///
/// # Threads
/// All methods take `&self`, and any thread may call them. The caller ensures that
///
/// * at most one thread is in [`send`] at a time;
/// * at most one thread is in [`recv`] at a time;
/// * at most one thread at a time is in a wait that [`wake`] ends, which is [`wait`] or a [`recv`]
///   with [`Wait::UntilWoken`].
///
/// One thread may send while another one receives or waits. [`wake`], [`close`], [`limits`], [`fd`]
/// and [`describe`] may be called at any time, also while other threads are in any of the methods.
///
/// # Blocking
/// Only [`recv`] and [`wait`] block, and only as long as their arguments say. There is one
/// exception: the xenbus device blocks in [`send`] while the daemon processes a WATCH or UNWATCH.
///
/// # Spurious returns
/// [`recv`] may fail with `WouldBlock` or `Interrupted` and [`wait`] may return at any time, before
/// the deadline and without a wake-up. The caller checks its condition and its deadline, and calls
/// again.
///
/// # Errors
/// `WouldBlock` and `Interrupted` are transient: the call had no effect and may be repeated. So are
/// EMFILE, ENFILE, ENOMEM and ENOBUFS, with which the system reports a temporary shortage: the call
/// may be repeated after a short pause. Every other error is final, and so is `Ok(0)` from
/// [`recv`]. The caller then calls [`close`] and no longer uses the transport. [`Drive`] and
/// `xs-client` treat a panic of a transport as a final error.
///
/// [`Drive`]: crate::Drive
/// [`send`]: Transport::send
/// [`recv`]: Transport::recv
/// [`wait`]: Transport::wait
/// [`wake`]: Transport::wake
/// [`close`]: Transport::close
/// [`limits`]: Transport::limits
/// [`fd`]: Transport::fd
/// [`describe`]: Transport::describe
pub trait Transport: Debug + Send + Sync {
    /// Returns the limits that a client connection over this transport must respect.
    ///
    /// They do not change during the life of the transport.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Sends a prefix of `bytes`, as much as the transport accepts without waiting.
    ///
    /// `bytes` is never empty. If the [limits](Self::limits) say [`Limits::one_at_a_time`], `bytes`
    /// is one message, or the unsent rest of one, and the caller sends the next message only after
    /// the reply to this one.
    ///
    /// # Errors
    /// `WouldBlock` if the transport accepts nothing now. It accepts more once the peer has
    /// received bytes sent earlier, and [`wait`](Self::wait) returns then. A thread that is in
    /// [`recv`](Self::recv) meanwhile can rely on returning, too, and can then send again: either
    /// the peer has not yet received some complete request, whose reply is still to come, or `recv`
    /// itself returns once the transport accepts more.
    ///
    /// `Interrupted` if nothing was sent and the call can be repeated at once.
    fn send(&self, bytes: &[u8]) -> io::Result<Sent>;

    /// Receives at least one byte into `buf` and returns how many; `Ok(0)` is the end of the
    /// stream.
    ///
    /// `buf` is never empty. Bytes that are already here are returned without waiting, whatever
    /// `wait` says.
    ///
    /// # Errors
    /// `WouldBlock` if nothing was received. The deadline may not have passed yet: the caller
    /// checks the deadline and calls again.
    ///
    /// `Interrupted` if nothing was received yet and the deadline has not passed.
    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize>;

    /// Waits until an operation in `interest` is possible, the deadline passes, another thread
    /// calls [`wake`](Self::wake), or the connection ends. Without a deadline, waits indefinitely.
    ///
    /// May return spuriously. Returning does not mean that the operation will succeed.
    ///
    /// # Errors
    /// See [above](Self#errors). An interrupted wait returns `Ok(())`.
    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()>;

    /// Ends one [`wait`](Self::wait) or one [`recv`](Self::recv) with [`Wait::UntilWoken`]: the
    /// current one or, if no thread is in one, the next one.
    ///
    /// Several calls before that wait count as one. If messages can be [refused](Sent::Refused), a
    /// call also ends a [`recv`](Self::recv) with [`Wait::Until`]: the thread in it may be waiting
    /// for the reply to a refused message, and that reply never comes.
    fn wake(&self);

    /// Ends the connection. May be called more than once.
    ///
    /// Threads in [`recv`](Self::recv) or [`wait`](Self::wait) return promptly, and neither blocks
    /// from then on. [`send`](Self::send) fails. [`recv`](Self::recv) reports the end of the
    /// stream; bytes that had already arrived may come first.
    fn close(&self);

    /// Returns a descriptor that is readable when [`recv`](Self::recv) would not block.
    ///
    /// The caller may only watch it with poll(2), epoll(7) and the like: reading from it or writing
    /// to it breaks the connection, and setting a receive timeout on it may delay deadlines.
    ///
    /// # Errors
    /// Fails if the transport has no descriptor and cannot create one.
    fn fd(&self) -> io::Result<Descriptor<'_>>;

    /// Returns a name of this transport for messages to people, such as the path of the socket.
    fn describe(&self) -> String;
}

/// The result of a successful [`Transport::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// This many bytes were sent, at least one.
    Bytes(usize),
    /// The message was rejected as a whole, and no reply to it will come. The connection is usable.
    ///
    /// The Linux device reports the daemon's error for WATCH and UNWATCH in this way.
    Refused(ErrorCode),
}

/// How long [`Transport::recv`] waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Does not wait.
    No,
    /// Waits until the deadline, or indefinitely without one.
    Until(Option<Instant>),
    /// Waits until the deadline, or indefinitely without one, and ends when another thread calls
    /// [`Transport::wake`]. May cost one system call more than [`Wait::Until`].
    UntilWoken(Option<Instant>),
}

impl Wait {
    /// Returns the deadline of the wait: `Some(None)` for one without a deadline, and `None` for
    /// [`Wait::No`].
    pub fn deadline(self) -> Option<Option<Instant>> {
        match self {
            Wait::No => None,
            Wait::Until(deadline) | Wait::UntilWoken(deadline) => Some(deadline),
        }
    }
}

/// The operations that [`Transport::wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes can be received.
    Receive,
    /// Bytes can be sent.
    Send,
    /// Bytes can be received or sent.
    Both,
}

impl Interest {
    /// Returns whether the wait ends when bytes can be received.
    pub const fn receive(self) -> bool {
        matches!(self, Interest::Receive | Interest::Both)
    }

    /// Returns whether the wait ends when bytes can be sent.
    pub const fn send(self) -> bool {
        matches!(self, Interest::Send | Interest::Both)
    }
}

/// Implements [`Transport`] for pointers to a transport.
macro_rules! pointers {
    ($($pointer:ident)*) => {$(
        impl<T: Transport + ?Sized> Transport for $pointer<T> {
            fn limits(&self) -> Limits {
                (**self).limits()
            }

            fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
                (**self).send(bytes)
            }

            fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
                (**self).recv(buf, wait)
            }

            fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
                (**self).wait(interest, deadline)
            }

            fn wake(&self) {
                (**self).wake();
            }

            fn close(&self) {
                (**self).close();
            }

            fn fd(&self) -> io::Result<Descriptor<'_>> {
                (**self).fd()
            }

            fn describe(&self) -> String {
                (**self).describe()
            }
        }
    )*};
}

pointers!(Box Arc);
