//! The client as futures, on tokio, on smol, on the client's own thread, and polled by hand.

#[path = "../support/mod.rs"]
mod support;

mod cancellation;
mod deadlines;
mod device_states;
mod driver;
mod operations;
mod time;
mod watch_sets;
mod watches;

use std::future::Future;

use xs_client::futures::Client;
use xs_transport::mock::Xenstored;

/// Runs a test on each runtime, each time with a new daemon, over a pipe and over a ring.
fn everywhere<F: Future<Output = ()>>(test: fn(Client, Xenstored) -> F) {
    let start = || {
        let (xenstored, client) = support::daemon::start();
        (client, xenstored)
    };
    support::runtimes::on_each_runtime(start, test);
    let start_with_ring = || {
        let (xenstored, client) = support::daemon::start_with_ring();
        (client, xenstored)
    };
    support::runtimes::on_each_runtime(start_with_ring, test);
}
