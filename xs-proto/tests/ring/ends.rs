//! Connecting, features, reconnection from either side, and errors.

use std::sync::atomic::Ordering;

use xs_proto::Features;
use xs_proto::ring::{Field, Page, Ring, RingClient, RingError, RingPage, RingServer, ServerError};

const CONNECTED: u32 = 0;
const RECONNECT: u32 = 1;

fn set(page: &RingPage, field: Field, value: u32) {
    page.store(field, value, Ordering::SeqCst);
}

fn get(page: &RingPage, field: Field) -> u32 {
    page.load(field, Ordering::SeqCst)
}

#[test]
fn bytes_are_at_the_offsets_of_xs_wire_h() {
    let page = RingPage::new();
    let mut client = RingClient::new(&page);
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    assert_eq!(client.send(b"ab"), Ok(2));
    assert_eq!(server.send(b"c"), Ok(1));
    let mut bytes = [0; 2];
    page.read(Ring::Requests, 0, &mut bytes);
    assert_eq!(bytes, *b"ab");
    page.read(Ring::Replies, 0, &mut bytes);
    assert_eq!(bytes, *b"c\0");
    assert_eq!(get(&page, Field::Producer(Ring::Requests)), 2);
    assert_eq!(get(&page, Field::Producer(Ring::Replies)), 1);
    assert_eq!(get(&page, Field::Consumer(Ring::Requests)), 0);
}

#[test]
fn client_connects_when_the_page_says_so() {
    let page = RingPage::new();
    set(&page, Field::Connection, RECONNECT);
    let mut client = RingClient::new(&page);
    let mut buf = [0; 8];
    assert_eq!(client.send(b"a"), Ok(0));
    assert_eq!(client.receive(&mut buf), Ok(0));
    assert!(!client.is_connected() && !client.must_notify());
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    assert!(server.must_notify());
    assert_eq!(client.send(b"a"), Ok(1));
    assert!(client.is_connected() && client.must_notify() && !client.must_notify());
}

#[test]
fn server_takes_requests_that_were_sent_before_it_started() {
    let page = RingPage::new();
    set(&page, Field::Consumer(Ring::Requests), u32::MAX - 1);
    set(&page, Field::Producer(Ring::Requests), u32::MAX - 1);
    let mut client = RingClient::new(&page);
    assert_eq!(client.send(b"early"), Ok(5));
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    let mut buf = [0; 8];
    assert_eq!(server.receive(&mut buf), Ok(5));
    assert_eq!(buf[..5], *b"early");
    assert_eq!(get(&page, Field::Consumer(Ring::Requests)), 3);
}

#[test]
fn features_and_event_channel_are_read_from_the_page() {
    let page = RingPage::new();
    let client = RingClient::new(&page);
    assert_eq!((client.server_features(), client.event_channel()), (Features::NONE, None));
    RingServer::new(&page, Features::RECONNECTION | Features::ERROR).unwrap();
    set(&page, Field::EventChannel, 7);
    assert_eq!(
        (client.server_features(), client.event_channel()),
        (Features::from_bits(3), Some(7))
    );
}

#[test]
fn guest_reconnects_if_xenstored_offers_it() {
    let page = RingPage::new();
    RingServer::new(&page, Features::NONE).unwrap();
    let mut client = RingClient::new(&page);
    assert_eq!(client.send(b"lost"), Ok(4));
    assert_eq!(client.reconnect(), Err(RingError::NotOffered));
    assert_eq!(get(&page, Field::Connection), CONNECTED);

    let mut server = RingServer::new(&page, Features::RECONNECTION).unwrap();
    server.send(b"lost too").unwrap();
    _ = (client.must_notify(), server.must_notify());
    assert_eq!(client.reconnect(), Ok(()));
    assert!(client.must_notify());
    assert_eq!(client.send(b"too early"), Ok(0));
    let mut buf = [0; 8];
    assert_eq!(server.receive(&mut buf), Err(RingError::Reconnecting));
    assert_eq!(server.send(b"late"), Err(RingError::Reconnecting));
    assert!(!server.must_notify());

    server.reset();
    assert!(server.must_notify());
    assert_eq!(client.receive(&mut buf), Ok(0));
    assert_eq!(client.send(b"new"), Ok(3));
    assert_eq!(server.receive(&mut buf), Ok(3));
    assert_eq!(buf[..3], *b"new");
    assert_eq!(get(&page, Field::ServerFeatures), 1);
}

#[test]
fn guest_learns_that_the_other_side_reconnects() {
    let page = RingPage::new();
    let mut server = RingServer::new(&page, Features::RECONNECTION).unwrap();
    let mut client = RingClient::new(&page);
    client.send(b"lost").unwrap();
    set(&page, Field::Connection, RECONNECT);
    assert_eq!(client.send(b"a"), Err(RingError::Reconnecting));
    server.reset();
    // The state of the connection is lost, so the caller has to start over.
    assert_eq!(client.send(b"a"), Err(RingError::Reconnecting));
    client.restart();
    assert_eq!(client.send(b"a"), Ok(1));
    assert!(client.is_connected());
}

#[test]
fn errors_reach_the_guest_if_they_are_offered() {
    for (error, number) in [
        (ServerError::Communication, 1),
        (ServerError::RingIndex, 2),
        (ServerError::Protocol, 3),
        (ServerError::Unknown(4), 4),
    ] {
        let page = RingPage::new();
        let mut server = RingServer::new(&page, Features::ERROR).unwrap();
        let mut client = RingClient::new(&page);
        assert_eq!(client.send(b"a"), Ok(1));
        _ = server.must_notify();
        server.give_up(error);
        assert!(server.must_notify());
        assert_eq!(get(&page, Field::Error), number);
        assert_eq!(client.receive(&mut [0; 8]), Err(RingError::GivenUp(error)));
        assert_eq!(server.receive(&mut [0; 8]), Err(RingError::GivenUp(error)));
        server.reset();
        client.restart();
        assert_eq!(client.send(b"a"), Ok(1));
        assert_eq!(ServerError::from_number(number).map(ServerError::number), Some(number));
    }
}

#[test]
fn error_field_is_ignored_unless_it_is_offered() {
    let page = RingPage::new();
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    _ = server.must_notify();
    server.give_up(ServerError::Protocol);
    assert_eq!(get(&page, Field::Error), 0);
    assert!(!server.must_notify());
    set(&page, Field::Error, 1);
    assert_eq!(RingClient::new(&page).send(b"a"), Ok(1));
}

#[test]
fn undefined_states_of_the_connection_are_errors() {
    let page = RingPage::new();
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    let mut connected = RingClient::new(&page);
    let mut unconnected = RingClient::new(&page);
    connected.send(b"a").unwrap();
    set(&page, Field::Connection, 2);
    let error = RingError::Connection { value: 2 };
    assert_eq!(connected.send(b"a"), Err(error));
    assert_eq!(unconnected.send(b"a"), Err(error));
    assert_eq!(server.send(b"a"), Err(error));
    set(&page, Field::Connection, CONNECTED);
    assert_eq!(connected.send(b"a"), Err(error), "errors last");
}

#[test]
fn errors_name_the_ring_and_the_cause() {
    let broken = RingError::Indices { ring: Ring::Replies, consumer: 1, producer: 2000 };
    assert_eq!(
        broken.to_string(),
        "the other end has broken the ring of replies: consumer 1, producer 2000"
    );
    assert_eq!(
        RingError::GivenUp(ServerError::RingIndex).to_string(),
        "xenstored has given up the ring: the guest has set an invalid index"
    );
}

#[test]
fn looking_at_the_rings_moves_nothing() {
    let page = RingPage::new();
    set(&page, Field::Connection, RECONNECT);
    let mut client = RingClient::new(&page);
    assert_eq!((client.room(), client.available()), (Ok(0), Ok(0)));
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    assert_eq!((client.room(), client.available()), (Ok(1024), Ok(0)));
    assert_eq!(client.send(b"ab"), Ok(2));
    assert_eq!(server.send(b"reply"), Ok(5));
    assert!(client.must_notify());
    for _ in 0..2 {
        assert_eq!((client.room(), client.available()), (Ok(1022), Ok(5)));
        assert!(!client.must_notify());
    }
    assert_eq!(client.receive(&mut [0; 3]), Ok(3));
    assert_eq!(client.available(), Ok(2));

    set(&page, Field::Producer(Ring::Replies), 5000);
    let broken = client.available().unwrap_err();
    assert!(matches!(broken, RingError::Indices { .. }));
    assert_eq!(client.room(), Err(broken));
    assert_eq!(client.send(b"x"), Err(broken));
}

#[test]
fn server_that_has_given_up_sees_that_the_guest_asks_again() {
    let page = RingPage::new();
    let mut server = RingServer::new(&page, Features::RECONNECTION).unwrap();
    let mut client = RingClient::new(&page);
    server.give_up(ServerError::Protocol);
    assert!(!server.is_reconnecting());
    client.reconnect().unwrap();
    assert!(server.is_reconnecting());
    server.reset();
    assert!(!server.is_reconnecting());
    assert_eq!(client.send(b"a"), Ok(1));
}
