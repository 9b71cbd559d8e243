//! Turns of connections, without threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use xs_proto::ring::{Field, Page, Ring, RingClient, RingError, RingPage, ServerError};
use xs_proto::{DomId, Features, Header, MessageType, ReqId, TxId};

use super::connection::{Connection, Turn};
use crate::mock::{Flavour, Xenstored};
use crate::ring::MemoryChannel;

const GUEST: DomId = DomId::new(5);

/// A guest, and its connection.
struct Guest {
    page: Arc<RingPage>,
    client: RingClient<Arc<RingPage>>,
    connection: Connection<Arc<RingPage>>,
    /// How often the guest was notified, and the connection asked for a turn.
    notified: Arc<AtomicUsize>,
    changed: Arc<AtomicUsize>,
}

impl Guest {
    fn new(xenstored: &Xenstored, domid: DomId, features: Features) -> Self {
        let page = Arc::new(RingPage::new());
        let (notified, changed) = (Arc::default(), Arc::default());
        let count = |counter: &Arc<AtomicUsize>| {
            let counter = counter.clone();
            move || {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        let notify = count(&notified);
        let connection =
            Connection::new(xenstored, domid, page.clone(), features, count(&changed), move || {
                notify();
                Ok(())
            });
        let client = RingClient::new(page.clone());
        Guest { page, client, connection: connection.unwrap(), notified, changed }
    }

    fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.client.send(bytes), Ok(bytes.len()));
    }

    /// Takes turns until nothing is left to do.
    fn serve(&mut self) {
        while self.connection.take_turn() == Turn::More {}
    }

    fn receive(&mut self) -> Result<Vec<u8>, RingError> {
        let mut buf = [0; 1024];
        self.client.receive(&mut buf).map(|len| buf[..len].to_vec())
    }

    /// Sends a request, and returns the payload of the last message that comes back.
    fn call(&mut self, msg_type: MessageType, payload: &[u8]) -> String {
        self.send(&request(msg_type, payload));
        self.serve();
        let (bytes, mut at, mut last) = (self.receive().unwrap(), 0, 0..0);
        while at < bytes.len() {
            let start = at + Header::LEN;
            at = start + Header::decode(bytes[at..start].first_chunk().unwrap()).len as usize;
            last = start..at;
        }
        bytes[last].escape_ascii().to_string()
    }

    /// Sets a watch, and receives its first event.
    fn watch(&mut self) {
        assert_eq!(self.call(MessageType::Watch, b"name\0token\0"), "name\\x00token\\x00");
    }

    fn error(&mut self) -> Option<RingError> {
        self.client.available().err()
    }
}

fn request(msg_type: MessageType, payload: &[u8]) -> Vec<u8> {
    let (req_id, len) = (ReqId(1), payload.len() as u32);
    let header = Header { msg_type: msg_type as u32, req_id, tx_id: TxId::NONE, len };
    [&header.encode(), payload].concat()
}

fn xenstored() -> Xenstored {
    let xenstored = Xenstored::new();
    xenstored.add_guest(GUEST);
    xenstored
}

#[test]
fn error_of_serving_a_broken_page_holds_that_of_the_ring() {
    let page = Arc::new(RingPage::new());
    page.store(Field::Connection, 9, Ordering::Relaxed);
    let (_ours, theirs) = MemoryChannel::pair();
    let error = xenstored().serve_ring(GUEST, page, theirs).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let held = error.get_ref().and_then(|error| error.downcast_ref());
    assert_eq!(held, Some(&RingError::Connection { value: 9 }));
}

#[test]
fn request_costs_one_notification_each_way() {
    let mut guest = Guest::new(&xenstored(), GUEST, Features::NONE);
    guest.serve();
    let notified = guest.notified.load(Ordering::Relaxed);
    assert_eq!(guest.call(MessageType::Read, b"name\0"), "guest-5");
    assert_eq!(guest.notified.load(Ordering::Relaxed), notified + 1);
}

#[test]
fn changes_of_other_clients_ask_for_a_turn() {
    let xenstored = xenstored();
    let mut guest = Guest::new(&xenstored, GUEST, Features::NONE);
    guest.watch();
    guest.serve();
    let changed = guest.changed.load(Ordering::Relaxed);
    xenstored.set("/local/domain/5/name", "new").unwrap();
    assert!(guest.changed.load(Ordering::Relaxed) > changed);
    guest.serve();
    assert!(guest.receive().unwrap().ends_with(b"name\0token\0"));
}

/// Breaks the ring of a guest.
type Break = fn(&mut Guest);

#[test]
fn guest_that_breaks_its_ring_loses_its_own_connection() {
    let xenstored = xenstored();
    let other = DomId::new(7);
    xenstored.add_guest(other);
    let breaks: [(Break, ServerError); 3] = [
        (
            |guest| {
                guest.page.store(Field::Producer(Ring::Requests), 5000, Ordering::Relaxed);
            },
            ServerError::RingIndex,
        ),
        (|guest| guest.page.store(Field::Connection, 77, Ordering::Relaxed), ServerError::Protocol),
        (
            // A header that announces a payload of 4 GiB.
            |guest| guest.send(&[0xff; Header::LEN]),
            ServerError::Protocol,
        ),
    ];
    for (do_break, error) in breaks {
        let mut neighbour = Guest::new(&xenstored, other, Features::ERROR);
        let mut guest = Guest::new(&xenstored, GUEST, Features::ERROR);
        guest.watch();
        assert_eq!(xenstored.watches(GUEST).len(), 1);
        do_break(&mut guest);
        guest.serve();
        assert_eq!(xenstored.watches(GUEST).len(), 0, "{error}");
        assert_eq!(xenstored.connections(GUEST).len(), 0, "{error}");
        let reported = guest.page.load(Field::Error, Ordering::Relaxed);
        assert_eq!(ServerError::from_number(reported), Some(error));
        // The daemon ignores the guest from now on.
        let notified = guest.notified.load(Ordering::Relaxed);
        guest.serve();
        assert_eq!(guest.notified.load(Ordering::Relaxed), notified);
        assert_eq!(neighbour.call(MessageType::Read, b"domid\0"), "7");
    }
}

#[test]
fn reset_ends_watches_and_discards_the_bytes_in_the_ring() {
    let xenstored = xenstored();
    let mut guest = Guest::new(&xenstored, GUEST, Features::RECONNECTION);
    guest.serve();
    guest.watch();
    guest.send(b"half of a mess");
    guest.serve();
    guest.send(b"age");
    guest.client.reconnect().unwrap();
    assert_eq!(guest.client.send(b"too early"), Ok(0));
    guest.serve();
    assert_eq!(xenstored.watches(GUEST).len(), 0);
    assert_eq!(guest.call(MessageType::Read, b"name\0"), "guest-5");
}

#[test]
fn broken_ring_can_be_reset_where_it_is_offered() {
    for features in [Features::RECONNECTION, Features::NONE] {
        let mut guest = Guest::new(&xenstored(), GUEST, features | Features::ERROR);
        assert_eq!(guest.error(), None);
        guest.page.store(Field::Producer(Ring::Requests), 5000, Ordering::Relaxed);
        guest.serve();
        assert_eq!(guest.error(), Some(RingError::GivenUp(ServerError::RingIndex)));
        if features == Features::RECONNECTION {
            guest.client.reconnect().unwrap();
            guest.serve();
            assert_eq!(guest.call(MessageType::Read, b"name\0"), "guest-5");
        } else {
            assert_eq!(guest.client.reconnect(), Err(RingError::NotOffered));
        }
    }
}

#[test]
fn reset_that_is_not_offered_breaks_the_ring() {
    let mut guest = Guest::new(&xenstored(), GUEST, Features::ERROR);
    guest.page.store(Field::Connection, 1, Ordering::Relaxed);
    guest.serve();
    let reported = guest.page.load(Field::Error, Ordering::Relaxed);
    assert_eq!(ServerError::from_number(reported), Some(ServerError::Protocol));
    guest.serve();
}

#[test]
fn released_domain_cannot_reset_its_ring() {
    let xenstored = xenstored();
    let mut guest = Guest::new(&xenstored, GUEST, Features::RECONNECTION);
    xenstored.release(GUEST);
    guest.client.reconnect().unwrap();
    assert_eq!(guest.connection.take_turn(), Turn::Gone);
    assert!(!xenstored.is_introduced(GUEST));
}

#[test]
fn closed_connections_are_reported_in_the_page() {
    let xenstored = xenstored();
    let mut guest = Guest::new(&xenstored, GUEST, Features::ERROR);
    assert_eq!(xenstored.disconnect(GUEST), 1);
    assert_eq!(guest.connection.take_turn(), Turn::Idle);
    assert_eq!(guest.error(), Some(RingError::GivenUp(ServerError::Communication)));
}

#[test]
fn connection_that_never_reads_holds_bounded_memory() {
    // The quota of a guest ends its events, and dom0 has no quota.
    for (domid, rounds, is_closed) in [(GUEST, 100, false), (DomId::DOM0, 4500, true)] {
        let xenstored = xenstored();
        let mut guest = Guest::new(&xenstored, domid, Features::ERROR);
        let root = format!("data/{}", "x".repeat(1500));
        let watch = [root.as_bytes(), b"\0", &b"t".repeat(2500), b"\0"].concat();
        let mut bytes = &request(MessageType::Watch, &watch)[..];
        while !bytes.is_empty() {
            bytes = &bytes[guest.client.send(bytes).unwrap()..];
            guest.serve();
        }
        assert_eq!(xenstored.watches(domid).len(), 1);
        for count in 0..rounds {
            // Each path differs, so that no two events are equal.
            let path = format!("/local/domain/{domid}/{root}/{count}");
            xenstored.seed(&format!("{path} [n0 r{domid}]")).unwrap();
            guest.serve();
            let held = guest.connection.held();
            assert!(held <= 1024 + (80 << 10), "{held}");
            if xenstored.connections(domid).is_empty() {
                break;
            }
        }
        assert_eq!(xenstored.connections(domid).is_empty(), is_closed);
        let closed = RingError::GivenUp(ServerError::Communication);
        assert_eq!(guest.error(), is_closed.then_some(closed));
    }
}

/// A page whose guest sends and takes without end, as fast as xenstored looks.
struct Flood(RingPage, AtomicU32);

impl Page for Flood {
    const SIZE: u32 = RingPage::SIZE;

    fn load(&self, field: Field, order: Ordering) -> u32 {
        match field {
            Field::Producer(Ring::Requests) => {
                self.0.load(Field::Consumer(Ring::Requests), order).wrapping_add(1024)
            }
            Field::Consumer(Ring::Replies) => self.0.load(Field::Producer(Ring::Replies), order),
            _ => self.0.load(field, order),
        }
    }

    fn store(&self, field: Field, value: u32, order: Ordering) {
        self.0.store(field, value, order);
    }

    fn read(&self, _: Ring, at: usize, buf: &mut [u8]) {
        // Requests of 32 bytes, which divide the ring.
        let request = request(MessageType::GetDomainPath, b"5\0_____________\0");
        assert_eq!(request.len(), 32);
        for (byte, at) in buf.iter_mut().zip(at..) {
            *byte = request[at % 32];
        }
        self.1.fetch_add(buf.len() as u32, Ordering::Relaxed);
    }

    fn write(&self, _: Ring, _: usize, _: &[u8]) {}
}

#[test]
fn turns_are_bounded_whatever_the_guest_sends() {
    let page = Arc::new(Flood(RingPage::new(), AtomicU32::new(0)));
    let page_of_guest = page.clone();
    let mut connection =
        Connection::new(&xenstored(), GUEST, page, Features::NONE, || {}, || Ok(())).unwrap();
    for turns in 1..5 {
        assert_eq!(connection.take_turn(), Turn::More);
        assert!(page_of_guest.1.load(Ordering::Relaxed) <= turns * (16 << 10));
    }
}

#[test]
fn flavours_offer_the_features_of_their_daemons() {
    let offered = |flavour| Xenstored::with_flavour(flavour).ring_features(GUEST).to_string();
    assert_eq!(offered(Flavour::C417), "none");
    assert_eq!(offered(Flavour::Ocaml417), "reconnection");
    let xenstored = xenstored();
    assert_eq!(
        xenstored.ring_features(GUEST).to_string(),
        "connection-error, watch-depth, any-domid"
    );
    let mut dom0 = Guest::new(&xenstored, DomId::DOM0, Features::NONE);
    xenstored.seed("/tool [n0 r6]").unwrap();
    assert_eq!(dom0.call(MessageType::SetFeature, b"6\x002\0"), "OK\\x00");
    assert_eq!(xenstored.ring_features(DomId::new(6)), Features::ERROR);
}
