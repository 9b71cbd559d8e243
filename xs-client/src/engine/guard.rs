//! The guard: access to the state while the lock is held. Each release of the lock sends and wakes.

use std::ops::{Deref, DerefMut};

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
        self.while_unlocked(true, f)
    }

    /// Runs `f` without the lock, while the caller holds a role or waits in the transport. `f` must
    /// not panic, because the role would be lost.
    pub(super) fn with_role<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.while_unlocked(false, f)
    }

    /// Runs the deferred user code, without the lock. Returns false if there is none.
    pub(crate) fn run_user_code(&mut self) -> bool {
        let is_due = self.deferred.has_user_code();
        if is_due {
            self.unlocked(|| ());
        }
        is_due
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

    /// Releases the lock, and makes the deferred calls, with user code if `runs_user_code` is set.
    /// Selects the pumps to wake and the party to interrupt before that.
    fn unlock(&mut self, runs_user_code: bool) {
        let needs_writable_wait = self.roles.needs_writable_wait() && self.has_output();
        let State { roles, pumps, deferred, transport, .. } = &mut **self;
        // A party that waits for a writable transport was interrupted when the role was put back.
        // It takes the role, or offers it again when it stops waiting.
        let may_offer = roles.reader.is_some() && !roles.awaiting_writable;
        if roles.offered && may_offer {
            roles.offered = false;
            pumps.wake_next(deferred);
        }
        if needs_writable_wait && roles.interruptible {
            // When the reader returns to its wait, it also waits for a writable transport.
            deferred.interrupt = true;
        } else if needs_writable_wait {
            pumps.wake_for_writable(deferred);
        }
        let interrupt_waiter = std::mem::take(&mut deferred.interrupt_waiter);
        let interrupt = std::mem::take(&mut deferred.interrupt);
        let may_wait = roles.interruptible || roles.awaiting_writable;
        if interrupt || interrupt_waiter && may_wait {
            deferred.wake_transport(transport.clone());
        }
        // User code that the pumps have added runs with the rest.
        let due = deferred.take(runs_user_code);
        self.state = None;
        if let Some(due) = due {
            due.run();
        }
    }

    /// Runs `f` between [`unlock`](Self::unlock) and the next access to the state.
    fn while_unlocked<T>(&mut self, runs_user_code: bool, f: impl FnOnce() -> T) -> T {
        self.unlock(runs_user_code);
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
            self.unlock(true);
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
    use std::sync::Arc;

    use xs_proto::{DomId, Request};
    use xs_transport::mock::Xenstored;

    use super::super::Engine;
    use super::super::deferred::Waiter;
    use super::super::stalled::Stalled;
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

    #[test]
    fn wake_ups_interrupt_threads_in_each_wait_of_the_transport() {
        let transport = Arc::new(Stalled::default());
        let engine = Engine::new(transport.clone(), 1, None);
        let wakes = |interruptible, awaiting_writable| {
            let mut guard = engine.lock();
            guard.roles.interruptible = interruptible;
            guard.roles.awaiting_writable = awaiting_writable;
            guard.deferred.wake(Waiter::Interruptible(Arc::default()));
            drop(guard);
            transport.take_wakes()
        };
        assert_eq!(wakes(false, false), 0);
        assert_eq!(wakes(true, false), 1);
        assert_eq!(wakes(false, true), 1);
    }
}
