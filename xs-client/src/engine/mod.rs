//! The engine: which thread sends, which one receives, and which one is woken.
//!
//! Blocked threads, the callback thread, tasks, their driver and an event loop share one
//! connection. Each of them is a *party*. ARCHITECTURE.md follows a request through the engine, and
//! has a glossary.
//!
//! # Model
//! One lock protects the [`State`]: the protocol machine, the calls in flight, the watches, the
//! open transactions and the failure, if there is one. It is never held while a party sends,
//! receives or connects. Beside the tables, the state holds three *roles*:
//!
//! * the *reader* receives for all parties, and dispatches what it has received;
//! * the *writer* sends for all parties;
//! * the *connector* makes a new connection after a failure.
//!
//! A party takes a role under the lock, uses it without the lock, and puts it back under the lock.
//! The reader and the writer are values that own what they need: a transport and a buffer. The
//! state holds each as an `Option`, which is empty while a party has the role. The connector role
//! is only a flag. A role of an earlier connection (an older *generation*) is dropped when it comes
//! back, together with the bytes that it has received.
//!
//! A single thread thus sends and receives for itself, without a hand-over. If there are several
//! threads, one receives for all, and each of the others is woken when its own reply has come.
//!
//! # Waiting
//! A party that waits registers itself, and is woken when its wait may be over.
//!
//! | registers as | waits for | entry |
//! |---|---|---|
//! | *waiter*: a blocked thread or a task | its condition: a reply, an event, room in flight, a connection | a [`Waiter`] in the table of that condition |
//! | *pump*: a party that can receive for all | the reader role, or a writable transport | an entry in [`Pumps`]: a parked thread, the driver of tasks, the event loop |
//! | *timer* | an instant | an entry in [`Timers`], which the [`Alarm`] of a runtime or the task thread watches |
//!
//! # Invariants
//! 1. A party that cannot take the reader role registers as a pump before it sleeps. When the role
//!    is put back, it is *offered*: before the lock is released, the next pump is woken
//!    ([`Pumps::wake_next`]). A pump that was woken and does not take the role offers it again.
//! 2. The lock is released only through [`Guard`], which first selects this pump. Unless the party
//!    holds a role, the guard also sends all pending output first; only its drop leaves gathered
//!    requests of tasks to the driver. (The debug text of a client, which changes nothing, reads
//!    the state without a guard.)
//! 3. A party that holds a role or the lock runs no user code, except that of the role itself: the
//!    methods of the transport, and the caller's function that connects. Calls of wakers, drops of
//!    transports and callbacks, and `tracing` events are [`Deferred`]. They run when the thread
//!    holds neither. Only the clone of a waker, which increments a count, is made under the lock.
//! 4. A thread sleeps on a [`Parker`] that belongs to one wait, so user code cannot consume the
//!    wake-up.
//! 5. Every step of a wait leads back to the check of its condition under the lock
//!    ([`Guard::wait`]).
//! 6. While sending is blocked and there is output, one party waits until the transport is
//!    *writable*. If the reader role is put back meanwhile, that party is interrupted, since it may
//!    have to receive.
//!
//! # Forks
//! After fork(2), a client in the child must neither touch the connection nor wait for a lock.
//! There, [`Guard`] gives access to a new state, which is closed.
//!
//! # Modules
//! `guard` gives access to the state behind the `lock`. `wait` has the loop of blocked threads,
//! `poll` the steps of drivers and event loops, and `connect` the attempts to connect. `state` and
//! `tasks` change the state for requests, and `dispatch` changes it for replies and events. The
//! other modules are tables and values, which do not know the lock.
//!
//! [`State`]: state::State
//! [`Waiter`]: deferred::Waiter
//! [`Pumps`]: roles::Pumps
//! [`Pumps::wake_next`]: roles::Pumps::wake_next
//! [`Timers`]: timers::Timers
//! [`Deferred`]: deferred::Deferred
//! [`Parker`]: parker::Parker

mod alarm;
mod backoff;
mod callback_thread;
mod calls;
mod connect;
mod connector;
#[cfg(test)]
mod counted_wakes;
mod deferred;
mod dispatch;
mod forked;
mod gathers;
mod group;
mod guard;
mod housekeeping;
mod lock;
mod pace;
mod parker;
mod poll;
mod queue;
mod roles;
mod room;
#[cfg(test)]
mod stalled;
mod state;
mod tasks;
mod timers;
mod token;
mod transactions;
mod wait;
mod watch_entry;
mod watches;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use xs_transport::Transport;

pub(crate) use self::alarm::Alarm;
pub(crate) use self::callback_thread::Running;
pub(crate) use self::calls::{CallId, CallResult};
pub(crate) use self::connect::Attempt;
pub(crate) use self::connector::Connector;
pub(crate) use self::deferred::Waiter;
#[cfg(feature = "futures")]
pub(crate) use self::gathers::Gathers;
pub(crate) use self::group::{Callback, Delivery, GroupId};
pub(crate) use self::guard::Guard;
pub(crate) use self::housekeeping::Housekeeping;
pub(crate) use self::pace::Pace;
#[cfg(feature = "futures")]
pub(crate) use self::parker::LazyParker;
#[cfg(any(feature = "futures", feature = "mio"))]
pub(crate) use self::poll::Turn;
pub use self::queue::{EventKind, WatchEvent};
pub(crate) use self::room::RoomTicket;
pub(crate) use self::state::{Refusal, ResetMark, State};
pub(crate) use self::timers::Timer;
pub use self::token::WatchToken;
pub(crate) use self::transactions::Scope;
pub(crate) use self::wait::{Condition, NextEvent};
pub(crate) use self::watch_entry::{Next, WatchOptions};
pub(crate) use self::watches::{DueCallback, Removed};

use self::lock::Lock;

/// A connection, which may be replaced, and the parties that share it.
pub(crate) struct Engine {
    lock: Lock,
    /// The alarm of a driver's runtime.
    alarm: OnceLock<AssertUnwindSafe<Arc<dyn Alarm>>>,
}

impl Engine {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        watch_capacity: usize,
        connector: Option<Connector>,
    ) -> Self {
        let lock = Lock::new(State::new(transport, watch_capacity, connector));
        Engine { lock, alarm: OnceLock::new() }
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        Guard::new(&self.lock)
    }

    /// Sets the alarm of tasks. A client has one driver, so the first one stays.
    #[cfg(feature = "futures")]
    pub(crate) fn set_alarm(&self, alarm: &Arc<dyn Alarm>) {
        if self.alarm.set(AssertUnwindSafe(alarm.clone())).is_ok() {
            self.lock().set_alarm(alarm.clone());
        }
    }

    /// Returns the current instant of the clock of tasks: that of the driver's runtime, or else
    /// that of the system.
    pub(crate) fn task_now(&self) -> Instant {
        self.alarm.get().map_or_else(Instant::now, |alarm| alarm.now())
    }

    /// Converts a deadline of a task to one of a thread.
    pub(crate) fn thread_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        let (at, Some(alarm)) = (deadline?, self.alarm.get()) else { return deadline };
        Instant::now().checked_add(at.saturating_duration_since(alarm.now()))
    }

    /// Closes the connection for good. All waiting parties return.
    pub(crate) fn close(&self) {
        self.lock().close();
    }
}

impl fmt::Debug for Engine {
    /// Shows the transport and the failure. Does not wait for the lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connection");
        if let Some(state) = self.lock.try_access() {
            let (transport, failure) = (state.transport(), state.failure().cloned());
            drop(state);
            shown.field("transport", &transport.describe()).field("failure", &failure);
        }
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::stalled::Stalled;
    use super::*;

    #[test]
    fn debug_text_shows_the_state_unless_the_lock_is_held() {
        let engine = Engine::new(Arc::new(Stalled::default()), 1, None);
        let shown = r#"Connection { transport: "a stalled transport", failure: None, .. }"#;
        assert_eq!(format!("{engine:?}"), shown);
        let _guard = engine.lock();
        assert_eq!(format!("{engine:?}"), "Connection { .. }");
    }
}
