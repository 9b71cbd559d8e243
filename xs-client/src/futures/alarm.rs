//! The alarm of a client on a runtime.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use super::reactor::{Clock, Sleep};
use crate::engine::{Alarm, Engine};

/// One timer of the runtime for the deadlines of all tasks.
///
/// It is polled with a waker of its own, which wakes the tasks that are due. Deadlines thus pass
/// even if the program does not poll the driver, and calls need no timer each.
pub(super) struct RuntimeAlarm {
    clock: Arc<dyn Clock>,
    engine: Weak<Engine>,
    this: Weak<Self>,
    armed: Mutex<Armed>,
}

#[derive(Default)]
struct Armed {
    at: Option<Instant>,
    /// `None` while a thread polls the future for the first time.
    sleep: Option<Sleep>,
    /// Counts the changes.
    changes: u64,
}

impl RuntimeAlarm {
    pub(super) fn new(clock: Arc<dyn Clock>, engine: &Arc<Engine>) -> Arc<Self> {
        let engine = Arc::downgrade(engine);
        Arc::new_cyclic(|this| RuntimeAlarm {
            clock,
            engine,
            this: this.clone(),
            armed: Mutex::default(),
        })
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the instant. Returns the number of this change.
    fn change(&self, at: Option<Instant>) -> u64 {
        let mut armed = self.armed();
        armed.at = at;
        armed.changes += 1;
        let (dropped, changes) = (armed.sleep.take(), armed.changes);
        drop(armed);
        // The drop of a future is code of the runtime.
        drop(dropped);
        changes
    }

    fn ring(&self) {
        self.change(None);
        if let Some(engine) = self.engine.upgrade() {
            let now = self.clock.now();
            engine.lock().on_alarm(now);
        }
    }
}

impl Alarm for RuntimeAlarm {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn arm(&self, at: Instant) {
        if self.armed().at.is_some_and(|known| known <= at) {
            return;
        }
        let Some(this) = self.this.upgrade() else { return };
        let change = self.change(Some(at));
        let mut sleep = self.clock.sleep_until(at);
        let waker = Waker::from(this);
        if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return self.ring();
        }
        let mut armed = self.armed();
        // Unless the timer has already ended, or another thread has set another one.
        let sleep = match armed.changes == change {
            true => armed.sleep.replace(sleep),
            false => Some(sleep),
        };
        drop(armed);
        drop(sleep);
    }

    fn disarm(&self) {
        self.change(None);
    }
}

impl Wake for RuntimeAlarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

impl fmt::Debug for RuntimeAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.armed().at;
        f.debug_struct("RuntimeAlarm").field("clock", &self.clock).field("at", &at).finish()
    }
}
