//! The parts of the state that serve tasks: gathered sends, and timers.

#[cfg(feature = "futures")]
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

#[cfg(feature = "futures")]
use super::alarm::Alarm;
use super::deferred::Waiter;
use super::gathers::Gathers;
use super::state::State;
use super::timers::Timer;

impl State {
    /// Leaves the request that a task has just submitted to the driver, which sends it together
    /// with the requests of other tasks. Returns false if the driver does not gather this request,
    /// so that the guard of the task sends it.
    pub(crate) fn gather(&mut self) -> bool {
        let gather = match self.gathers {
            Gathers::None => false,
            Gathers::Further => self.connection.pending() > 1,
            Gathers::All => true,
        };
        if gather {
            self.gathered = true;
            self.wake_pollers();
        }
        gather
    }

    /// Returns ready if the timer has fired. Otherwise registers the task, which the timer wakes at
    /// `at`. The first call sets the timer.
    pub(crate) fn poll_timer(
        &mut self,
        timer: &mut Option<Timer>,
        at: Instant,
        waiter: &Waiter,
    ) -> Poll<()> {
        if let Some(timer) = *timer {
            return match self.timers.update(timer, waiter, &mut self.deferred) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            };
        }
        let (added, must_tell) = self.timers.add(at, waiter.clone());
        *timer = Some(added);
        match &self.alarm {
            Some(alarm) if must_tell => {
                self.timers.look_at(at);
                self.deferred.arm(alarm, Some(at));
            }
            None if must_tell => self.wake_pollers(),
            _ => {}
        }
        Poll::Pending
    }

    pub(crate) fn stop_timer(&mut self, timer: &mut Option<Timer>) {
        if let Some(timer) = timer.take() {
            self.timers.remove(timer, &mut self.deferred);
        }
    }

    /// Sets the alarm that watches the timers from now on.
    #[cfg(feature = "futures")]
    pub(crate) fn set_alarm(&mut self, alarm: Arc<dyn Alarm>) {
        self.alarm = Some(alarm);
    }

    /// Handles the expiry of the alarm: wakes the tasks whose timers have expired, and arms the
    /// alarm again.
    #[cfg(feature = "futures")]
    pub(crate) fn on_alarm(&mut self, now: Instant) {
        let next = self.expire_timers(now);
        if let (Some(alarm), Some(at)) = (&self.alarm, next.filter(|_| !self.is_closed())) {
            self.deferred.arm(alarm, Some(at));
        }
    }

    /// Returns whether the driver has been polled since `driver_polls` was `polls`. True if no
    /// program polls a driver.
    pub(crate) fn is_driven_since(&self, polls: u64) -> bool {
        self.alarm.is_none() || self.driver_polls != polls
    }

    /// Wakes the tasks whose timers have expired. Returns when to call this again, if ever.
    #[cfg(feature = "futures")]
    pub(crate) fn expire_timers(&mut self, now: Instant) -> Option<Instant> {
        self.timers.expire(now, &mut self.deferred)
    }
}
