//! Wake-ups and user code that run after the lock has been released.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use xs_transport::Transport;

use super::alarm::Alarm;
use super::parker::Parker;
use crate::trace::Note;

/// The handle that wakes a waiting party.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    /// A blocked thread.
    Thread(Arc<Parker>),
    /// A thread that is parked or waits in the transport, and whose wake-up ends both.
    Interruptible(Arc<Parker>),
    /// A task, a driver or an event loop.
    Task(Waker),
}

impl Waiter {
    /// Returns whether both wake the same party.
    pub(super) fn wakes_same(&self, other: &Waiter) -> bool {
        match (self, other) {
            (Waiter::Task(one), Waiter::Task(other)) => one.will_wake(other),
            (Waiter::Thread(one), Waiter::Thread(other))
            | (Waiter::Interruptible(one), Waiter::Interruptible(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// The calls that a party makes after it has released the lock.
///
/// Wake-ups of blocked threads run after every release: [`Transport::wake`] and
/// [`Transport::close`] do not block. All other calls are user code: wakers, which may drop a whole
/// task when they are called or dropped; the drop of a transport or a callback; timers of a
/// runtime; `tracing` subscribers. User code may block, panic or call the client again, so it runs
/// only while the thread holds neither the lock nor a role.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    wakeups: Vec<WakeUp>,
    user_code: Vec<Call>,
    /// If an interruptible thread waits in the transport, it has to check its condition again.
    pub(super) interrupt_waiter: bool,
    /// The party that waits in the transport has to check its condition again. [`Transport::wake`]
    /// ends its wait.
    pub(super) interrupt: bool,
}

/// Deferred calls whose time has come: the lock is about to be released.
#[derive(Debug)]
pub(super) struct Due {
    wakeups: Vec<WakeUp>,
    user_code: Vec<Call>,
}

/// A wake-up of threads that are parked or wait in the transport.
#[derive(Debug)]
enum WakeUp {
    Unpark(Arc<Parker>),
    Close(Arc<dyn Transport>),
    Interrupt(Arc<dyn Transport>),
}

/// A call of user code.
#[derive(Debug)]
enum Call {
    Wake(Waker),
    Drop(Box<dyn Any + Send>),
    /// Arms an alarm, or disarms it.
    Arm(Arc<dyn Alarm>, Option<Instant>),
    Trace(Note),
}

impl Deferred {
    /// Wakes a waiter once the lock is released.
    pub(crate) fn wake(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Thread(parker) => self.wakeups.push(WakeUp::Unpark(parker)),
            Waiter::Interruptible(parker) => {
                self.wakeups.push(WakeUp::Unpark(parker));
                self.interrupt_waiter = true;
            }
            Waiter::Task(waker) => self.user_code.push(Call::Wake(waker)),
        }
    }

    /// Wakes a driver or an event loop before any other user code runs, because that code may block
    /// until the driver has sent something.
    pub(crate) fn wake_first(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Task(waker) => self.user_code.insert(0, Call::Wake(waker)),
            waiter => self.wake(waiter),
        }
    }

    pub(crate) fn wake_all(&mut self, waiters: impl IntoIterator<Item = Waiter>) {
        waiters.into_iter().for_each(|waiter| self.wake(waiter));
    }

    /// Drops a waiter that no longer waits. The drop of a waker is user code.
    pub(crate) fn release(&mut self, waiter: Option<Waiter>) {
        if let Some(Waiter::Task(waker)) = waiter {
            self.drop_later(waker);
        }
    }

    /// Puts a waiter into a slot, unless the slot holds one that wakes the same party.
    pub(crate) fn register(&mut self, slot: &mut Option<Waiter>, waiter: &Waiter) {
        if !slot.as_ref().is_some_and(|known| known.wakes_same(waiter)) {
            self.release(slot.replace(waiter.clone()));
        }
    }

    /// Appends a waiter to a list, unless the list holds one that wakes the same party.
    pub(crate) fn register_in(&mut self, list: &mut Vec<Waiter>, waiter: &Waiter) {
        if !list.iter().any(|known| known.wakes_same(waiter)) {
            list.push(waiter.clone());
        }
    }

    /// Drops a value whose drop is user code, such as a transport or a callback.
    pub(crate) fn drop_later(&mut self, value: impl Send + 'static) {
        self.user_code.push(Call::Drop(Box::new(value)));
    }

    /// Closes a transport, which ends the waits in it.
    pub(crate) fn close(&mut self, transport: Arc<dyn Transport>) {
        self.wakeups.push(WakeUp::Close(transport));
    }

    /// Ends the wait of the party that waits in this transport.
    pub(super) fn wake_transport(&mut self, transport: Arc<dyn Transport>) {
        self.wakeups.push(WakeUp::Interrupt(transport));
    }

    /// Arms an alarm, or disarms it.
    pub(crate) fn arm(&mut self, alarm: &Arc<dyn Alarm>, at: Option<Instant>) {
        self.user_code.push(Call::Arm(alarm.clone(), at));
    }

    pub(crate) fn trace(&mut self, note: Option<Note>) {
        self.user_code.extend(note.map(Call::Trace));
    }

    /// Returns whether there is user code to run, such as the waker of a task.
    pub(crate) fn has_user_code(&self) -> bool {
        !self.user_code.is_empty()
    }

    /// Takes the calls to make once the lock is released, if there are any. User code is among them
    /// if `runs_user_code` is set.
    pub(super) fn take(&mut self, runs_user_code: bool) -> Option<Due> {
        if self.wakeups.is_empty() && self.user_code.is_empty() {
            return None;
        }
        let user_code = match runs_user_code {
            true => std::mem::take(&mut self.user_code),
            false => Vec::new(),
        };
        Some(Due { wakeups: std::mem::take(&mut self.wakeups), user_code })
    }
}

impl Due {
    pub(super) fn run(self) {
        for wakeup in self.wakeups {
            match wakeup {
                WakeUp::Unpark(parker) => parker.unpark(),
                // The drop of the transport may panic, too.
                WakeUp::Close(transport) => without_panic(move || transport.close()),
                WakeUp::Interrupt(transport) => without_panic(move || transport.wake()),
            }
        }
        for call in self.user_code {
            without_panic(|| match call {
                Call::Wake(waker) => waker.wake(),
                Call::Drop(value) => drop(value),
                Call::Arm(alarm, Some(at)) => alarm.arm(at),
                Call::Arm(alarm, None) => alarm.disarm(),
                Call::Trace(note) => note.emit(),
            });
        }
    }
}

/// Runs user code and catches a panic, so that the following calls still run. The panic hook has
/// reported the panic.
fn without_panic(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}
