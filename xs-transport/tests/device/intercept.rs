//! A transport that changes how the device's transport behaves.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use xs_proto::Limits;
use xs_transport::{Interest, Sent, Transport, Wait, XenbusTransport};

/// A device with other limits, and optionally with a gate.
#[derive(Debug)]
pub(crate) struct Intercept {
    pub(crate) inner: XenbusTransport,
    pub(crate) limits: Limits,
    /// Keeps `send` from returning until `recv` has been called twice.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// Counts the calls of `send` and `recv`, and lets threads wait for them.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    calls: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Gate {
    /// Waits until the numbers of calls satisfy the condition.
    pub(crate) fn wait_until(&self, reached: impl Fn(&(usize, usize)) -> bool) {
        let calls = self.calls.lock().unwrap();
        drop(self.changed.wait_while(calls, |calls| !reached(calls)).unwrap());
    }

    fn count(&self, change: impl Fn(&mut (usize, usize))) {
        change(&mut self.calls.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Transport for Intercept {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let sent = self.inner.send(bytes);
        if let Some(gate) = &self.gate {
            gate.count(|(sends, _)| *sends += 1);
            gate.wait_until(|(_, receives)| *receives >= 2);
        }
        sent
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        if let Some(gate) = &self.gate {
            gate.count(|(_, receives)| *receives += 1);
        }
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
