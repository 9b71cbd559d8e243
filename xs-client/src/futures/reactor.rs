//! The interface between a driver and a runtime, and its implementations for tokio and smol.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Instant;

use xs_transport::Interest;

/// Watches one descriptor and one timer for a [`Driver`](super::Driver).
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

    /// Waits until `deadline` has passed.
    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;
}

#[cfg(feature = "tokio")]
pub use self::tokio_reactor::Tokio;

#[cfg(feature = "tokio")]
mod tokio_reactor {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::ready;

    use tokio::io::unix::AsyncFd;
    use tokio::time::{Sleep, sleep_until};

    use super::*;

    /// The reactor of tokio. The runtime must have I/O and time enabled.
    #[derive(Debug, Default)]
    pub struct Tokio {
        fd: Option<AsyncFd<OwnedFd>>,
        sleep: Option<(Instant, Pin<Box<Sleep>>)>,
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

        fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
            match &mut self.sleep {
                Some((at, _)) if *at == deadline => {}
                Some((at, sleep)) => {
                    *at = deadline;
                    sleep.as_mut().reset(deadline.into());
                }
                none => *none = Some((deadline, Box::pin(sleep_until(deadline.into())))),
            }
            match &mut self.sleep {
                Some((_, sleep)) => sleep.as_mut().poll(cx),
                None => Poll::Pending,
            }
        }
    }
}

#[cfg(feature = "smol")]
pub use self::smol_reactor::Smol;

#[cfg(feature = "smol")]
mod smol_reactor {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::ready;

    use async_io::{Async, Timer};

    use super::*;

    /// The reactor of smol and of other runtimes that use the crate `async-io`.
    #[derive(Debug, Default)]
    pub struct Smol {
        fd: Option<Async<OwnedFd>>,
        timer: Option<(Instant, Timer)>,
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
                // The attempt comes first because the poll does not report bytes that arrived before.
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

        fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
            match &mut self.timer {
                Some((at, _)) if *at == deadline => {}
                Some((at, timer)) => {
                    *at = deadline;
                    timer.set_at(deadline);
                }
                none => *none = Some((deadline, Timer::at(deadline))),
            }
            match &mut self.timer {
                Some((_, timer)) => Pin::new(timer).poll(cx).map(drop),
                None => Poll::Pending,
            }
        }
    }
}
