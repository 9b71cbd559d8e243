//! A transport between two threads of a test, built from shuttle's primitives.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use shuttle::sync::{Condvar, Mutex, MutexGuard};
use xs_proto::Limits;
use xs_transport::mock::Pipe;
use xs_transport::{Interest, Sent, Transport, Wait};

/// A connection whose far end is served by a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    /// How many bytes may be on their way to the server.
    capacity: usize,
    /// How many bytes one call sends.
    send_limit: usize,
    limits: Limits,
    /// A descriptor that no reactor really watches.
    fd: File,
}

#[derive(Debug, Default)]
struct State {
    to_server: Vec<u8>,
    to_client: VecDeque<u8>,
    woken: bool,
    closed: bool,
    /// How many bytes one call receives.
    receive_limit: usize,
    /// The drivers to wake at the next change.
    wakers: Vec<Waker>,
}

impl Wire {
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with_limits(capacity, usize::MAX, Limits::default())
    }

    /// Like the kernel's device, the wire carries one request at a time. One call sends a few bytes.
    pub(crate) fn one_at_a_time() -> Self {
        Self::with_limits(usize::MAX, 10, Limits::default().with_one_at_a_time())
    }

    fn with_limits(capacity: usize, send_limit: usize, limits: Limits) -> Self {
        let fd = File::open("/dev/null").unwrap();
        let state = Mutex::new(State { receive_limit: usize::MAX, ..State::default() });
        let inner = Inner { state, changed: Condvar::new(), capacity, send_limit, limits, fd };
        Wire(Arc::new(inner))
    }

    /// Passes requests to the daemon until the client closes the connection. After `bytes` bytes
    /// of requests the daemon dies.
    pub(crate) fn serve(&self, pipe: &Pipe, bytes: usize) {
        let mut left = bytes;
        loop {
            let mut state = self.lock();
            while state.to_server.is_empty() && !state.closed {
                state = self.wait_for_change(state);
            }
            if state.closed {
                return;
            }
            let mut sent = std::mem::take(&mut state.to_server);
            drop(state);
            sent.truncate(left);
            left -= sent.len();
            assert_eq!(pipe.send(&sent).unwrap(), Sent::Bytes(sent.len()));
            self.pump(pipe);
            if left == 0 {
                self.close();
                return;
            }
        }
    }

    /// Wakes a driver at the next change, as an edge-triggered reactor does.
    pub(crate) fn wake_at_change(&self, waker: &Waker) {
        self.lock().wakers.push(waker.clone());
    }

    /// Does not wake that driver.
    pub(crate) fn wake_no_longer(&self, waker: &Waker) {
        self.lock().wakers.retain(|known| !known.will_wake(waker));
    }

    /// Passes to the client what the daemon has sent.
    pub(crate) fn pump(&self, pipe: &Pipe) {
        let mut buf = [0; 4096];
        let mut state = self.lock();
        while let Ok(n) = pipe.recv(&mut buf, Wait::No) {
            state.to_client.extend(&buf[..n]);
        }
        drop(state);
        self.notify();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Limits how many bytes one call receives.
    pub(crate) fn set_receive_limit(&self, limit: usize) {
        self.lock().receive_limit = limit;
    }

    fn notify(&self) {
        self.0.changed.notify_all();
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wait_for_change<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.0.changed.wait(state).unwrap()
    }
}

impl Transport for Wire {
    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut state = self.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(self.0.send_limit).min(self.0.capacity - state.to_server.len());
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.to_server.extend_from_slice(&bytes[..n]);
        drop(state);
        self.notify();
        Ok(Sent::Bytes(n))
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let mut state = self.lock();
        loop {
            if !state.to_client.is_empty() {
                let n = buf.len().min(state.to_client.len()).min(state.receive_limit);
                for (to, from) in buf.iter_mut().zip(state.to_client.drain(..n)) {
                    *to = from;
                }
                return Ok(n);
            }
            if state.closed {
                return Ok(0);
            }
            let woken = matches!(wait, Wait::UntilWoken(_)) && std::mem::take(&mut state.woken);
            if wait == Wait::No || woken {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state = self.wait_for_change(state);
        }
    }

    fn wait(&self, interest: Interest, _: Option<Instant>) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            let receive = interest.receive() && !state.to_client.is_empty();
            let send = interest.send() && state.to_server.len() < self.0.capacity;
            if receive || send || state.closed || std::mem::take(&mut state.woken) {
                return Ok(());
            }
            state = self.wait_for_change(state);
        }
    }

    fn wake(&self) {
        self.lock().woken = true;
        self.0.changed.notify_all();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.notify();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.0.fd.as_fd())
    }

    fn describe(&self) -> String {
        "a wire between threads".into()
    }
}
