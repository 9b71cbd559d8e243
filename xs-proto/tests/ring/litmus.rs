//! Both ends on two processors, over a real page.
//!
//! The models in `tests/ring-models` show every outcome but one, load buffering: the consumer's load of
//! a byte takes place after its store of the index, and finds the byte that the producer has written
//! in the next round. The orderings forbid it by the rules of the language: the load precedes the
//! `Release` store in its thread, the producer's `Acquire` load of that index precedes its store of the
//! byte, and a load never returns a value whose store happens after it. No tool executes a store
//! before an earlier load, so that only a processor can contradict. This test keeps the ring full, so
//! that the producer writes over each byte as soon as it may, and gives each byte a value that differs
//! from those in the same place in the rounds before and after. On x86, which never runs stores before
//! loads, it can fail only if the compiler has reordered them; on Arm also if the processor has.

use std::sync::Arc;
use std::thread;

use xs_proto::Features;
use xs_proto::ring::{RingClient, RingPage, RingServer};

/// How many bytes pass in each direction.
const BYTES: usize = if cfg!(miri) { 2_000 } else { 1_000_000 };

/// The byte at a position. Those at distances of 1,024 differ.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 10).wrapping_mul(37)) as u8
}

/// Sends the bytes from position `at`, as many as `send` takes.
fn send_some(at: &mut usize, mut send: impl FnMut(&[u8]) -> usize) {
    let mut buf = [0; 300];
    let len = buf.len().min(BYTES - *at);
    for (offset, to) in buf[..len].iter_mut().enumerate() {
        *to = byte(*at + offset);
    }
    *at += send(&buf[..len]);
}

/// Receives bytes, in pieces of different lengths, and checks them.
fn receive_some(at: &mut usize, mut receive: impl FnMut(&mut [u8]) -> usize) {
    let mut buf = [0; 1024];
    let len = receive(&mut buf[..1 + *at % 1023]);
    for (offset, found) in buf[..len].iter().enumerate() {
        assert_eq!(*found, byte(*at + offset), "at {}", *at + offset);
    }
    *at += len;
}

#[test]
fn bytes_of_the_next_round_are_never_read_early() {
    let page = Arc::new(RingPage::new());
    let mut server = RingServer::new(page.clone(), Features::NONE).unwrap();
    let echo = thread::spawn(move || {
        let (mut sent, mut received) = (0, 0);
        while sent < BYTES || received < BYTES {
            receive_some(&mut received, |buf| server.receive(buf).unwrap());
            send_some(&mut sent, |bytes| server.send(bytes).unwrap());
            thread::yield_now();
        }
    });
    let mut client = RingClient::new(page);
    let (mut sent, mut received) = (0, 0);
    while sent < BYTES || received < BYTES {
        send_some(&mut sent, |bytes| client.send(bytes).unwrap());
        receive_some(&mut received, |buf| client.receive(buf).unwrap());
        thread::yield_now();
    }
    echo.join().unwrap();
}
