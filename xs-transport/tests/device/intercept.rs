//! A transport that changes how the device's transport behaves.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use xs_proto::Limits;
use xs_transport::{Interest, Sent, Transport, Wait, XenbusTransport};

/// A device with other limits.
#[derive(Debug)]
pub(crate) struct Intercept {
    pub(crate) inner: XenbusTransport,
    pub(crate) limits: Limits,
}

impl Transport for Intercept {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        self.inner.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.inner.recv(buf, wait)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(interest, deadline)
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn close(&self) {
        self.inner.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.inner.fd()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
