//! The client's suite, on every site: see the crate's documentation for where that is.

mod bad_input;
mod batches;
mod callbacks;
mod directories;
mod domains;
mod load;
mod permissions;
mod seed;
mod threads;
mod transactions;
mod values;
mod watches;

use std::sync::mpsc::{self, Receiver, Sender};

use xs_client::{Result, Watch, WatchEvent};
use xs_tests::PATIENCE;

/// A callback's way to tell the test what it was called with.
fn channel() -> (Sender<Result<WatchEvent>>, Receiver<Result<WatchEvent>>) {
    mpsc::channel()
}

/// The next event of a watch, which has to come.
fn next(watch: &mut Watch) -> String {
    let event = watch.next_timeout(PATIENCE).expect("the connection lives");
    event.expect("an event comes").path.to_string()
}

/// Takes events until the one for `path`. Daemons may fire more often than they have to.
fn until(watch: &mut Watch, path: &str) {
    while next(watch) != path {}
}

/// The same for a callback.
fn called_for(events: &Receiver<Result<WatchEvent>>, path: &str) {
    called_for_all(events, [path]);
}

/// Takes events until there was one for each of `paths`, in any order.
fn called_for_all<P: AsRef<str>>(
    events: &Receiver<Result<WatchEvent>>,
    paths: impl IntoIterator<Item = P>,
) {
    let mut missing: Vec<_> = paths.into_iter().collect();
    while !missing.is_empty() {
        let event = events.recv_timeout(PATIENCE).expect("the callback is called");
        let path = event.expect("the connection lives").path;
        missing.retain(|missing| missing.as_ref() != &*path);
    }
}
