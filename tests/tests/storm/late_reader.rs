//! A connection whose receiver is late.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::Limits;
use xs_transport::{Interest, Sent, Transport, Wait};

use super::connections::Connections;
use super::random::Random;

/// A transport that is cut when a thread has received bytes and has not returned yet. The thread
/// returns when the client has replaced the connection, if it does so soon: its bytes are then those
/// of an earlier connection.
#[derive(Debug)]
pub(crate) struct LateReader {
    inner: Box<dyn Transport>,
    /// The connection is left as it is.
    is_calm: Arc<AtomicBool>,
    connections: Arc<Connections>,
    /// The number of receives until the cut.
    left: AtomicU64,
    patience: Duration,
    /// The time between the new connection and the return.
    delay: Duration,
}

impl LateReader {
    pub(crate) fn new(
        inner: Box<dyn Transport>,
        is_calm: Arc<AtomicBool>,
        connections: Arc<Connections>,
        random: &mut Random,
    ) -> Self {
        LateReader {
            inner,
            is_calm,
            connections,
            left: AtomicU64::new(1 + random.below(300)),
            patience: Duration::from_millis(random.below(200)),
            delay: Duration::from_micros(random.below(2000)),
        }
    }

    fn be_late(&self) {
        let before = self.connections.made();
        self.inner.close();
        let until = Instant::now() + self.patience;
        while self.connections.made() == before && Instant::now() < until {
            thread::sleep(Duration::from_micros(100));
        }
        thread::sleep(self.delay);
    }
}

impl Transport for LateReader {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        self.inner.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let n = self.inner.recv(buf, wait)?;
        let is_last = n > 0 && self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && !self.is_calm.load(Ordering::SeqCst) {
            self.be_late();
        }
        Ok(n)
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
