//! The state of a client in a forked process.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use xs_transport::{Descriptor, Failure, Interest, Sent, Transport, Wait};

use super::state::State;

/// The connection of the parent process, which the child must not touch.
#[derive(Debug)]
struct Foreign;

impl State {
    /// Returns the state of a client in a forked process: without a connection, without watches,
    /// and closed for good.
    ///
    /// The child cannot use the parent's state: another thread may have held its lock at the fork,
    /// the parent receives the replies and events, and the parent's threads do not exist in the
    /// child.
    pub(super) fn forked() -> Self {
        let mut state = State::new(Arc::new(Foreign), 1, None);
        state.closed = true;
        state.set_failure(Some(Failure::Forked));
        state
    }

    pub(crate) fn is_forked(&self) -> bool {
        matches!(self.failure(), Some(Failure::Forked))
    }
}

fn refuse<T>() -> io::Result<T> {
    Err(io::Error::new(Failure::Forked.io_kind(), Failure::Forked))
}

impl Transport for Foreign {
    fn send(&self, _: &[u8]) -> io::Result<Sent> {
        refuse()
    }

    fn recv(&self, _: &mut [u8], _: Wait) -> io::Result<usize> {
        refuse()
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        refuse()
    }

    fn wake(&self) {}

    fn close(&self) {}

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        refuse()
    }

    fn describe(&self) -> String {
        "the connection of another process".into()
    }
}
