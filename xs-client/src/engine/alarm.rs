//! The interface to the alarm, which watches the deadlines of tasks.

use std::fmt::Debug;
use std::time::Instant;

/// Watches the deadlines of all tasks of a client, by the clock of a runtime. All methods are user
/// code.
pub(crate) trait Alarm: Debug + Send + Sync {
    fn now(&self) -> Instant;

    /// Arms the alarm, which then calls [`State::on_alarm`](super::state::State::on_alarm) at `at`. If
    /// it is already armed for an earlier instant, it keeps that instant. In both cases it calls once,
    /// and has to be armed again for a later instant.
    fn arm(&self, at: Instant);

    /// Cancels the instant for which the alarm is armed.
    fn disarm(&self);
}
