//! The function that makes a new connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xs_transport::Transport;

/// A function that connects, any number of times, within the time that it is given.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Connect>);

type Connect = dyn Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync;

/// The time that one attempt may take at most.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(1);

/// The time that an attempt may take even if the caller's deadline leaves less, so that it has a
/// chance to succeed. A caller that must not wait is held up for no longer than this.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(10);

impl Connector {
    pub(crate) fn new(
        connect: impl Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Self {
        Connector(Arc::new(connect))
    }

    pub(super) fn connect(&self, deadline: Option<Instant>) -> io::Result<Box<dyn Transport>> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout =
            left.map_or(LONGEST_ATTEMPT, |left| left.clamp(SHORTEST_ATTEMPT, LONGEST_ATTEMPT));
        (self.0)(timeout)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
