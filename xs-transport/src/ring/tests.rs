//! The transport over a page in memory, against xenstored's end.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::Features;
use xs_proto::ring::{Field, Page, Ring, RingError, RingPage, RingServer, ServerError};

use super::{EventChannel, MemoryChannel, RingEndpoint, RingTransport};
use crate::sys::Descriptor;
use crate::transport::{Interest, Sent, Transport, Wait};

type Endpoint = RingEndpoint<Arc<RingPage>, MemoryChannel>;

/// xenstored's end.
struct Server {
    page: Arc<RingPage>,
    ring: RingServer<Arc<RingPage>>,
    channel: MemoryChannel,
}

fn pair(features: Features) -> (Endpoint, Server) {
    let page = Arc::new(RingPage::new());
    let (ours, theirs) = MemoryChannel::pair();
    let ring = RingServer::new(page.clone(), features).unwrap();
    (RingEndpoint::new(page.clone(), ours, "a ring"), Server { page, ring, channel: theirs })
}

impl Server {
    fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.ring.send(bytes), Ok(bytes.len()));
        self.channel.notify().unwrap();
    }

    fn receive(&mut self) -> usize {
        self.ring.receive(&mut [0; 1024]).unwrap()
    }
}

/// Returns the error of the ring in an error of a transport.
fn ring_error(error: &io::Error) -> RingError {
    *error.get_ref().expect("the error has a source").downcast_ref().expect("it is one of the ring")
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn bytes_pass_in_both_directions() {
    let (endpoint, mut server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    assert_eq!(transport.send(&[7; 1500]).unwrap(), Sent::Bytes(1024));
    would_block(transport.send(b"x"));
    server.channel.wait(None).unwrap();
    assert_eq!(server.receive(), 1024);
    assert_eq!(transport.send(b"x").unwrap(), Sent::Bytes(1));

    let mut buf = [0; 4];
    would_block(transport.recv(&mut buf, Wait::No));
    server.send(b"reply");
    assert_eq!(transport.recv(&mut buf, Wait::Until(None)).unwrap(), 4);
    assert_eq!(transport.recv(&mut buf, Wait::No).unwrap(), 1);
}

#[test]
fn receive_without_an_event_ends_at_the_deadline() {
    let (endpoint, _server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    for wait in [Wait::Until, Wait::UntilWoken] {
        let deadline = Instant::now() + Duration::from_millis(5);
        would_block(transport.recv(&mut [0], wait(Some(deadline))));
        assert!(Instant::now() >= deadline);
    }
}

#[test]
fn wake_ends_one_wait() {
    let (endpoint, _server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    transport.wake();
    transport.wait(Interest::Receive, None).unwrap();
    transport.wake();
    transport.wake();
    would_block(transport.recv(&mut [0], Wait::UntilWoken(None)));
    let deadline = Instant::now() + Duration::from_millis(5);
    transport.wait(Interest::Receive, Some(deadline)).unwrap();
    assert!(Instant::now() >= deadline, "the wake-up was used before");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| transport.wait(Interest::Receive, None));
        transport.wake();
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn close_ends_all_waits() {
    let (endpoint, mut server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    assert_eq!(transport.send(&[0; 1024]).unwrap(), Sent::Bytes(1024));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| transport.wait(Interest::Send, None));
        let receiver = scope.spawn(|| {
            loop {
                match transport.recv(&mut [0; 9], Wait::Until(None)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
            }
        });
        transport.close();
        waiter.join().unwrap().unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 0);
    });
    server.send(b"late");
    assert_eq!(transport.recv(&mut [0; 9], Wait::Until(None)).unwrap(), 4);
    assert_eq!(transport.recv(&mut [0; 9], Wait::Until(None)).unwrap(), 0);
    assert!(transport.send(b"x").is_err());
}

#[test]
fn room_and_bytes_reach_threads_that_wait_at_once() {
    for _ in 0..if cfg!(miri) { 2 } else { 200 } {
        let (endpoint, mut server) = pair(Features::NONE);
        let transport = endpoint.connect().unwrap();
        assert_eq!(transport.send(&[0; 1024]).unwrap(), Sent::Bytes(1024));
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                while transport.send(b"x").is_err() {
                    transport.wait(Interest::Send, None).unwrap();
                }
            });
            let receiver = scope.spawn(|| {
                loop {
                    match transport.recv(&mut [0; 9], Wait::Until(None)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => break assert_eq!(result.unwrap(), 5),
                    }
                }
            });
            server.receive();
            server.channel.notify().unwrap();
            server.send(b"bytes");
            sender.join().unwrap();
            receiver.join().unwrap();
        });
    }
}

#[cfg(unix)]
#[test]
#[cfg_attr(miri, ignore = "Miri does not know poll(2)")]
fn descriptor_is_readable_while_there_are_bytes() {
    let (endpoint, mut server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    let is_readable = || {
        let fds = [(transport.fd().unwrap(), libc::POLLIN)];
        crate::sys::poll(fds, Some(Instant::now())).unwrap() != [0]
    };
    // A descriptor that was just asked for may be readable without a reason.
    assert!(is_readable());
    let fd = transport.fd().unwrap();
    let is_readable =
        || crate::sys::poll([(fd, libc::POLLIN)], Some(Instant::now())).unwrap() != [0];
    would_block(transport.recv(&mut [0], Wait::No));
    assert!(!is_readable());
    server.send(b"abc");
    assert!(is_readable());
    // A thread that waits clears the event, but the bytes are still there.
    transport.wait(Interest::Receive, None).unwrap();
    for _ in 0..3 {
        assert!(is_readable());
        assert_eq!(transport.recv(&mut [0], Wait::Until(None)).unwrap(), 1);
    }
    would_block(transport.recv(&mut [0], Wait::No));
    assert!(!is_readable());
    transport.close();
    assert!(is_readable());
}

/// Breaks a ring.
type Break = fn(&mut Server);

#[test]
fn errors_of_the_ring_are_sources() {
    let breaks: [(Break, RingError); 4] = [
        (
            |server| server.page.store(Field::Producer(Ring::Replies), 9999, Ordering::Relaxed),
            RingError::Indices { ring: Ring::Replies, consumer: 0, producer: 9999 },
        ),
        (
            |server| server.page.store(Field::Connection, 9, Ordering::Relaxed),
            RingError::Connection { value: 9 },
        ),
        (
            |server| server.page.store(Field::Connection, 1, Ordering::Relaxed),
            RingError::Reconnecting,
        ),
        (
            |server| server.ring.give_up(ServerError::Protocol),
            RingError::GivenUp(ServerError::Protocol),
        ),
    ];
    for (do_break, expected) in breaks {
        let (endpoint, mut server) = pair(Features::ERROR);
        let transport = endpoint.connect().unwrap();
        would_block(transport.recv(&mut [0], Wait::No));
        do_break(&mut server);
        server.channel.notify().unwrap();
        for _ in 0..2 {
            let error = transport.recv(&mut [0; 9], Wait::Until(None)).unwrap_err();
            assert_eq!(ring_error(&error), expected);
            assert_eq!(ring_error(&transport.send(b"x").unwrap_err()), expected);
            let waited = transport.wait(Interest::Receive, None).unwrap_err();
            assert_eq!(ring_error(&waited), expected);
        }
    }
}

#[test]
fn connecting_again_resets_the_ring_if_xenstored_offers_it() {
    let (endpoint, mut server) = pair(Features::RECONNECTION);
    let first = endpoint.connect().unwrap();
    assert_eq!(first.send(b"old").unwrap(), Sent::Bytes(3));
    let second = endpoint.connect().unwrap();
    assert_eq!(first.recv(&mut [0], Wait::Until(None)).unwrap(), 0);
    assert!(first.send(b"x").is_err());
    first.close();
    would_block(second.send(b"too early"));

    assert_eq!(server.ring.receive(&mut [0; 9]), Err(RingError::Reconnecting));
    server.ring.reset();
    assert_eq!(second.send(b"new").unwrap(), Sent::Bytes(3));
    assert_eq!(server.receive(), 3);
}

#[test]
fn sender_waits_until_xenstored_has_reset_the_ring() {
    let (endpoint, mut server) = pair(Features::RECONNECTION);
    endpoint.connect().unwrap();
    let transport = endpoint.connect().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while transport.send(b"request").is_err() {
                transport.wait(Interest::Both, None).unwrap();
            }
        });
        server.channel.wait(None).unwrap();
        server.ring.reset();
        server.channel.notify().unwrap();
        sender.join().unwrap();
    });
    assert_eq!(server.receive(), 7);
}

#[test]
fn connecting_again_fails_if_xenstored_does_not_offer_it() {
    let (endpoint, mut server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    let error = endpoint.connect().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert_eq!(ring_error(&error), RingError::NotOffered);
    // The previous connection continues.
    assert_eq!(transport.send(b"x").unwrap(), Sent::Bytes(1));
    assert_eq!(server.receive(), 1);
}

#[test]
fn ring_that_the_other_end_resets_is_not_asked_for_again() {
    let (endpoint, mut server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    assert_eq!(transport.send(b"old").unwrap(), Sent::Bytes(3));
    server.page.store(Field::Connection, 1, Ordering::Relaxed);
    let error = transport.recv(&mut [0], Wait::No).unwrap_err();
    assert_eq!(ring_error(&error), RingError::Reconnecting);
    let transport = endpoint.connect().unwrap();
    would_block(transport.send(b"too early"));
    server.ring.reset();
    assert_eq!(transport.send(b"new!").unwrap(), Sent::Bytes(4));
    assert_eq!(server.receive(), 4);
}

#[test]
fn bytes_precede_the_failure_of_the_channel() {
    let (endpoint, mut server) = pair(Features::NONE);
    let transport = endpoint.connect().unwrap();
    server.send(b"last");
    drop(server);
    assert_eq!(transport.recv(&mut [0; 9], Wait::Until(None)).unwrap(), 4);
    for wait in [Wait::No, Wait::Until(None), Wait::UntilWoken(None)] {
        let error = transport.recv(&mut [0; 9], wait).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
    assert!(transport.send(b"x").is_err());
}

/// A channel that calls a function at the start of each wait.
struct BeforeWait<F>(MemoryChannel, F);

impl<F> fmt::Debug for BeforeWait<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<F: Fn() + Send + Sync> EventChannel for BeforeWait<F> {
    fn notify(&self) -> io::Result<()> {
        self.0.notify()
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        (self.1)();
        self.0.wait(deadline)
    }

    fn clear(&self) -> io::Result<()> {
        self.0.clear()
    }

    fn raise(&self) {
        self.0.raise();
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        self.0.fd()
    }
}

/// Connects to a server that sends `bytes` while the transport waits, with or without an event.
fn connect_to_sender(
    bytes: &'static [u8],
    with_event: bool,
) -> RingTransport<Arc<RingPage>, impl EventChannel> {
    let page = Arc::new(RingPage::new());
    let (ours, theirs) = MemoryChannel::pair();
    let server = Mutex::new(RingServer::new(page.clone(), Features::NONE).unwrap());
    let send = move || {
        server.lock().unwrap().send(bytes).unwrap();
        if with_event {
            theirs.notify().unwrap();
        }
    };
    RingEndpoint::new(page, BeforeWait(ours, send), "a ring").connect().unwrap()
}

#[test]
fn receive_looks_once_more_at_its_deadline() {
    let transport = connect_to_sender(b"lost", false);
    let deadline = Instant::now() + Duration::from_millis(5);
    assert_eq!(transport.recv(&mut [0; 9], Wait::Until(Some(deadline))).unwrap(), 4);
}

#[cfg(unix)]
#[test]
#[cfg_attr(miri, ignore = "Miri does not know poll(2)")]
fn descriptor_is_readable_after_a_receive_that_leaves_bytes() {
    let transport = connect_to_sender(b"abc", true);
    let fd = transport.fd().unwrap();
    let is_readable =
        || crate::sys::poll([(fd, libc::POLLIN)], Some(Instant::now())).unwrap() != [0];
    would_block(transport.recv(&mut [0], Wait::No));
    assert!(!is_readable());
    // The wait clears the event.
    assert_eq!(transport.recv(&mut [0; 2], Wait::Until(None)).unwrap(), 2);
    assert!(is_readable());
    assert_eq!(transport.recv(&mut [0; 2], Wait::No).unwrap(), 1);
}

#[test]
fn panic_of_a_channel_leaves_no_thread_waiting() {
    let (ours, _theirs) = MemoryChannel::pair();
    let channel = BeforeWait(ours, || panic!("a panic of the channel"));
    let endpoint = RingEndpoint::new(Arc::new(RingPage::new()), channel, "a ring");
    let transport = endpoint.connect().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let receiver = scope.spawn(|| transport.recv(&mut [0], Wait::Until(None)));
            assert!(receiver.join().is_err());
        }
    });
    would_block(transport.recv(&mut [0], Wait::No));
}
