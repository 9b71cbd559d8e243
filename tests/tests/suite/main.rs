//! Tests of the client that run on every backend: see `tests/README.md`.

#![allow(clippy::duplicate_mod, reason = "two examples share a module")]

mod bad_input;
mod batches;
mod callbacks;
#[cfg(unix)]
mod device_backends;
mod directories;
mod domains;
mod load;
mod permissions;
mod python_api;
mod threads;
mod transactions;
#[cfg(unix)]
mod unlimited_device;
mod values;
mod watch_sets;
mod watches;

use std::sync::mpsc::{self, Receiver, Sender};

use xs_client::{Result, Watch, WatchEvent};
use xs_tests::HANG_TIMEOUT;

/// A channel that passes a callback's arguments to the test.
fn channel() -> (Sender<Result<WatchEvent>>, Receiver<Result<WatchEvent>>) {
    mpsc::channel()
}

/// Returns the path of a watch's next event, which must come.
fn next(watch: &mut Watch) -> String {
    let event = watch.next_timeout(HANG_TIMEOUT).expect("the connection works");
    event.expect("an event comes").path.to_string()
}

/// Takes events up to the one for `path`. Daemons may send more events than they need to.
fn until(watch: &mut Watch, path: &str) {
    while next(watch) != path {}
}

/// Takes a callback's events up to the one for `path`.
fn called_for(events: &Receiver<Result<WatchEvent>>, path: &str) {
    called_for_all(events, [path]);
}

/// Takes a callback's events until each of `paths` had one, in any order.
fn called_for_all<P: AsRef<str>>(
    events: &Receiver<Result<WatchEvent>>,
    paths: impl IntoIterator<Item = P>,
) {
    let mut missing: Vec<_> = paths.into_iter().collect();
    while !missing.is_empty() {
        let event = events.recv_timeout(HANG_TIMEOUT).expect("the callback is called");
        let path = event.expect("the connection works").path;
        missing.retain(|missing| missing.as_ref() != &*path);
    }
}
