//! The alarm of a client on a runtime, which wakes tasks at their deadlines.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use super::reactor::{Clock, Sleep};
use crate::engine::{Alarm, Engine};

/// One timer of the runtime for the deadlines of all tasks.
///
/// The timer is polled with its own waker, which wakes the tasks whose deadlines have passed.
/// Deadlines are therefore kept even if the program does not poll the driver, and a call needs no
/// timer of its own in the runtime.
pub(super) struct RuntimeAlarm {
    clock: Arc<dyn Clock>,
    engine: Weak<Engine>,
    this: Weak<Self>,
    armed: Mutex<Armed>,
}

#[derive(Default)]
struct Armed {
    at: Option<Instant>,
    /// The timer. `None` if the alarm is not armed, or a thread polls the timer for the first time.
    sleep: Option<Sleep>,
    /// Counts the changes, so that a thread notices if another one has changed the alarm.
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

    /// Sets the instant. Returns the number of this change, or `None` if an earlier instant stays.
    fn change(&self, at: Option<Instant>) -> Option<u64> {
        let mut armed = self.armed();
        if armed.at.is_some_and(|known| at.is_some_and(|at| known <= at)) {
            return None;
        }
        armed.at = at;
        armed.changes += 1;
        let (dropped, changes) = (armed.sleep.take(), armed.changes);
        drop(armed);
        // The drop of a future is code of the runtime, which must not run under the lock.
        drop(dropped);
        Some(changes)
    }

    fn expire(&self) {
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
        let Some(this) = self.this.upgrade() else { return };
        let Some(change) = self.change(Some(at)) else { return };
        let mut sleep = self.clock.sleep_until(at);
        let waker = Waker::from(this);
        if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return self.expire();
        }
        let mut armed = self.armed();
        // The new timer is kept, unless it has already expired or another thread has changed the
        // alarm.
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
        self.expire();
    }
}

impl fmt::Debug for RuntimeAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.armed().at;
        f.debug_struct("RuntimeAlarm").field("clock", &self.clock).field("at", &at).finish()
    }
}
