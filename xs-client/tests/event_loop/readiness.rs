//! The readiness of an event source, and its `process`.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mio::{Events, Interest};
use xs_client::{Client, EventKind, op};
use xs_transport::UnixTransport;
use xs_transport::mock::Fault;

use crate::EventLoop;
use crate::support::daemon::{start, start_flood, start_with_ring};
use crate::support::waiting::in_time;

#[test]
fn source_is_readable_when_event_arrives() {
    let (xenstored, client) = start();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut event_loop = EventLoop::new(&client);
    assert!(!event_loop.is_ready());

    xenstored.set("/a/b", "1").unwrap();
    assert_eq!(event_loop.turn(), [watch.token()]);
    assert_eq!(&*watch.try_next().unwrap().unwrap().path, "/a/b");
    assert!(watch.try_next().unwrap().is_none());
    assert_eq!(event_loop.source.process().unwrap(), []);
}

#[test]
fn source_over_a_ring_is_readable_for_each_event() {
    let (xenstored, client) = start_with_ring();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut event_loop = EventLoop::new(&client);
    event_loop.run_until_idle();
    for value in ["1", "2", "3"] {
        xenstored.set("/a/b", value).unwrap();
        // xenstored also notifies the loop when it has taken bytes.
        while event_loop.turn() != [watch.token()] {}
        assert_eq!(&*watch.try_next().unwrap().unwrap().path, "/a/b");
        assert!(watch.try_next().unwrap().is_none());
    }
    // A request of another thread, whose reply arrives here or there.
    let pending = client.start(&op::read("/a/b")).unwrap();
    assert_eq!(client.read("/a/b").unwrap(), b"3");
    assert_eq!(pending.wait().unwrap(), b"3");
}

#[test]
fn source_names_watches_of_sets_that_have_events() {
    let (xenstored, client) = start();
    let mut set = client.watch_set();
    let tokens = ["/a", "/b", "/c"].map(|path| set.add(path).unwrap());
    for token in tokens {
        assert_eq!(set.wait().unwrap().token, token);
    }
    let mut event_loop = EventLoop::new(&client);
    assert!(!event_loop.is_ready());
    for path in ["/b/1", "/b/2", "/c/1"] {
        xenstored.set(path, "").unwrap();
    }
    assert_eq!(event_loop.turn(), tokens[1..]);
    let events = std::iter::from_fn(|| set.try_next().unwrap());
    assert_eq!(
        events.map(|event| event.token).collect::<Vec<_>>(),
        [tokens[1], tokens[2], tokens[1]]
    );
    assert_eq!(event_loop.source.process().unwrap(), []);

    // The event comes with the reply, which this thread receives outside of the loop.
    let added = set.add("/d").unwrap();
    xenstored.set("/d/1", "").unwrap();
    assert_eq!(event_loop.turn(), [added]);
    set.remove(added).unwrap();
    event_loop.run_until_idle();
    assert_eq!(set.try_next().unwrap(), None);
}

#[test]
fn source_is_readable_when_answers_arrive() {
    let (_xenstored, client) = start();
    let mut event_loop = EventLoop::new(&client);
    let write = client.start(&op::write("/a", "1")).unwrap();
    let mut read = client.start(&op::read("/a")).unwrap();
    let mut none = client.start(&op::read("/none")).unwrap();
    assert!(read.try_take().is_none());
    event_loop.turn();
    assert_eq!(read.try_take().unwrap().unwrap(), b"1");
    assert!(none.try_take().unwrap().unwrap_err().is_not_found());
    // Dropped requests do not disturb later ones.
    drop(write);
    drop(client.start(&op::read("/a")).unwrap());
    event_loop.turn();
    assert_eq!(client.read("/a").unwrap(), b"1");
}

#[test]
fn source_stays_idle_when_there_are_no_events() {
    let (_xenstored, client) = start();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut event_loop = EventLoop::new(&client);
    let mut turns = 0;
    while event_loop.is_ready() {
        event_loop.source.process().unwrap();
        while watch.try_next().unwrap().is_some() {}
        turns += 1;
        assert!(turns < 100, "the event loop spins");
    }
}

#[test]
fn deadline_says_when_request_times_out() {
    let (xenstored, client) = start();
    xenstored.inject(Fault::ignore().times(2));
    let timeout = Duration::from_millis(10);
    let before = Instant::now();
    let mut pending = client.with_timeout(timeout).start(&op::read("/")).unwrap();
    let at = pending.deadline().expect("the request has a deadline");
    assert!(before + timeout <= at && at <= Instant::now() + timeout);
    in_time(move || {
        let mut event_loop = EventLoop::new(&client);
        while pending.deadline().is_some_and(|at| Instant::now() < at) {
            event_loop.wait(at.saturating_duration_since(Instant::now()));
        }
        assert!(pending.try_take().expect("the deadline has passed").unwrap_err().is_timeout());
        let patient = client.with_timeout(None).start(&op::read("/")).unwrap();
        assert_eq!(patient.deadline(), None);
    });
}

#[test]
fn source_may_be_registered_again_and_removed() {
    let (xenstored, client) = start();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut event_loop = EventLoop::new(&client);
    let mut tokens = |event_loop: &mut EventLoop| {
        xenstored.set("/a", "1").unwrap();
        let mut events = Events::with_capacity(4);
        event_loop.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        let tokens: Vec<_> = events.iter().map(|event| event.token()).collect();
        event_loop.source.process().unwrap();
        while watch.try_next().unwrap().is_some() {}
        tokens
    };
    assert_eq!(tokens(&mut event_loop), [mio::Token(0)]);
    let EventLoop { poll, source } = &mut event_loop;
    poll.registry().reregister(source, mio::Token(7), Interest::READABLE).unwrap();
    assert_eq!(tokens(&mut event_loop), [mio::Token(7)]);
    let EventLoop { poll, source } = &mut event_loop;
    poll.registry().deregister(source).unwrap();
    assert_eq!(tokens(&mut event_loop), []);
}

#[test]
fn dropped_source_leaves_next_source_alone() {
    let (xenstored, client) = start();
    let first = client.event_source().unwrap();
    let mut second = client.event_source().unwrap();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    second.process().unwrap();
    drop(first);
    xenstored.set("/a", "1").unwrap();
    client.read("/a").unwrap();
    let poll = mio::Poll::new().unwrap();
    poll.registry().register(&mut second, mio::Token(0), Interest::READABLE).unwrap();
    EventLoop { poll, source: second }.wait_until_ready();
}

#[test]
fn source_rests_while_transport_is_full() {
    // The peer reads nothing, and the requests together exceed the buffer of a socket.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let client = Client::from_transport(UnixTransport::new(ours, "a socket pair").unwrap());
    let mut event_loop = EventLoop::new(&client);
    let write = op::write("/a", &[0; 4000]);
    let _pending: Vec<_> = (0..1000).map(|_| client.start(&write).unwrap()).collect();
    let mut turns = 0;
    while event_loop.is_ready() {
        event_loop.source.process().unwrap();
        turns += 1;
        assert!(turns < 10, "the event loop spins");
    }
}

#[test]
fn process_returns_in_flood_of_events() {
    let (_xenstored, client) = start_flood();
    in_time(move || {
        let mut watch = client.watch("/w").unwrap();
        let mut source = client.event_source().unwrap();
        let poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut source, mio::Token(0), Interest::READABLE).unwrap();
        let mut event_loop = EventLoop { poll, source };
        for _ in 0..10 {
            assert_eq!(event_loop.turn(), [watch.token()]);
            while watch.try_next().unwrap().is_some_and(|event| event.kind != EventKind::Fired) {}
        }
    });
}
