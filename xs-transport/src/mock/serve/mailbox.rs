//! Messages of other threads to the thread that serves clients.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mio::{Registry, Token, Waker};

/// Holds what other threads have for the serving thread, and wakes it.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// The clients that have output, or whose requests are accepted again.
    ready: Mutex<Vec<usize>>,
    /// The serving thread is waiting, or about to.
    is_waiting: AtomicBool,
    is_stopped: AtomicBool,
    waker: Waker,
}

impl Mailbox {
    /// Creates a mailbox, whose wake-ups have this token.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Mailbox {
            ready: Mutex::default(),
            is_waiting: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            waker: Waker::new(registry, token)?,
        })
    }

    /// Tells the serving thread to stop.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        // If this fails, the next event stops the thread.
        let _ = self.waker.wake();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Adds a client that is ready to be served. The serving thread may do that, too.
    pub(super) fn push_ready(&self, client: usize) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        if self.is_waiting.swap(false, Ordering::SeqCst) {
            let _ = self.waker.wake();
        }
    }

    /// Takes all clients that are ready to be served.
    pub(super) fn take_ready(&self) -> Vec<usize> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *ready)
    }

    /// Announces that the serving thread is about to wait, so that later messages wake it. Returns
    /// how long it may wait.
    pub(super) fn prepare_wait(&self) -> Option<Duration> {
        self.is_waiting.store(true, Ordering::SeqCst);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        (!ready.is_empty()).then_some(Duration::ZERO)
    }

    /// Announces that the wait is over.
    pub(super) fn end_wait(&self) {
        self.is_waiting.store(false, Ordering::SeqCst);
    }
}
