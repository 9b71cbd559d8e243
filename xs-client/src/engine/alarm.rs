//! The interface to the alarm, which watches the deadlines of tasks.

use std::fmt::Debug;
use std::time::Instant;

/// Watches the deadlines of all tasks of a client, by the clock of a runtime. All methods are user
/// code.
pub(crate) trait Alarm: Debug + Send + Sync {
    fn now(&self) -> Instant;

    /// Calls [`State::on_alarm`](super::state::State::on_alarm) at `at` or before. Then, or if it is
    /// armed for an earlier instant already, it has to be armed again for a later one.
    fn arm(&self, at: Instant);

    /// Forgets for when it was armed.
    fn disarm(&self);
}
