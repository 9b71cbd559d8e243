//! Attempts to connect again: which thread makes them, how often, and until when.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, ErrorKind, EventKind, op};
use xs_proto::MessageType;
use xs_transport::mock::Fault;

use crate::support::callback::CallbackEvents;
use crate::support::daemon::TestDaemon;
use crate::support::intercept::Intercept;
use crate::support::threads::{Gate, Observed};
use crate::support::waiting::HANG_GUARD;
use crate::{event, fired, next, reconnected};

#[test]
fn blocking_calls_try_until_their_deadline() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    client.write("/a", "1").unwrap();
    daemon.set_down(true);
    daemon.hang_up();
    let error = client.read("/a").unwrap_err();
    assert!(error.is_lost(), "{error}");
    let error = client.with_timeout(Duration::from_millis(20)).read("/a").unwrap_err();
    assert!(error.is_lost(), "{error}");
    let attempts = daemon.attempts();
    assert!(attempts >= 2, "{attempts}");
    // Several threads wait, and one of them connects.
    thread::scope(|scope| {
        let reads: Vec<_> = (0..4).map(|_| scope.spawn(|| client.read("/a").unwrap())).collect();
        daemon.wait_for_attempts(attempts + 2);
        daemon.set_down(false);
        for read in reads {
            assert_eq!(read.join().unwrap(), b"1");
        }
    });
}

#[test]
fn error_names_reason_why_daemon_is_unreachable() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    daemon.go_down(&client);
    let error = client.with_timeout(Duration::from_millis(20)).write("/a", "1").unwrap_err();
    let ErrorKind::Unreachable(why) = error.kind() else { panic!("{error}") };
    assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.is_lost(), "{error}");
    daemon.set_down(false);
    client.write("/a", "1").unwrap();
}

#[test]
fn starting_request_makes_an_attempt() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    daemon.go_down(&client);
    daemon.set_down(false);
    let start = Instant::now();
    let pending = loop {
        match client.start(&op::directory("/")) {
            Ok(pending) => break pending,
            Err(error) => assert!(error.is_lost() && start.elapsed() < HANG_GUARD, "{error}"),
        }
    };
    pending.wait().unwrap();
}

/// A driver must not block, but no other party has to hurry.
#[test]
fn attempt_may_take_as_long_as_its_thread_can_wait() {
    let daemon = TestDaemon::new();
    let times = Arc::new(Mutex::new(Vec::new()));
    let given = times.clone();
    let client = daemon.client_over(Client::builder().timeout(None), move |attempt| {
        given.lock().unwrap().push(attempt.timeout);
        attempt.connect()
    });
    let longest = Duration::from_secs(1);
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    client.read("/").unwrap();
    assert_eq!(times.lock().unwrap().pop(), Some(longest), "of a blocked call");
    let callback = CallbackEvents::watch(&client, "/a");
    assert_eq!(callback.next_kind(), EventKind::Fired);
    daemon.hang_up();
    assert_eq!(callback.next_kind(), EventKind::Reconnected);
    assert_eq!(times.lock().unwrap().pop(), Some(longest), "of the callback thread");
}

/// The waiting thread sleeps while another one connects, and nothing else would wake it.
#[test]
fn thread_that_waits_for_event_connects_when_another_has_failed_to() {
    let daemon = TestDaemon::new();
    let (client, connecting) = daemon.gated_client(Client::builder().timeout(HANG_GUARD));
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    daemon.set_down(true);
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    let hasty = client.with_timeout(Duration::from_millis(1));
    let first = Observed::spawn(move || hasty.read("/").unwrap_err());
    connecting.wait_for_arrival();
    let waiting = Observed::spawn(move || watch.wait().unwrap());
    waiting.state.wait_until_asleep();
    connecting.open();
    assert!(first.join().is_lost());
    daemon.set_down(false);
    assert_eq!(event(waiting.join()), reconnected("/a"));
}

/// Returns a client that has lost its connection. Its next attempt to connect stops at the gate.
fn lost(daemon: &TestDaemon) -> (Client, Gate) {
    let (client, connecting) = daemon.gated_client(Client::builder().timeout(HANG_GUARD));
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    (client, connecting)
}

#[test]
fn threads_connect_one_at_a_time() {
    let daemon = TestDaemon::new();
    let (client, connecting) = lost(&daemon);
    thread::scope(|scope| {
        let first = scope.spawn(|| client.read("/").unwrap());
        connecting.wait_for_arrival();
        // Other threads wait for the first until their own deadlines. This deadline is longer than
        // the pause between two attempts.
        let hasty = client.with_timeout(Duration::from_millis(50)).read("/");
        let waiting = scope.spawn(|| client.read("/").unwrap());
        connecting.open();
        assert!(hasty.unwrap_err().is_lost());
        first.join().unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(daemon.attempts(), 2);
}

#[test]
fn connection_made_after_close_is_not_used() {
    let daemon = TestDaemon::new();
    let (client, connecting) = lost(&daemon);
    thread::scope(|scope| {
        let reading = scope.spawn(|| client.read("/").unwrap_err());
        connecting.wait_for_arrival();
        client.close();
        connecting.open();
        let error = reading.join().unwrap();
        assert!(error.is_lost(), "{error}");
    });
    assert!(client.read("/").unwrap_err().is_lost());
}

#[test]
fn close_wakes_threads_that_wait_for_connection() {
    let daemon = TestDaemon::new();
    let client = daemon.client().with_timeout(None);
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    daemon.set_down(true);
    daemon.hang_up();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.wait().unwrap_err());
        daemon.wait_for_attempts(2);
        let reading = scope.spawn(|| client.read("/a").unwrap_err());
        daemon.wait_for_attempts(4);
        client.close();
        assert!(waiting.join().unwrap().is_lost());
        assert!(reading.join().unwrap().is_lost());
    });
    let attempts = daemon.attempts();
    assert!(client.read("/a").unwrap_err().is_lost());
    assert_eq!(daemon.attempts(), attempts, "a closed client connects");
}

#[test]
fn attempts_slow_down_when_daemon_hangs_up_at_once() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(next(&mut watch), fired("/a"));
    daemon.xenstored.inject(Fault::close().on(MessageType::Watch).times(u64::MAX));
    daemon.hang_up();
    let until = Instant::now() + Duration::from_millis(200);
    // No connection lasts until the watch is set.
    assert_eq!(watch.next_until(Some(until)).unwrap_or(None), None);
    // The pauses are 5 ms, 10 ms, 20 ms and so on. A slow machine makes fewer attempts.
    let attempts = daemon.attempts();
    assert!(attempts < 20, "{attempts}");
}

#[test]
fn attempts_slow_down_when_each_connection_answers_once() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let until = Instant::now() + Duration::from_millis(300);
    let mut answers = 0;
    while Instant::now() < until {
        if client.with_timeout(Duration::from_millis(50)).exists("/").is_ok() {
            answers += 1;
            daemon.hang_up();
        }
    }
    assert!(answers > 1, "the client does not connect again");
    // The pauses are 5 ms, 10 ms, 20 ms and so on. A slow machine makes fewer attempts.
    let attempts = daemon.attempts();
    assert!(attempts < 10, "{attempts}");
}

/// On the device, the write of a WATCH returns when the daemon has answered.
#[test]
fn blocked_send_does_not_block_next_connection() {
    let daemon = TestDaemon::new();
    let gate = Gate::closed();
    let sending = gate.clone();
    let client = daemon.client_over(Client::builder().timeout(HANG_GUARD), move |attempt| {
        let gate = if attempt.number == 0 { sending.clone() } else { Gate::opened() };
        let transport = Intercept::new(attempt.connect()?)
            .on_limits(|below| below.limits().with_one_at_a_time())
            .on_send(move |below, bytes| {
                gate.pass();
                below.send(bytes)
            });
        Ok(Box::new(transport))
    });
    let user = client.clone();
    let setting = thread::spawn(move || drop(user.watch("/a")));
    gate.wait_for_arrival();
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    client.exists("/").expect("the next connection works");
    gate.open();
    setting.join().unwrap();
}
