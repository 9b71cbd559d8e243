//! Prints how much memory the guest's end needs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use xs_proto::ring::{RingClient, RingPage};
use xs_proto::{ClientConnection, Event, Limits, Path, Reply, Request, ServerConnection, TxId};

/// Counts the bytes in use, and the most so far.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    println!("RingClient: {} bytes", size_of::<RingClient<&RingPage>>());
    println!("ClientConnection: {} bytes", size_of::<ClientConnection<u32>>());
    for (in_flight, len) in [(1, 100), (1, 4096), (16, 100), (16, 4096)] {
        let (now, most) = heap(in_flight, len);
        println!("{in_flight} requests, replies of {len} bytes: {most} bytes of heap, then {now}");
    }
}

/// Returns how many bytes of heap a connection has in the end, and at most, when some reads are in
/// flight whose replies arrive in pieces of 256 bytes.
fn heap(in_flight: u32, len: usize) -> (usize, usize) {
    let mut server = ServerConnection::new();
    let value = vec![0; len];
    let path = Path::new("data/key").expect("it is a path");
    // The server's part of the memory is not counted: the replies exist before the count starts.
    let replies = {
        let mut client = ClientConnection::new(Limits::default());
        for key in 0..in_flight {
            client.submit(TxId::NONE, &Request::Read(path), key).expect("there is room");
        }
        let mut input = &client.take_output()[..];
        while !input.is_empty() {
            let received = server.receive(input).expect("the client is right");
            let (consumed, header) = (received.consumed, received.event.map(|event| event.header));
            input = &input[consumed..];
            if let Some(header) = header {
                server.reply(header, &Reply::Value(value.as_slice().into())).expect("it fits");
            }
        }
        server.take_output().to_vec()
    };
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut client = ClientConnection::new(Limits::default());
    for key in 0..in_flight {
        client.submit(TxId::NONE, &Request::Read(path), key).expect("there is room");
    }
    drop(client.take_output());
    let mut answered = 0;
    for piece in replies.chunks(256) {
        let mut input = piece;
        while !input.is_empty() {
            let received = client.receive(input).expect("the server is right");
            input = &input[received.consumed..];
            answered += u32::from(matches!(received.event, Some(Event::Reply { .. })));
        }
    }
    assert_eq!(answered, in_flight);
    (NOW.load(Ordering::Relaxed) - before, MOST.load(Ordering::Relaxed) - before)
}
