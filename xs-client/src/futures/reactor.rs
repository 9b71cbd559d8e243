//! The interface between a driver and a runtime, and its implementations for tokio and smol.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use xs_transport::Interest;

/// Watches one descriptor for a [`Driver`](super::Driver), and gives it the clock of its runtime.
pub trait Reactor: Send {
    /// Watches this descriptor instead of any earlier one.
    fn register(&mut self, fd: OwnedFd) -> io::Result<()>;

    /// Calls `attempt` when the descriptor may be ready. Waits until the descriptor is ready again
    /// if `attempt` returns `WouldBlock`, and returns any other result.
    fn poll_io(
        &mut self,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: &mut dyn FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>>;

    /// Returns the clock of the runtime, to which all deadlines refer. Called once, after the first
    /// [`register`](Self::register).
    fn clock(&self) -> Arc<dyn Clock>;
}

/// The clock and the timers of a runtime, to which the deadlines of futures refer.
///
/// It need not be the clock of the system: in tests, tokio can stop its clock, and advance it when
/// all tasks wait.
pub trait Clock: Debug + Send + Sync {
    /// Returns the present instant.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns a future that is ready at `at`.
    ///
    /// The client calls this on any thread, even when such a future wakes it, and polls the future
    /// with a waker of its own.
    fn sleep_until(&self, at: Instant) -> Sleep;
}

/// A future that waits; see [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

#[cfg(feature = "tokio")]
pub use self::tokio_reactor::Tokio;

#[cfg(feature = "tokio")]
mod tokio_reactor {
    use std::task::ready;

    use tokio::io::unix::AsyncFd;
    use tokio::runtime::Handle;
    use tokio::task::unconstrained;
    use tokio::time::sleep_until;

    use super::*;

    /// The reactor of tokio. The runtime must have I/O and time enabled.
    #[derive(Debug, Default)]
    pub struct Tokio {
        fd: Option<AsyncFd<OwnedFd>>,
    }

    /// The clock of a runtime, which tasks outside of the runtime can also use.
    #[derive(Debug)]
    struct RuntimeClock(Handle);

    impl Clock for RuntimeClock {
        fn now(&self) -> Instant {
            let _context = self.0.enter();
            tokio::time::Instant::now().into_std()
        }

        fn sleep_until(&self, at: Instant) -> Sleep {
            let _context = self.0.enter();
            // The alarm polls it for all tasks, so it must not use up the budget of one task.
            Box::pin(unconstrained(sleep_until(at.into())))
        }
    }

    impl Tokio {
        /// Creates a reactor that watches nothing yet.
        pub fn new() -> Self {
            Self::default()
        }
    }

    impl Reactor for Tokio {
        fn register(&mut self, fd: OwnedFd) -> io::Result<()> {
            self.fd = None;
            Handle::try_current().map_err(io::Error::other)?;
            #[allow(deprecated, reason = "sound for an OwnedFd, and its successor is unsafe")]
            let fd = AsyncFd::new(fd)?;
            self.fd = Some(fd);
            Ok(())
        }

        fn poll_io(
            &mut self,
            cx: &mut Context<'_>,
            interest: Interest,
            attempt: &mut dyn FnMut() -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            let Some(fd) = &self.fd else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            loop {
                let mut guard = ready!(match interest {
                    Interest::Send => fd.poll_write_ready(cx),
                    _ => fd.poll_read_ready(cx),
                })?;
                if let Ok(result) = guard.try_io(|_| attempt()) {
                    return Poll::Ready(result);
                }
            }
        }

        fn clock(&self) -> Arc<dyn Clock> {
            Arc::new(RuntimeClock(Handle::current()))
        }
    }
}

#[cfg(feature = "smol")]
pub use self::smol_reactor::Smol;

#[cfg(feature = "smol")]
mod smol_reactor {
    use std::task::ready;

    use smol::{Async, Timer};

    use super::*;

    /// The reactor of smol and of other runtimes that use the crate `async-io`.
    #[derive(Debug, Default)]
    pub struct Smol {
        fd: Option<Async<OwnedFd>>,
    }

    /// The clock of the system, with the timers of `async-io`.
    #[derive(Debug)]
    struct Timers;

    impl Clock for Timers {
        fn sleep_until(&self, at: Instant) -> Sleep {
            Box::pin(async move {
                Timer::at(at).await;
            })
        }
    }

    impl Smol {
        /// Creates a reactor that watches nothing yet.
        pub fn new() -> Self {
            Self::default()
        }
    }

    impl Reactor for Smol {
        fn register(&mut self, fd: OwnedFd) -> io::Result<()> {
            self.fd = None;
            // The transport has set the mode of the descriptor.
            self.fd = Some(Async::new_nonblocking(fd)?);
            Ok(())
        }

        fn poll_io(
            &mut self,
            cx: &mut Context<'_>,
            interest: Interest,
            attempt: &mut dyn FnMut() -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            let Some(fd) = &self.fd else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            loop {
                // The attempt comes first because the poll does not report bytes that arrived
                // before.
                match attempt() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
                ready!(match interest {
                    Interest::Send => fd.poll_writable(cx),
                    _ => fd.poll_readable(cx),
                })?;
            }
        }

        fn clock(&self) -> Arc<dyn Clock> {
            Arc::new(Timers)
        }
    }
}
