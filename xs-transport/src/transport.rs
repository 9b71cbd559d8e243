//! The contract that every transport keeps.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xs_proto::{ErrorCode, Limits};

/// A way to a xenstored: moves bytes, and knows what the way is like.
///
/// The methods may be called from any thread at any time, but no two threads [`send`] at once, and
/// no two [`recv`] at once; [`Drive`] sees to that. One thread may send while another receives.
///
/// [`send`]: Transport::send
/// [`recv`]: Transport::recv
/// [`Drive`]: crate::Drive
pub trait Transport: Debug + Send + Sync {
    /// What a client's connection must keep to on this way.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Sends some of `bytes`, as many as the way takes without waiting.
    ///
    /// With [`Limits::one_at_a_time`], `bytes` is one message or the rest of one. Only there may a
    /// call wait, because the Linux device waits for the daemon when a watch is set or removed.
    ///
    /// # Errors
    /// `WouldBlock`: not before the peer has taken, and will answer, something that was sent
    /// earlier; [`wait`](Transport::wait) tells when. Any other error is final.
    fn send(&self, bytes: &[u8]) -> io::Result<Sent>;

    /// Receives some bytes, at least one; `Ok(0)` is the end. `buf` is never empty.
    ///
    /// # Errors
    /// `WouldBlock`: nothing has come in the time there was. `Interrupted`: nothing, so far. Any
    /// other error is final.
    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize>;

    /// Waits until one of `interest` is possible, the deadline has passed or [`wake`] is called.
    /// May return without a reason.
    ///
    /// [`wake`]: Transport::wake
    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()>;

    /// Ends one [`wait`](Transport::wait) or [`Wait::UntilWoken`]: the one that is under way, or
    /// else the next one. On a way that [refuses](Sent::Refused) messages, any other [`Wait`] too.
    fn wake(&self);

    /// Ends the connection. Who waits in [`recv`](Transport::recv) or [`wait`](Transport::wait)
    /// returns at once, and from now on nothing can be sent or received.
    fn close(&self);

    /// A descriptor that is readable when something can be received, for poll(2) and its like.
    ///
    /// # Errors
    /// The transport has none, and cannot make one.
    fn fd(&self) -> io::Result<BorrowedFd<'_>>;

    /// Which way this is, for people: the path of a socket or of a device.
    fn describe(&self) -> String;
}

/// What became of bytes that were to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many of them are on their way, at least one.
    Bytes(usize),
    /// The message was refused on its way, and no reply to it will come. The connection is fine.
    /// The Linux device gives the daemon's answer to WATCH and UNWATCH in this way.
    Refused(ErrorCode),
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// For [`Wait::LONG`]. Costs the least: nobody looks at the clock.
    Long,
    /// Until then; for ever if there is no deadline.
    Until(Option<Instant>),
    /// Likewise, or until [`Transport::wake`] is called. May cost a system call more.
    UntilWoken(Option<Instant>),
}

impl Wait {
    /// Who can wait for so long needs no deadline for it.
    pub const LONG: Duration = Duration::from_secs(10);

    /// Until when to wait from now on, `Some(None)` is for ever; `None`: not at all.
    pub fn deadline(self) -> Option<Option<Instant>> {
        match self {
            Wait::No => None,
            Wait::Long => Some(Some(Instant::now() + Self::LONG)),
            Wait::Until(deadline) | Wait::UntilWoken(deadline) => Some(deadline),
        }
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something can be received.
    Receive,
    /// Something can be sent.
    Send,
    /// Either.
    Both,
}

impl Interest {
    /// Whether receiving is of interest.
    pub const fn receive(self) -> bool {
        matches!(self, Interest::Receive | Interest::Both)
    }

    /// Whether sending is of interest.
    pub const fn send(self) -> bool {
        matches!(self, Interest::Send | Interest::Both)
    }
}

/// A pointer to a transport is one.
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

            fn fd(&self) -> io::Result<BorrowedFd<'_>> {
                (**self).fd()
            }

            fn describe(&self) -> String {
                (**self).describe()
            }
        }
    )*};
}

pointers!(Box Arc);
