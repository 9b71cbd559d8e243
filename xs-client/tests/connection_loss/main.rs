//! The connection is lost: all users of the client learn the cause, and a client that may reconnect
//! goes on.

#[path = "../support/mod.rs"]
mod support;

mod connecting;
#[cfg(feature = "tokio")]
mod futures;
mod requests;
#[cfg(feature = "futures")]
mod restart;
mod shortages;
mod unreliable;
mod watch_sets;
mod watches;

use xs_client::{EventKind, Watch, WatchEvent};

use support::waiting::HANG_GUARD;

/// The kind and the path of an event.
type Event = (EventKind, String);

fn event(event: WatchEvent) -> Event {
    (event.kind, event.path.to_string())
}

/// Waits for the next event of a watch.
fn next(watch: &mut Watch) -> Event {
    event(watch.next_timeout(HANG_GUARD).unwrap().expect("no event arrives"))
}

fn fired(path: &str) -> Event {
    (EventKind::Fired, path.into())
}

fn reconnected(path: &str) -> Event {
    (EventKind::Reconnected, path.into())
}
