//! Rings that are reset, closed or corrupted, and events that are lost.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{io, thread};

use xs_client::{Client, DomId, Error, ErrorKind, EventKind, Failure, op};
use xs_proto::ring::{Field, Page, Ring, RingError, RingPage, ServerError};
use xs_tests::{HANG_TIMEOUT, SHORT_TIMEOUT};
use xs_transport::mock::{Flavour, Xenstored};
use xs_transport::ring::{EventChannel, MemoryChannel, RingEndpoint};

use crate::patient;

const GUEST: DomId = DomId::new(5);

/// An end of an event channel that loses some of the events that it sends.
#[derive(Clone, Debug)]
struct Losing {
    inner: Arc<MemoryChannel>,
    /// How many of the next events are lost.
    lost: Arc<AtomicUsize>,
}

impl EventChannel for Losing {
    fn notify(&self) -> io::Result<()> {
        let lose = |left: usize| left.checked_sub(1);
        match self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose) {
            Ok(_) => Ok(()),
            Err(_) => self.inner.notify(),
        }
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(deadline)
    }

    fn clear(&self) -> io::Result<()> {
        self.inner.clear()
    }

    fn raise(&self) {
        self.inner.raise();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.inner.fd()
    }
}

/// A guest whose page and events the test controls.
struct Guest {
    xenstored: Xenstored,
    page: Arc<RingPage>,
    endpoint: RingEndpoint<Arc<RingPage>, Losing>,
    /// How many of the next events to xenstored, and from it, are lost.
    lost: [Arc<AtomicUsize>; 2],
    /// Tells the guest to look at the page.
    notify: Losing,
}

impl Guest {
    fn new(flavour: Flavour) -> Self {
        let xenstored = Xenstored::with_flavour(flavour);
        xenstored.add_guest(GUEST);
        let page = Arc::new(RingPage::new());
        let (ours, theirs) = MemoryChannel::pair();
        let losing = |inner| Losing { inner: Arc::new(inner), lost: Arc::default() };
        let (ours, theirs) = (losing(ours), losing(theirs));
        let lost = [ours.lost.clone(), theirs.lost.clone()];
        let notify = theirs.clone();
        xenstored.serve_ring(GUEST, page.clone(), theirs).unwrap();
        let endpoint = RingEndpoint::new(page.clone(), ours, "the ring of a test");
        Guest { xenstored, page, endpoint, lost, notify }
    }

    fn client(&self) -> Client {
        patient().from_transport(self.endpoint.connect().unwrap())
    }

    /// Connects a client that connects again when it loses its connection.
    fn lasting_client(&self) -> Client {
        let endpoint = self.endpoint.clone();
        let connect = move |_| Ok(Box::new(endpoint.connect()?) as Box<_>);
        patient().reconnect(true).with_connector(connect).unwrap()
    }

    fn set(&self, field: Field, value: u32) {
        self.page.store(field, value, Ordering::SeqCst);
        self.notify.inner.notify().unwrap();
    }
}

/// Returns the error of the ring that ended a connection.
fn ring_error(error: &Error) -> RingError {
    let ErrorKind::Lost(Failure::Io(cause)) = error.kind() else { panic!("{error:?}") };
    *cause.get_ref().expect("it has a source").downcast_ref().expect("it is an error of a ring")
}

/// Breaks a ring.
type Break = fn(&Guest);

/// This shows only when the guest sends. All other faults show when it receives, and a reply that
/// follows could hide them.
const TAKEN: &str = "more requests are taken than there are";

const RESET: &str = "the other end resets the ring";

const BREAKS: [(&str, Break); 6] = [
    ("replies run backwards", |guest| guest.set(Field::Producer(Ring::Replies), u32::MAX / 2)),
    ("replies jump", |guest| {
        let produced = guest.page.load(Field::Producer(Ring::Replies), Ordering::SeqCst);
        guest.set(Field::Producer(Ring::Replies), produced.wrapping_add(1025));
    }),
    (TAKEN, |guest| {
        let taken = guest.page.load(Field::Consumer(Ring::Requests), Ordering::SeqCst);
        guest.set(Field::Consumer(Ring::Requests), taken.wrapping_add(1));
    }),
    ("the connection field is undefined", |guest| guest.set(Field::Connection, 1000)),
    (RESET, |guest| guest.set(Field::Connection, 1)),
    ("garbage arrives", |guest| {
        let ring = Ring::Replies;
        let produced = guest.page.load(Field::Producer(ring), Ordering::SeqCst);
        for at in 0..16 {
            guest.page.write(ring, (produced + at) as usize % 1024, &[0xee]);
        }
        guest.set(Field::Producer(ring), produced.wrapping_add(16));
    }),
];

#[test]
fn broken_rings_end_the_connection_for_all_threads() {
    for (what, do_break) in BREAKS {
        if what == RESET {
            // Nothing tells the guest that this daemon will not reset the ring.
            continue;
        }
        let guest = Guest::new(Flavour::default());
        let client = guest.client();
        let mut watch = client.watch("name").unwrap();
        watch.wait().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| watch.wait().unwrap_err());
            do_break(&guest);
            if what == TAKEN {
                assert!(client.read("name").is_err());
            }
            let error = waiter.join().unwrap();
            assert!(error.is_lost(), "{what}: {error}");
        });
    }
}

#[test]
fn clients_reconnect_where_the_ring_can_be_reset() {
    for (what, do_break) in BREAKS {
        let guest = Guest::new(Flavour::Ocaml417);
        let client = guest.lasting_client();
        let mut watch = client.watch("name").unwrap();
        watch.wait().unwrap();
        assert_eq!(client.read("name").unwrap(), b"guest-5");
        let before = guest.xenstored.connections(GUEST);
        do_break(&guest);
        if what == TAKEN {
            // The request may be lost with the old connection.
            let _ = client.read("name");
        }
        // The first event after a reconnection says that others may be missing.
        let event = watch.wait().unwrap();
        assert_eq!(event.kind, EventKind::Reconnected, "{what}");
        assert_eq!(client.read("name").unwrap(), b"guest-5", "{what}");
        let after = guest.xenstored.connections(GUEST);
        assert!(after.len() == 1 && after != before, "{what}: {after:?}");
        assert_eq!(guest.xenstored.watches(GUEST).len(), 1, "{what}");
    }
}

#[test]
fn clients_cannot_reconnect_where_the_ring_cannot_be_reset() {
    let guest = Guest::new(Flavour::default());
    let client = guest.lasting_client();
    client.read("name").unwrap();
    guest.xenstored.disconnect(GUEST);
    // The first request may be lost with the connection. Later ones time out, as the client tries to
    // connect again all the time.
    let client = client.with_timeout(SHORT_TIMEOUT);
    let _ = client.read("name");
    let error = client.read("name").unwrap_err();
    let ErrorKind::Unreachable(cause) = error.kind() else { panic!("{error:?}") };
    assert_eq!(cause.to_string(), RingError::NotOffered.to_string());
}

#[test]
fn error_field_reaches_the_caller() {
    let guest = Guest::new(Flavour::default());
    let client = guest.client();
    assert_eq!(client.read("name").unwrap(), b"guest-5");
    guest.xenstored.disconnect(GUEST);
    let error = client.read("name").unwrap_err();
    assert_eq!(ring_error(&error), RingError::GivenUp(ServerError::Communication));
    assert_eq!(error.io_kind(), io::ErrorKind::ConnectionReset);

    let guest = Guest::new(Flavour::default());
    let client = guest.client();
    client.read("name").unwrap();
    // Another program of the guest writes to the page.
    guest.page.store(Field::Producer(Ring::Requests), 1 << 20, Ordering::SeqCst);
    let error = client.read("name").err();
    // The client's own request has repaired the index, or xenstored has seen the wrong one.
    if let Some(error) = error {
        assert_eq!(ring_error(&error), RingError::GivenUp(ServerError::RingIndex));
    }
}

#[test]
fn clients_of_released_domains_learn_of_it() {
    for flavour in [Flavour::default(), Flavour::Ocaml417] {
        let guest = Guest::new(flavour);
        let Guest { xenstored, endpoint, notify, .. } = guest;
        // Only the thread that serves the ring has xenstored's end of the channel now.
        drop(notify);
        let client = patient().from_transport(endpoint.connect().unwrap());
        let mut watch = client.watch("name").unwrap();
        watch.wait().unwrap();
        xenstored.release(GUEST);
        assert!(watch.wait().unwrap_err().is_lost());
        assert!(client.read("name").unwrap_err().is_lost());
    }
}

#[test]
fn event_after_a_lost_one_delivers_both_requests() {
    let guest = Guest::new(Flavour::default());
    let client = guest.client();
    client.read("name").unwrap();
    guest.lost[0].store(1, Ordering::SeqCst);
    let first = client.start(&op::read("name")).unwrap();
    let second = client.start(&op::read("domid")).unwrap();
    assert_eq!(first.wait().unwrap(), b"guest-5");
    assert_eq!(second.wait().unwrap(), b"5");
}

#[test]
fn event_after_a_lost_one_delivers_both_replies() {
    let guest = Guest::new(Flavour::default());
    let client = guest.client();
    client.read("name").unwrap();
    guest.lost[1].store(1, Ordering::SeqCst);
    let first = client.start(&op::read("name")).unwrap();
    // The reply is in the ring by now, or soon.
    while guest.lost[1].load(Ordering::SeqCst) > 0 {
        thread::yield_now();
    }
    assert_eq!(client.read("domid").unwrap(), b"5");
    assert_eq!(first.wait().unwrap(), b"guest-5");
}

#[test]
fn reply_whose_event_is_lost_arrives_at_the_deadline() {
    let guest = Guest::new(Flavour::default());
    let client = guest.client();
    client.read("name").unwrap();
    for _ in 0..3 {
        guest.lost[1].store(usize::MAX, Ordering::SeqCst);
        // Long enough for xenstored, since a request that it has not handled times out.
        let late = client.with_timeout(10 * SHORT_TIMEOUT).read("name");
        match late {
            Ok(value) => assert_eq!(value, b"guest-5"),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::TimedOut), "{error}"),
        }
    }
    guest.lost[1].store(0, Ordering::SeqCst);
    assert_eq!(client.read("name").unwrap(), b"guest-5");
}

#[test]
fn connection_survives_a_request_whose_event_is_lost() {
    let guest = Guest::new(Flavour::default());
    let client = guest.client();
    client.read("name").unwrap();
    guest.lost[0].store(usize::MAX, Ordering::SeqCst);
    // xenstored may still be looking at the ring, because of an event before.
    if let Err(error) = client.with_timeout(SHORT_TIMEOUT).read("name") {
        assert!(matches!(error.kind(), ErrorKind::TimedOut), "{error}");
    }
    guest.lost[0].store(0, Ordering::SeqCst);
    assert_eq!(client.with_timeout(HANG_TIMEOUT).read("domid").unwrap(), b"5");
}
