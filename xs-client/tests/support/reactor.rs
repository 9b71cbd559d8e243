//! A reactor that a test controls.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use xs_client::futures::reactor::{Clock, Reactor, Sleep};
use xs_transport::Interest;

/// A reactor that reports readiness once for each time that the flag is set, as edge-triggered
/// epoll(7) does. It wakes no task, and its timers never fire.
pub(crate) struct EdgeTriggered(pub(crate) Arc<AtomicBool>);

impl Reactor for EdgeTriggered {
    fn register(&mut self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn poll_io(
        &mut self,
        _: &mut Context<'_>,
        _: Interest,
        attempt: &mut dyn FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        if !self.0.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.store(false, Ordering::SeqCst);
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(NoTimers)
    }
}

/// A clock whose timers never fire.
#[derive(Debug)]
pub(crate) struct NoTimers;

impl Clock for NoTimers {
    fn sleep_until(&self, _: Instant) -> Sleep {
        Box::pin(std::future::pending())
    }
}
