//! The interface to the alarm, which wakes tasks at their deadlines.

use std::fmt::Debug;
use std::time::Instant;

/// One timer of a runtime, for the deadlines of all tasks of a client. All methods are user code.
pub(crate) trait Alarm: Debug + Send + Sync {
    fn now(&self) -> Instant;

    /// Arms the alarm, which then calls [`State::on_alarm`](super::state::State::on_alarm) once, at
    /// `at`. If it is already armed for an earlier instant, it keeps that instant.
    fn arm(&self, at: Instant);

    /// Cancels the instant for which the alarm is armed.
    fn disarm(&self);
}
