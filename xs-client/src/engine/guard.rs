//! The guard: access to the state while the lock is held. Each release of the lock sends and wakes.

use std::ops::{Deref, DerefMut};

use super::deferred::{UserCode, WakeUps};
use super::lock::{Access, Lock};
use super::state::State;

/// Access to the state while the lock is held.
///
/// The lock is released when the guard is dropped, and during [`unlocked`](Self::unlocked) and
/// [`with_role`](Self::with_role). Before each release, the guard selects the pump that has to take
/// a free role. After the release, it runs the wake-ups, so no party can forget them.
///
/// A drop and `unlocked` also send all pending output and run the deferred user code. (A drop
/// leaves gathered requests to the driver.) `with_role` does neither: its callers send before they
/// receive, and no user code may run while the thread holds a role.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    lock: &'a Lock,
    /// `None` while the lock is released.
    state: Option<Access<'a>>,
}

/// The number of sends after which a thread hands the rest over to a parked thread.
const MOST_SENDS: u32 = 16;

impl<'a> Guard<'a> {
    pub(super) fn new(lock: &'a Lock) -> Self {
        Guard { lock, state: Some(lock.access()) }
    }

    /// Sends all pending output, and runs the deferred user code and `f` without the lock. The
    /// caller holds no role.
    ///
    /// The output is sent first, because the user code and `f` may block until another party has
    /// its reply.
    pub(crate) fn unlocked<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.flush();
        self.release(true, f)
    }

    /// Runs `f` without the lock, while the caller holds a role or waits in the transport.
    pub(super) fn with_role<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.release(false, f)
    }

    /// Runs the deferred user code, without the lock. Returns false if there is none.
    #[inline]
    pub(crate) fn run_user_code(&mut self) -> bool {
        let is_due = self.has_user_code();
        if is_due {
            self.unlocked(|| ());
        }
        is_due
    }

    /// Returns whether there is deferred user code, such as the waker of a task.
    pub(crate) fn has_user_code(&self) -> bool {
        !self.deferred.user_code.is_empty()
    }

    /// Sends all pending output, or as much as the transport accepts. If another party holds the
    /// writer role, that party sends everything.
    ///
    /// If other parties keep adding output, wakes a parked thread, which sends the rest.
    pub(super) fn flush(&mut self) {
        for _ in 0..MOST_SENDS {
            if !self.send_once() {
                return;
            }
        }
        // If no thread is parked, this thread continues.
        while !self.wake_parked() && self.send_once() {}
    }

    /// Sends once. Returns false if there is nothing to send, the transport accepts no more, or
    /// another party sends.
    #[inline]
    pub(super) fn send_once(&mut self) -> bool {
        let Some(mut writer) = self.take_writer() else {
            return false;
        };
        let receives = self.receives;
        let sent =
            self.with_role(|| xs_transport::send_once(&*writer.transport, &mut writer.output));
        self.put_back_writer(writer, sent, receives);
        true
    }

    /// Returns the wake-ups to run once the lock is released, including that of the next pump.
    #[inline]
    fn prepare_release(&mut self) -> WakeUps {
        let needs_writable_wait = self.roles.needs_writable_wait() && self.has_output();
        let state = &mut **self;
        let deferred = &mut state.deferred;
        // A party that waits for a writable transport was interrupted when the role was put back.
        // It takes the role, or offers it again when it stops waiting.
        let may_offer = state.roles.reader.is_some() && !state.roles.awaiting_writable;
        if state.roles.offered && may_offer {
            state.roles.offered = false;
            state.pumps.wake_next(deferred);
        }
        if needs_writable_wait && state.roles.interruptible {
            // When the reader returns to its wait, it also waits for a writable transport.
            deferred.interrupt = true;
        } else if needs_writable_wait {
            state.pumps.wake_for_writable(deferred);
        }
        let interrupt_waiter = std::mem::take(&mut deferred.interrupt_waiter);
        let interrupt = std::mem::take(&mut deferred.interrupt);
        let mut wakeups = std::mem::take(&mut deferred.wakeups);
        let may_wait = state.roles.interruptible || state.roles.awaiting_writable;
        if interrupt || interrupt_waiter && may_wait {
            wakeups.interrupt(state.transport.clone());
        }
        wakeups
    }

    /// Runs the wake-ups, the deferred user code if `runs_user_code` is set, and `f` without the
    /// lock. If `f` panics, the role of the caller is lost, so `f` must not panic.
    fn release<T>(&mut self, runs_user_code: bool, f: impl FnOnce() -> T) -> T {
        let wakeups = self.prepare_release();
        let user_code = match runs_user_code {
            // The preparation may have added the wake-up of a driver.
            true => std::mem::take(&mut self.deferred.user_code),
            false => UserCode::default(),
        };
        self.state = None;
        wakeups.run();
        user_code.run();
        let result = f();
        // The user code that has just run may have forked.
        self.state = Some(self.lock.access());
        result
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.state.is_some() {
            // Gathered requests are left to the driver.
            if !self.gathered {
                self.flush();
            }
            let wakeups = self.prepare_release();
            let user_code = std::mem::take(&mut self.deferred.user_code);
            self.state = None;
            wakeups.run();
            user_code.run();
        }
    }
}

impl Deref for Guard<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        self.state.as_deref().expect("the lock is held between calls")
    }
}

impl DerefMut for Guard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_deref_mut().expect("the lock is held between calls")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use xs_proto::{DomId, Request};
    use xs_transport::mock::Xenstored;
    use xs_transport::{Descriptor, Interest, Sent, Transport, Wait};

    use super::super::Engine;
    use super::super::deferred::Waiter;
    use super::super::transactions::Scope;

    #[test]
    fn output_is_sent_before_other_code_runs_without_the_lock() {
        let pipe = Xenstored::new().connect(DomId::DOM0);
        let engine = Engine::new(Arc::new(pipe), 1, None);
        let mut guard = engine.lock();
        let request = Request::GetDomainPath(DomId::DOM0);
        guard.submit(Scope::NONE, &request).unwrap();
        // As if a driver were to send it.
        guard.gathered = true;
        assert!(guard.has_output());
        assert!(!guard.unlocked(|| engine.lock().has_output()));
    }

    /// A transport that counts the calls of `wake`.
    #[derive(Debug, Default)]
    struct CountWakes(AtomicUsize);

    impl Transport for CountWakes {
        fn send(&self, _: &[u8]) -> io::Result<Sent> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn recv(&self, _: &mut [u8], _: Wait) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
            Ok(())
        }

        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn close(&self) {}

        fn fd(&self) -> io::Result<Descriptor<'_>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn describe(&self) -> String {
            "a count of wakes".into()
        }
    }

    #[test]
    fn wake_ups_interrupt_threads_in_each_wait_of_the_transport() {
        let transport = Arc::new(CountWakes::default());
        let engine = Engine::new(transport.clone(), 1, None);
        let wakes = |interruptible, awaiting_writable| {
            let mut guard = engine.lock();
            guard.roles.interruptible = interruptible;
            guard.roles.awaiting_writable = awaiting_writable;
            guard.deferred.wake(Waiter::Interruptible(Arc::default()));
            drop(guard);
            transport.0.swap(0, Ordering::Relaxed)
        };
        assert_eq!(wakes(false, false), 0);
        assert_eq!(wakes(true, false), 1);
        assert_eq!(wakes(false, true), 1);
    }
}
