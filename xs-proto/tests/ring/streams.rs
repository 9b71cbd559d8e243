//! Bytes of all lengths, at all offsets, in chunks of any size.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use xs_proto::Features;
use xs_proto::ring::{Field, Page, Ring, RingClient, RingError, RingPage, RingServer};

/// Returns a page whose rings are empty, with all indices at `start`.
fn page_at(start: u32) -> RingPage {
    let page = RingPage::new();
    for ring in [Ring::Requests, Ring::Replies] {
        page.store(Field::Consumer(ring), start, Ordering::Relaxed);
        page.store(Field::Producer(ring), start, Ordering::Relaxed);
    }
    page
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Moves `bytes` from one end to the other. The ends take turns, with chunks of the given sizes.
fn transfer(
    bytes: &[u8],
    mut send: impl FnMut(&[u8]) -> Result<usize, RingError>,
    mut receive: impl FnMut(&mut [u8]) -> Result<usize, RingError>,
    mut chunk: impl FnMut() -> usize,
) -> Vec<u8> {
    let (mut sent, mut received) = (0, Vec::new());
    while received.len() < bytes.len() {
        let len = chunk().min(bytes.len() - sent);
        sent += send(&bytes[sent..sent + len]).unwrap();
        let mut buf = vec![0; chunk()];
        let len = receive(&mut buf).unwrap();
        received.extend_from_slice(&buf[..len]);
        assert!(sent - received.len() <= 1024, "more than the ring holds");
    }
    received
}

#[test]
fn all_lengths_pass_at_all_wraps_each_way() {
    // The offsets at which a ring or an index wraps around, and their neighbours.
    let starts = [0, 1, 511, 1023, 1024, u32::MAX - 4095, u32::MAX - 1023, u32::MAX - 1, u32::MAX];
    let lengths: Vec<usize> = match cfg!(miri) {
        true => vec![0, 1, 15, 16, 1008, 1023, 1024, 1025, 2049, 4096],
        false => (0..=4096).collect(),
    };
    for start in starts {
        for &len in &lengths {
            let (page, bytes) = (page_at(start), pattern(len));
            let mut server = RingServer::new(&page, Features::NONE).unwrap();
            let mut client = RingClient::new(&page);
            let up = transfer(&bytes, |b| client.send(b), |b| server.receive(b), || 4096);
            assert!(up == bytes, "{len} bytes of requests from {start}");
            let down = transfer(&bytes, |b| server.send(b), |b| client.receive(b), || 4096);
            assert!(down == bytes, "{len} bytes of replies from {start}");
            for ring in [Ring::Requests, Ring::Replies] {
                let end = start.wrapping_add(len as u32);
                assert_eq!(page.load(Field::Producer(ring), Ordering::Relaxed), end);
                assert_eq!(page.load(Field::Consumer(ring), Ordering::Relaxed), end);
            }
        }
    }
}

#[test]
fn full_ring_takes_no_more() {
    let page = page_at(u32::MAX - 100);
    let mut client = RingClient::new(&page);
    assert_eq!(client.send(&[1; 2000]), Ok(1024));
    assert!(client.must_notify());
    assert_eq!(client.send(&[2; 1]), Ok(0));
    assert!(!client.must_notify());
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    assert_eq!(server.receive(&mut [0; 10]), Ok(10));
    assert!(server.must_notify());
    assert_eq!(client.send(&[2; 2000]), Ok(10));
}

#[test]
fn empty_calls_move_nothing() {
    let page = page_at(0);
    let mut client = RingClient::new(&page);
    assert_eq!(client.send(&[]), Ok(0));
    assert_eq!(client.receive(&mut []), Ok(0));
    assert!(!client.must_notify());
}

/// Two threads run the ends as two processors would, which shows torn and lost bytes on processors
/// that reorder accesses. The ends are modelled exhaustively elsewhere; this is the litmus test for
/// what a model cannot show, such as loads that are executed after later stores.
#[test]
fn threads_exchange_bytes_without_waiting() {
    let total = if cfg!(miri) { 3_000 } else { 300_000 };
    let page = page_at(u32::MAX - 5000);
    let mut server = RingServer::new(&page, Features::NONE).unwrap();
    std::thread::scope(|scope| {
        // The server echoes what it receives.
        scope.spawn(|| {
            let (mut buf, mut echoed) = ([0; 700], 0);
            while echoed < total {
                let len = server.receive(&mut buf).unwrap();
                let mut sent = 0;
                while sent < len {
                    sent += server.send(&buf[sent..len]).unwrap();
                    std::thread::yield_now();
                }
                echoed += len;
            }
        });
        let mut client = RingClient::new(&page);
        let (mut sent, mut received, mut buf) = (0_usize, 0_usize, [0; 900]);
        while received < total {
            let chunk: Vec<u8> = (sent..total.min(sent + 333)).map(|at| at as u8).collect();
            sent += client.send(&chunk).unwrap();
            let len = client.receive(&mut buf).unwrap();
            for (at, byte) in buf[..len].iter().enumerate() {
                assert_eq!(*byte, (received + at) as u8, "byte {}", received + at);
            }
            received += len;
            std::thread::yield_now();
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 512 }, ..ProptestConfig::default() })]

    #[test]
    fn chunks_of_any_size_arrive_in_order(
        start: u32,
        len in 0..5000_usize,
        chunks in prop::collection::vec(1..2000_usize, 1..20),
    ) {
        let (page, bytes) = (page_at(start), pattern(len));
        let mut server = RingServer::new(&page, Features::NONE).unwrap();
        let mut client = RingClient::new(&page);
        let mut sizes = chunks.iter().copied().cycle();
        let up = transfer(&bytes, |b| client.send(b), |b| server.receive(b), || sizes.next().unwrap());
        prop_assert!(up == bytes);
        let down = transfer(&bytes, |b| server.send(b), |b| client.receive(b), || sizes.next().unwrap());
        prop_assert!(down == bytes);
    }
}
