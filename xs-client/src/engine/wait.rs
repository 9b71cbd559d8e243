//! The loop of a blocked thread, which sends, receives, connects and sleeps, and the conditions
//! that it waits for.

use std::time::Instant;

use xs_proto::Request;
use xs_transport::{Interest, Wait};

use super::callback_thread::CallbackThread;
use super::calls::{CallId, CallResult};
use super::deferred::Waiter;
use super::group::GroupId;
use super::guard::Guard;
use super::pace::Pace;
use super::parker::LazyParker;
use super::room::RoomTicket;
use super::state::{Refusal, State};
use super::transactions::Scope;
use super::watch_entry::Next;
use crate::error::ErrorKind;

/// A condition that a blocked thread waits for, while it sends, receives and connects for all
/// parties.
pub(crate) trait Condition {
    type Output;

    /// Whether the thread is a background thread, which the client has started.
    const IS_BACKGROUND: bool = false;

    /// Whether the thread waits for room in flight.
    const NEEDS_ROOM: bool = false;

    /// Returns the output as soon as the condition holds.
    fn check(&mut self, state: &mut State) -> Option<Self::Output>;

    /// Registers `waiter`, which is woken when the condition may hold.
    fn register(&mut self, state: &mut State, waiter: &Waiter);

    /// Returns whether the condition may hold without a message from the daemon. A wake-up then also
    /// interrupts the thread while it waits in the transport.
    fn is_interruptible(&self, _: &State) -> bool {
        Self::IS_BACKGROUND
    }

    /// Cleans up after the deadline has passed.
    fn cancel(&mut self, _: &mut State) {}

    /// Returns until when the thread leaves the reader role to other parties, or `None` if it may
    /// receive now. Called before each receive.
    fn hold_off(&mut self, _: &mut State) -> Option<Instant> {
        None
    }

    /// Returns the deadline of an attempt to connect, given the deadline of the wait.
    fn connect_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline
    }

    /// Prepares a turn of the loop, and returns when the next turn has to begin at the latest.
    fn begin_turn(&mut self, _: &mut State, _: &LazyParker) -> Option<Instant> {
        None
    }
}

impl Guard<'_> {
    /// Submits a request as soon as there is room in flight, and a connection.
    pub(crate) fn wait_to_submit(
        &mut self,
        deadline: Option<Instant>,
        scope: Scope,
        request: &Request<'_>,
    ) -> Result<CallId, ErrorKind> {
        let submitted = self.wait(deadline, Submit { scope, request });
        submitted.unwrap_or_else(|| Err(self.not_submitted()))
    }

    /// Waits for the result of a call. If the deadline passes first, cancels the call.
    pub(crate) fn wait_for_result(
        &mut self,
        deadline: Option<Instant>,
        call: CallId,
    ) -> Option<CallResult> {
        self.wait(deadline, call)
    }

    /// Waits until a condition holds, and returns `None` if the deadline passes first. Without a
    /// deadline, waits indefinitely.
    ///
    /// Each step that releases the lock leads back to the top of the loop. The condition is
    /// therefore always checked under the lock that protects the decision to sleep, and nothing
    /// that happens in between is missed.
    pub(crate) fn wait<C: Condition>(
        &mut self,
        deadline: Option<Instant>,
        mut condition: C,
    ) -> Option<C::Output> {
        let mut sleeper = Sleeper::default();
        // The clock is read only after a step that may have taken long.
        let (mut check_clock, mut has_sent) = (false, false);
        self.waits += u64::from(!C::IS_BACKGROUND);
        let output = loop {
            let until = earlier(deadline, condition.begin_turn(self, &sleeper.parker));
            if self.run_user_code() {
                continue;
            }
            if let Some(output) = condition.check(self) {
                break Some(output);
            }
            if check_clock && deadline.is_some_and(|at| at <= Instant::now()) {
                condition.cancel(self);
                break None;
            }
            check_clock = true;
            if self.failure().is_some() {
                // The connector may panic, and this thread then waits no longer.
                sleeper.leave_room(self);
                let limit = condition.connect_deadline(deadline);
                if let Some(until) = self.connect_step(Instant::now(), until, limit) {
                    self.sleep(&mut sleeper, &mut condition, until);
                }
            } else if self.send_once() {
                // One send does not take long. Several sends in a row may, if other parties keep
                // adding output.
                check_clock = std::mem::replace(&mut has_sent, true);
            } else if let Some(pause) = condition.hold_off(self) {
                self.sleep(&mut sleeper, &mut condition, earlier(Some(pause), until));
            } else if !self.receive_step(&sleeper.parker, &mut condition, until)
                && !self.writable_step(&sleeper.parker, &mut condition, until)
            {
                self.park(&mut sleeper, &mut condition, until);
            }
        };
        // From here on, the guard sends all pending output itself, including requests that tasks
        // have left to the driver. User code that runs at the release may block until they are
        // answered, and the driver may be a task of this very thread.
        self.gathered = false;
        sleeper.leave_room(self);
        output
    }

    /// Sleeps until `check` returns an output. `check` is called when the state of the callback
    /// thread has changed.
    pub(crate) fn wait_for_callback_thread<T>(
        &mut self,
        mut check: impl FnMut(&mut CallbackThread) -> Option<T>,
    ) -> T {
        let parker = LazyParker::default();
        loop {
            if self.run_user_code() {
                continue;
            }
            if let Some(output) = check(&mut self.callback_thread) {
                // As after `wait`, the guard sends all pending output itself.
                self.gathered = false;
                return output;
            }
            self.register_for_callback_thread(&Waiter::Thread(parker.arc()));
            self.unlocked(|| parker.arc().park(None));
        }
    }

    /// Receives, and if sending is blocked, also waits for a writable transport. Returns false if
    /// another party receives, or is about to.
    fn receive_step<C: Condition>(
        &mut self,
        parker: &LazyParker,
        condition: &mut C,
        until: Option<Instant>,
    ) -> bool {
        // The party that waits for a writable transport receives next.
        if self.roles.awaiting_writable {
            return false;
        }
        let is_interruptible = condition.is_interruptible(self);
        let Some(mut reader) = self.take_reader(is_interruptible) else {
            return false;
        };
        let mut wait = Wait::Until(until);
        if is_interruptible {
            condition.register(self, &Waiter::Interruptible(parker.arc()));
            wait = Wait::UntilWoken(until);
        }
        let send_blocked = self.roles.send_blocked;
        self.roles.awaiting_writable = send_blocked;
        let received = self.with_role(|| reader.receive(wait, send_blocked));
        // Without `send_blocked`, this party did not wait for a writable transport, and the flags
        // may belong to another party that does.
        if send_blocked && reader.generation == self.generation {
            self.roles.awaiting_writable = false;
            self.roles.send_blocked = false;
        }
        self.put_back_reader(reader, received);
        true
    }

    /// Waits for a writable transport, while another party receives. Returns false if sending is
    /// not blocked, if there is nothing to send, or if another party does this.
    fn writable_step<C: Condition>(
        &mut self,
        parker: &LazyParker,
        condition: &mut C,
        until: Option<Instant>,
    ) -> bool {
        // `Transport::wake` ends only one wait. An interruptible reader must therefore be the only
        // party that waits in the transport, and itself waits for a writable transport as well.
        if !self.roles.needs_writable_wait() || !self.has_output() || self.roles.interruptible {
            return false;
        }
        if condition.is_interruptible(self) {
            condition.register(self, &Waiter::Interruptible(parker.arc()));
        }
        self.roles.awaiting_writable = true;
        let (transport, generation) = (self.transport(), self.generation);
        let waited = self.with_role(|| xs_transport::wait_once(&*transport, Interest::Send, until));
        if generation == self.generation {
            self.roles.awaiting_writable = false;
            self.roles.send_blocked = false;
            waited.err().into_iter().for_each(|failure| self.fail(failure));
        } else {
            self.deferred.drop_later(waited);
        }
        self.deferred.drop_later(transport);
        true
    }

    /// Sleeps as a pump: until the condition may hold, or the reader role is offered.
    fn park<C: Condition>(
        &mut self,
        sleeper: &mut Sleeper,
        condition: &mut C,
        until: Option<Instant>,
    ) {
        let ticket = self.pumps.park(sleeper.parker.arc());
        self.sleep(sleeper, condition, until);
        if !self.pumps.unpark(ticket) {
            // This thread was woken as a pump. If it does not take the role, the guard wakes the
            // next one.
            self.roles.offered = true;
        }
    }

    /// Sleeps until the condition may hold, or until an instant.
    fn sleep<C: Condition>(
        &mut self,
        sleeper: &mut Sleeper,
        condition: &mut C,
        until: Option<Instant>,
    ) {
        let parker = sleeper.parker.arc();
        let waiter = match condition.is_interruptible(self) {
            true => Waiter::Interruptible(parker.clone()),
            false => Waiter::Thread(parker.clone()),
        };
        condition.register(self, &waiter);
        if C::NEEDS_ROOM || self.failure().is_some() {
            self.register_for_room(&mut sleeper.room, &waiter);
        }
        // The drop of a waker that this waiter has replaced may block. It runs in the next turn of the
        // loop, when this thread is no longer a pump.
        if !self.deferred.has_user_code() {
            self.unlocked(|| parker.park(until));
        }
        if !C::NEEDS_ROOM {
            sleeper.leave_room(self);
        }
    }
}

/// The state of a thread that sleeps during one wait.
#[derive(Default)]
struct Sleeper {
    /// Created when the thread sleeps for the first time. A lone thread rarely does.
    parker: LazyParker,
    /// Set when the thread sleeps until there is room in flight or a connection.
    room: Option<RoomTicket>,
}

impl Sleeper {
    fn leave_room(&mut self, state: &mut State) {
        self.room.take().into_iter().for_each(|ticket| state.leave_room(ticket));
    }
}

/// Submits a request as soon as there is room in flight, and a connection.
struct Submit<'a> {
    scope: Scope,
    request: &'a Request<'a>,
}

impl Condition for Submit<'_> {
    type Output = Result<CallId, ErrorKind>;

    const NEEDS_ROOM: bool = true;

    fn check(&mut self, state: &mut State) -> Option<Self::Output> {
        match state.submit(self.scope, self.request) {
            Err(Refusal::Full) => None,
            Err(Refusal::Failed(_)) if !state.is_lost() => None,
            result => Some(result.map_err(|refusal| state.explain(refusal))),
        }
    }

    fn register(&mut self, _: &mut State, _: &Waiter) {}
}

/// Waits for the result of a call. If the deadline passes first, cancels the call.
impl Condition for CallId {
    type Output = CallResult;

    fn check(&mut self, state: &mut State) -> Option<CallResult> {
        state.take_result(*self)
    }

    fn register(&mut self, state: &mut State, waiter: &Waiter) {
        state.register_for_result(*self, waiter);
    }

    fn cancel(&mut self, state: &mut State) {
        state.cancel(*self);
    }
}

/// Waits for the next event of a group of watches, on this connection or a new one.
pub(crate) struct NextEvent<'a> {
    group: GroupId,
    /// `None` once this wait was counted, since the thread may be woken several times in it.
    pace: Option<&'a mut Pace>,
}

impl<'a> NextEvent<'a> {
    pub(crate) fn new(group: GroupId, pace: &'a mut Pace) -> Self {
        NextEvent { group, pace: Some(pace) }
    }
}

impl Condition for NextEvent<'_> {
    type Output = Next;

    fn check(&mut self, state: &mut State) -> Option<Next> {
        let next = state.take_next(self.group)?;
        (!matches!(next, Next::Failed(_)) || state.is_lost()).then_some(next)
    }

    fn register(&mut self, state: &mut State, waiter: &Waiter) {
        state.watches.register(self.group, waiter, &mut state.deferred);
    }

    /// A set may be closed while it has no watches, and so without a request.
    fn is_interruptible(&self, state: &State) -> bool {
        state.watches.is_set(self.group)
    }

    fn hold_off(&mut self, _: &mut State) -> Option<Instant> {
        self.pace.take()?.pause(Instant::now())
    }
}

/// Returns the earlier of two instants, where `None` stands for never.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use xs_proto::{DomId, Limits};

    use super::super::Engine;
    use super::super::roles::Roles;
    use super::super::stalled::Stalled;
    use super::*;

    fn submit(guard: &mut Guard<'_>) -> CallId {
        guard.submit(Scope::NONE, &Request::GetDomainPath(DomId::DOM0)).unwrap()
    }

    #[test]
    fn parties_do_not_receive_while_one_waits_for_a_writable_transport() {
        let engine = Engine::new(Arc::new(Stalled::default()), 1, None);
        let mut guard = engine.lock();
        let (parker, mut call) = (LazyParker::default(), submit(&mut guard));
        guard.roles.awaiting_writable = true;
        assert!(!guard.receive_step(&parker, &mut call, None));
        guard.roles.awaiting_writable = false;
        assert!(guard.receive_step(&parker, &mut call, None));
    }

    #[test]
    fn blocked_output_needs_exactly_one_wait_for_a_writable_transport() {
        let engine = Engine::new(Arc::new(Stalled::default()), 1, None);
        let mut guard = engine.lock();
        let mut call = submit(&mut guard);
        let mut waits = |change: fn(&mut Roles)| {
            let roles = &mut guard.roles;
            (roles.send_blocked, roles.awaiting_writable, roles.interruptible) =
                (true, false, false);
            change(roles);
            guard.writable_step(&LazyParker::default(), &mut call, None)
        };
        assert!(waits(|_| ()));
        assert!(!waits(|roles| roles.send_blocked = false));
        // Another party waits already.
        assert!(!waits(|roles| roles.awaiting_writable = true));
        // The reader waits for a writable transport as well.
        assert!(!waits(|roles| roles.interruptible = true));
        // Another party sends.
        assert!(!waits(|roles| roles.writer = None));
    }

    #[test]
    fn late_end_of_a_wait_does_not_touch_the_next_connection() {
        let transport = Arc::new(Stalled::default());
        let engine = Arc::new(Engine::new(transport.clone(), 1, None));
        let others = engine.clone();
        transport.on_wait(move || {
            let mut guard = others.lock();
            guard.install(Arc::new(Stalled::default()), Limits::default());
            guard.roles.awaiting_writable = true;
            Err(io::ErrorKind::ConnectionReset.into())
        });
        let old = Arc::downgrade(&transport);
        drop(transport);
        let mut guard = engine.lock();
        let mut call = submit(&mut guard);
        guard.roles.send_blocked = true;
        assert!(guard.writable_step(&LazyParker::default(), &mut call, None));
        assert!(guard.failure().is_none());
        assert!(guard.roles.awaiting_writable);
        // The drop of a transport is user code, which does not run under the lock.
        assert!(old.upgrade().is_some());
        drop(guard);
        assert!(old.upgrade().is_none());
    }
}
