//! A transport whose calls a test can intercept.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use xs_proto::Limits;
use xs_transport::{Interest, Sent, Transport, Wait};

/// A transport that passes each call to a hook, which may count it, block it, answer it in place
/// of the transport below, panic, or call the transport below.
///
/// A call without a hook goes to the transport below.
pub(crate) struct Intercept {
    below: Box<dyn Transport>,
    limits: Box<LimitsHook>,
    send: Box<SendHook>,
    recv: Box<RecvHook>,
    wait: Box<WaitHook>,
    wake: Box<NotifyHook>,
    close: Box<NotifyHook>,
    fd: Box<FdHook>,
    drop: Box<dyn Fn() + Send + Sync>,
}

type LimitsHook = dyn Fn(&dyn Transport) -> Limits + Send + Sync;
type SendHook = dyn Fn(&dyn Transport, &[u8]) -> io::Result<Sent> + Send + Sync;
type RecvHook = dyn Fn(&dyn Transport, &mut [u8], Wait) -> io::Result<usize> + Send + Sync;
type WaitHook = dyn Fn(&dyn Transport, Interest, Option<Instant>) -> io::Result<()> + Send + Sync;
type NotifyHook = dyn Fn(&dyn Transport) + Send + Sync;
type FdHook = dyn for<'a> Fn(&'a dyn Transport) -> io::Result<BorrowedFd<'a>> + Send + Sync;

impl Intercept {
    /// Intercepts nothing so far.
    pub(crate) fn new(below: impl Transport + 'static) -> Self {
        Intercept {
            below: Box::new(below),
            limits: Box::new(|below| below.limits()),
            send: Box::new(|below, bytes| below.send(bytes)),
            recv: Box::new(|below, buf, wait| below.recv(buf, wait)),
            wait: Box::new(|below, interest, deadline| below.wait(interest, deadline)),
            wake: Box::new(|below| below.wake()),
            close: Box::new(|below| below.close()),
            fd: Box::new(|below| below.fd()),
            drop: Box::new(|| ()),
        }
    }

    pub(crate) fn on_limits(
        mut self,
        hook: impl Fn(&dyn Transport) -> Limits + Send + Sync + 'static,
    ) -> Self {
        self.limits = Box::new(hook);
        self
    }

    pub(crate) fn on_send(
        mut self,
        hook: impl Fn(&dyn Transport, &[u8]) -> io::Result<Sent> + Send + Sync + 'static,
    ) -> Self {
        self.send = Box::new(hook);
        self
    }

    /// Accepts nothing to send while `is_full` is true.
    pub(crate) fn blocked_while(self, is_full: &Arc<AtomicBool>) -> Self {
        let is_full = is_full.clone();
        self.on_send(move |below, bytes| match is_full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => below.send(bytes),
        })
    }

    pub(crate) fn on_recv(
        mut self,
        hook: impl Fn(&dyn Transport, &mut [u8], Wait) -> io::Result<usize> + Send + Sync + 'static,
    ) -> Self {
        self.recv = Box::new(hook);
        self
    }

    pub(crate) fn on_wait(
        mut self,
        hook: impl Fn(&dyn Transport, Interest, Option<Instant>) -> io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.wait = Box::new(hook);
        self
    }

    pub(crate) fn on_wake(mut self, hook: impl Fn(&dyn Transport) + Send + Sync + 'static) -> Self {
        self.wake = Box::new(hook);
        self
    }

    pub(crate) fn on_close(
        mut self,
        hook: impl Fn(&dyn Transport) + Send + Sync + 'static,
    ) -> Self {
        self.close = Box::new(hook);
        self
    }

    pub(crate) fn on_fd(
        mut self,
        hook: impl for<'a> Fn(&'a dyn Transport) -> io::Result<BorrowedFd<'a>> + Send + Sync + 'static,
    ) -> Self {
        self.fd = Box::new(hook);
        self
    }

    /// Calls the hook when the transport is dropped.
    pub(crate) fn on_drop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.drop = Box::new(hook);
        self
    }
}

impl Drop for Intercept {
    fn drop(&mut self) {
        (self.drop)();
    }
}

impl fmt::Debug for Intercept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intercept").field("below", &self.below).finish_non_exhaustive()
    }
}

impl Transport for Intercept {
    fn limits(&self) -> Limits {
        (self.limits)(&self.below)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        (self.send)(&self.below, bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        (self.recv)(&self.below, buf, wait)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        (self.wait)(&self.below, interest, deadline)
    }

    fn wake(&self) {
        (self.wake)(&self.below);
    }

    fn close(&self) {
        (self.close)(&self.below);
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        (self.fd)(&self.below)
    }

    fn describe(&self) -> String {
        format!("intercepted: {}", self.below.describe())
    }
}
