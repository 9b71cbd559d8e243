//! The client in the caller's own event loop: an event source is readable when there is work.

#[path = "../support/mod.rs"]
mod support;

mod connection;
mod other_threads;
mod readiness;

use std::time::Duration;

use mio::{Events, Interest, Poll};
use xs_client::{Client, EventSource, WatchToken};

use support::waiting::HANG_GUARD;

/// An event loop with one event source.
struct EventLoop {
    poll: Poll,
    source: EventSource,
}

impl EventLoop {
    fn new(client: &Client) -> Self {
        let poll = Poll::new().unwrap();
        let mut source = client.event_source().unwrap();
        poll.registry().register(&mut source, mio::Token(0), Interest::READABLE).unwrap();
        let mut this = EventLoop { poll, source };
        // Each source is readable once at its start.
        assert!(this.is_ready());
        this.source.process().unwrap();
        this
    }

    /// Returns whether the source is readable now.
    fn is_ready(&mut self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits until the source is readable, and returns whether it is.
    fn wait(&mut self, timeout: Duration) -> bool {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }

    /// Waits until the source is readable.
    fn wait_until_ready(&mut self) {
        assert!(self.wait(HANG_GUARD), "the source does not become readable");
    }

    /// Waits until there is work, and does it.
    fn turn(&mut self) -> Vec<WatchToken> {
        self.wait_until_ready();
        self.source.process().unwrap()
    }

    /// Works until the source is not readable.
    fn run_until_idle(&mut self) {
        while self.is_ready() {
            self.source.process().unwrap();
        }
    }
}
