//! Full transports, lost connections and new ones.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use xs_client::{Client, EventKind, op};
use xs_proto::Header;
use xs_transport::UnixTransport;
use xs_transport::mock::Fault;

use crate::EventLoop;
use crate::support::daemon::{TestDaemon, start};
use crate::support::intercept::Intercept;
use crate::support::waiting::HANG_GUARD;
use crate::support::wakers::{poll, waker};

#[test]
fn process_sends_queued_requests_when_there_is_room() {
    const MANY: usize = 1000;
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let client = Client::from_transport(UnixTransport::new(ours, "a socket pair").unwrap());
    let mut event_loop = EventLoop::new(&client);
    // Together they exceed the buffer of a socket.
    let value = [0; 4000];
    let write = op::write("/a", &value);
    let _pending: Vec<_> = (0..MANY).map(|_| client.start(&write).unwrap()).collect();
    event_loop.source.process().unwrap();
    let peer = thread::spawn(move || {
        let message = Header::LEN + "/a\0".len() + value.len();
        theirs.read_exact(&mut vec![0; MANY * message])
    });
    // The peer hangs up when it has read all requests.
    let error = loop {
        event_loop.wait_until_ready();
        match event_loop.source.process() {
            Ok(tokens) => assert_eq!(tokens, []),
            Err(error) => break error,
        }
    };
    assert!(error.is_lost(), "{error}");
    peer.join().unwrap().unwrap();
}

#[test]
fn process_reports_lost_connection() {
    let (xenstored, client) = start();
    let mut event_loop = EventLoop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    let fault = xenstored.inject(Fault::close());
    let mut pending = client.start(&op::read("/a")).unwrap();
    assert_eq!(fault.hits(), 1);
    event_loop.wait_until_ready();
    assert!(event_loop.source.process().unwrap_err().is_lost());
    assert!(pending.try_take().unwrap().unwrap_err().is_lost());
    while let Ok(event) = watch.try_next() {
        assert!(event.is_some());
    }
}

#[test]
fn descriptor_stays_same_after_reconnect() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut event_loop = EventLoop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    event_loop.turn();
    assert_eq!(watch.try_next().unwrap().unwrap().kind, EventKind::Fired);
    let before = event_loop.source.as_raw_fd();
    assert_eq!(event_loop.source.as_fd().as_raw_fd(), before);

    let fault = daemon.xenstored.inject(Fault::close());
    let mut pending = client.start(&op::read("/a")).unwrap();
    assert_eq!(fault.hits(), 1);
    event_loop.turn();
    assert!(pending.try_take().unwrap().unwrap_err().is_lost());
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        event_loop.turn();
        while let Some(event) = watch.try_next().unwrap() {
            kinds.push(event.kind);
        }
    }
    assert_eq!(kinds, [EventKind::Reconnected, EventKind::Fired]);
    assert_eq!(event_loop.source.as_raw_fd(), before);
    event_loop.run_until_idle();
    daemon.xenstored.set("/a", "1").unwrap();
    assert_eq!(event_loop.turn(), [watch.token()]);
}

/// A waker that learns of the loss connects again before the event loop has looked.
#[test]
fn source_watches_connection_made_by_a_waker() {
    let daemon = TestDaemon::new();
    // The results of the next sends on the first connection, last one first.
    let failures: Arc<Mutex<Vec<io::ErrorKind>>> = Arc::default();
    let injected = failures.clone();
    let builder = Client::builder().timeout(HANG_GUARD);
    let client = daemon.client_over(builder, move |attempt| {
        if attempt.number > 0 {
            return attempt.connect();
        }
        let failures = injected.clone();
        let transport = Intercept::new(attempt.connect()?).on_send(move |below, bytes| {
            match failures.lock().unwrap().pop() {
                Some(kind) => Err(kind.into()),
                None => below.send(bytes),
            }
        });
        Ok(Box::new(transport))
    });
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut event_loop = EventLoop::new(&client);
    // The loss shows when the event loop sends what could not be sent before.
    *failures.lock().unwrap() = vec![io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock];
    let mut pending = client.start(&op::read("/")).unwrap();
    let user = client.clone();
    let connecting = waker(move || drop(user.read("/").unwrap()));
    assert!(poll(&mut pending, &connecting).is_pending());
    event_loop.turn();
    assert_eq!(*failures.lock().unwrap(), []);
    loop {
        while watch.try_next().unwrap().is_some() {}
        if !event_loop.is_ready() {
            break;
        }
        event_loop.source.process().unwrap();
    }
    daemon.xenstored.set("/a", "1").unwrap();
    assert_eq!(event_loop.turn(), [watch.token()]);
}

#[test]
fn event_loop_does_not_spin_while_daemon_is_down() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(watch.wait().unwrap().kind, EventKind::Fired);
    let mut event_loop = EventLoop::new(&client);
    daemon.set_down(true);
    daemon.hang_up();
    let before = daemon.attempts();
    let mut turns = 0;
    let mut turn = |turns: &mut usize| {
        let left =
            event_loop.source.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        event_loop.wait(left.unwrap_or(HANG_GUARD));
        *turns += 1;
        event_loop.source.process().unwrap()
    };
    while daemon.attempts() < before + 5 {
        assert_eq!(turn(&mut turns), [], "no watch has an event");
    }
    // Each attempt takes two turns, and the loss takes some.
    assert!(turns < 20, "{turns} turns for five attempts");
    daemon.set_down(false);
    while turn(&mut turns).is_empty() {}
    assert_eq!(watch.try_next().unwrap().unwrap().kind, EventKind::Reconnected);
}

#[test]
fn new_connection_is_watched_later_if_it_cannot_be_watched_at_once() {
    let daemon = TestDaemon::new();
    let client = daemon.client_without_descriptors(3);
    let mut event_loop = EventLoop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    event_loop.turn();
    assert_eq!(watch.try_next().unwrap().unwrap().kind, EventKind::Fired);
    daemon.hang_up();
    let mut kinds = Vec::new();
    while kinds.len() < 2 || event_loop.source.deadline().is_some() {
        let until = event_loop.source.deadline();
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        event_loop.wait(left.unwrap_or(HANG_GUARD));
        event_loop.source.process().unwrap();
        while let Some(event) = watch.try_next().unwrap() {
            kinds.push(event.kind);
        }
    }
    assert_eq!(kinds, [EventKind::Reconnected, EventKind::Fired]);
    event_loop.run_until_idle();
    daemon.xenstored.set("/a", "").unwrap();
    assert_eq!(event_loop.turn(), [watch.token()]);
}
