//! Another end that writes anything to the page.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use xs_proto::Features;
use xs_proto::ring::{Field, Page, Ring, RingClient, RingError, RingPage, RingServer};

fn set(page: &RingPage, field: Field, value: u32) {
    page.store(field, value, Ordering::SeqCst);
}

#[test]
fn impossible_indices_are_rejected_at_the_start() {
    let page = RingPage::new();
    set(&page, Field::Producer(Ring::Replies), 1025);
    let error = RingError::Indices { ring: Ring::Replies, consumer: 0, producer: 1025 };
    assert_eq!(RingClient::new(&page).receive(&mut [0; 8]), Err(error));
    assert_eq!(RingServer::new(&page, Features::NONE).unwrap_err(), error);
}

#[test]
fn producers_that_jump_or_run_backwards_are_rejected() {
    for (first, then) in [(0, 1025), (100, 99), (100, 100_u32.wrapping_sub(2000)), (0, u32::MAX)] {
        let page = RingPage::new();
        let mut client = RingClient::new(&page);
        set(&page, Field::Producer(Ring::Replies), first);
        // Some of the bytes stay in the ring.
        assert_eq!(client.receive(&mut [0; 50]), Ok((first as usize).min(50)));
        set(&page, Field::Producer(Ring::Replies), then);
        let error =
            RingError::Indices { ring: Ring::Replies, consumer: first.min(50), producer: then };
        assert_eq!(client.receive(&mut [0; 50]), Err(error));
        assert_eq!(client.send(b"a"), Err(error), "errors last");
    }
}

#[test]
fn consumers_that_jump_or_run_backwards_are_rejected() {
    for (first, then) in [(0, 101), (60, 59), (60, u32::MAX), (100, 101)] {
        let page = RingPage::new();
        let mut client = RingClient::new(&page);
        assert_eq!(client.send(&[0; 100]), Ok(100));
        set(&page, Field::Consumer(Ring::Requests), first);
        assert_eq!(client.send(&[]), Ok(0));
        set(&page, Field::Consumer(Ring::Requests), then);
        let error = RingError::Indices { ring: Ring::Requests, consumer: then, producer: 100 };
        assert_eq!(client.send(b"a"), Err(error));
    }
}

#[test]
fn indices_of_this_end_are_not_read_again() {
    let page = RingPage::new();
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    let mut client = RingClient::new(&page);
    assert_eq!(client.send(b"one"), Ok(3));
    set(&page, Field::Consumer(Ring::Requests), 2);
    set(&page, Field::Producer(Ring::Replies), 9);
    let mut buf = [0; 8];
    assert_eq!(server.receive(&mut buf), Ok(3));
    assert_eq!(server.send(b"two"), Ok(3));
    assert_eq!(page.load(Field::Consumer(Ring::Requests), Ordering::Relaxed), 3);
    assert_eq!(page.load(Field::Producer(Ring::Replies), Ordering::Relaxed), 3);
}

#[derive(Clone, Debug)]
enum Action {
    Send(usize),
    Receive(usize),
    Restart,
    Reconnect,
    Set(usize, u32),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let near = prop_oneof![any::<u32>(), 0..5_u32, 1020..1030_u32, u32::MAX - 3..=u32::MAX];
    let action = prop_oneof![
        (0..3000_usize).prop_map(Action::Send),
        (0..3000_usize).prop_map(Action::Receive),
        Just(Action::Restart),
        Just(Action::Reconnect),
        (0..8_usize, near).prop_map(|(field, value)| Action::Set(field, value)),
    ];
    prop::collection::vec(action, 0..60)
}

const FIELDS: [Field; 8] = [
    Field::Consumer(Ring::Requests),
    Field::Producer(Ring::Requests),
    Field::Consumer(Ring::Replies),
    Field::Producer(Ring::Replies),
    Field::ServerFeatures,
    Field::Connection,
    Field::Error,
    Field::EventChannel,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 1024 }, ..ProptestConfig::default() })]

    /// The ends neither panic nor move more than the ring holds, and keep to an error.
    #[test]
    fn ends_survive_whatever_is_written_to_the_page(actions in actions()) {
        let page = RingPage::new();
        let mut client = RingClient::new(&page);
        let mut server = RingServer::new(&page, Features::RECONNECTION | Features::ERROR).unwrap();
        let (mut client_error, mut server_error) = (None, None);
        for action in actions {
            match action {
                Action::Set(field, value) => set(&page, FIELDS[field], value),
                Action::Restart => {
                    client.restart();
                    server.reset();
                    (client_error, server_error) = (None, None);
                }
                Action::Reconnect => {
                    if client.reconnect().is_ok() {
                        client_error = None;
                    }
                }
                Action::Send(len) => {
                    let bytes = vec![7; len];
                    check(client.send(&bytes), len, &mut client_error)?;
                    check(server.send(&bytes), len, &mut server_error)?;
                }
                Action::Receive(len) => {
                    let mut buf = vec![0; len];
                    check(client.receive(&mut buf), len, &mut client_error)?;
                    check(server.receive(&mut buf), len, &mut server_error)?;
                }
            }
        }
    }
}

fn check(
    result: Result<usize, RingError>,
    len: usize,
    known: &mut Option<RingError>,
) -> Result<(), TestCaseError> {
    match result {
        Ok(moved) => {
            prop_assert!(moved <= len.min(1024));
            prop_assert_eq!(*known, None);
        }
        Err(error) => prop_assert_eq!(*known.get_or_insert(error), error),
    }
    Ok(())
}
