//! Functions that connect, and are called again when the connection is lost.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use xs_client::{Client, EventKind};

use crate::support::callback::CallbackEvents;
use crate::support::daemon::TestDaemon;
use crate::support::waiting::{HANG_GUARD, in_time};

/// A client whose second attempt to connect panics.
fn panicking_client(daemon: &TestDaemon) -> Client {
    daemon.client_over(Client::builder().timeout(HANG_GUARD), |attempt| {
        assert_ne!(attempt.number, 1, "a panic that the test expects");
        attempt.connect()
    })
}

#[test]
fn panic_in_connector_reaches_its_caller_only() {
    let daemon = TestDaemon::new();
    let client = panicking_client(&daemon);
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    catch_unwind(AssertUnwindSafe(|| client.read("/"))).unwrap_err();
    client.read("/").unwrap();
}

#[test]
fn panic_in_connector_does_not_end_callbacks() {
    let daemon = TestDaemon::new();
    let client = panicking_client(&daemon);
    let calls = CallbackEvents::watch(&client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    daemon.hang_up();
    daemon.wait_for_attempts(2);
    assert_eq!(calls.next_kind(), EventKind::Reconnected);
}

#[cfg(feature = "futures")]
#[test]
fn deadlines_pass_while_connector_blocks() {
    use std::io;
    use std::thread;
    use std::time::Duration;

    use futures_lite::future::block_on;
    use xs_client::futures;

    use crate::support::waiting::in_time;

    let daemon = TestDaemon::new();
    let builder = Client::builder().timeout(Duration::from_millis(200));
    let client = daemon.client_over(builder, |attempt| {
        if attempt.number > 0 {
            // As connect(2) does when the daemon hangs and its backlog is full.
            thread::sleep(attempt.timeout);
            return Err(io::ErrorKind::TimedOut.into());
        }
        attempt.connect()
    });
    let tasks = futures::Client::on_thread(client).unwrap();
    block_on(tasks.read("/")).unwrap();
    daemon.hang_up();
    daemon.wait_for_attempts(2);
    in_time(move || block_on(tasks.read("/")).unwrap_err());
}

/// The callback thread watches the clock for futures, so it must not be held up.
#[cfg(feature = "futures")]
#[test]
fn attempts_to_connect_are_short_while_futures_rely_on_callback_thread() {
    use std::sync::Mutex;
    use std::time::Duration;

    let daemon = TestDaemon::new();
    let timeouts = Arc::new(Mutex::new(Vec::new()));
    let noted = timeouts.clone();
    let client = daemon.client_over(Client::builder().timeout(HANG_GUARD), move |attempt| {
        noted.lock().unwrap().push(attempt.timeout);
        attempt.connect()
    });
    let tasks = xs_client::futures::Client::on_thread(client).unwrap();
    daemon.hang_up();
    daemon.wait_for_attempts(2);
    drop(tasks);
    let timeouts = timeouts.lock().unwrap();
    let is_short = |timeout: &Duration| *timeout <= Duration::from_millis(10);
    assert!(timeouts[1..].iter().all(is_short), "{timeouts:?}");
}

#[test]
fn dropped_error_of_connector_may_use_client() {
    #[derive(Debug, thiserror::Error)]
    #[error("the test refuses")]
    struct UsesClient(Client);
    impl Drop for UsesClient {
        fn drop(&mut self) {
            println!("dropped an error of {}", self.0.transport_name());
        }
    }

    let daemon = TestDaemon::new();
    let shared: Arc<OnceLock<Client>> = Arc::default();
    let user = shared.clone();
    let builder = Client::builder().timeout(HANG_GUARD);
    let client = daemon.client_over(builder, move |attempt| match attempt.number {
        1..4 => Err(io::Error::other(UsesClient(user.get().unwrap().clone()))),
        _ => attempt.connect(),
    });
    shared.set(client.clone()).unwrap();
    daemon.hang_up();
    assert!(client.read("/").is_err());
    in_time(move || client.read("/").unwrap());
}
