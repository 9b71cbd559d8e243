//! An event channel whose events come twice, late, or without a reason.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use xs_transport::Descriptor;
use xs_transport::ring::EventChannel;

/// Makes the events that one end sends unreliable, at random. None is lost.
#[derive(Debug)]
pub(crate) struct UnreliableEvents<C> {
    inner: Arc<C>,
    random: Mutex<u64>,
    /// A thread that notifies after a while.
    late: mpsc::Sender<Duration>,
}

impl<C: EventChannel + 'static> UnreliableEvents<C> {
    pub(crate) fn new(inner: C, seed: u64) -> Self {
        let inner = Arc::new(inner);
        let (late, delays) = mpsc::channel();
        let channel = Arc::downgrade(&inner);
        thread::spawn(move || {
            for delay in delays {
                thread::sleep(delay);
                if let Some(channel) = channel.upgrade() {
                    let _ = channel.notify();
                }
            }
        });
        UnreliableEvents { inner, random: Mutex::new(seed), late }
    }

    fn random(&self) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        // The generator of Knuth's MMIX, whose upper bits are the random ones.
        *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *random >> 33
    }
}

impl<C: EventChannel + 'static> EventChannel for UnreliableEvents<C> {
    fn notify(&self) -> io::Result<()> {
        let random = self.random();
        match random % 4 {
            0 => {
                self.inner.raise();
                self.inner.notify()
            }
            1 => {
                self.inner.notify()?;
                self.inner.notify()
            }
            2 => {
                let delay = Duration::from_micros(random / 4 % 500);
                self.late.send(delay).map_err(io::Error::other)
            }
            _ => self.inner.notify(),
        }
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(deadline)
    }

    fn clear(&self) -> io::Result<()> {
        self.inner.clear()
    }

    fn raise(&self) {
        self.inner.raise();
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        self.inner.fd()
    }
}
