//! A program without an operating system that uses as much of xs-proto as its features say. `measure`
//! in this directory compares the sizes. The program is never run.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
#[cfg(feature = "ring")]
use core::{hint::black_box, ptr};

#[cfg(feature = "ring")]
use xs_proto::ring::{RingClient, RingPage};
#[cfg(feature = "store")]
use xs_proto::{ClientConnection, Event, Limits, Path, Reply, Request, TxId};

/// An allocator that does nothing, since only the size of the code is measured.
struct NoHeap;

// SAFETY: the null pointer says that there is no memory, which is always allowed.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        core::hint::black_box(layout.size());
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: NoHeap = NoHeap;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The entry. The optimiser knows neither the page nor its content.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    #[cfg(feature = "ring")]
    {
        // SAFETY: the program is never run.
        let page: &'static RingPage = unsafe { &*black_box(ptr::dangling()) };
        let mut ring = RingClient::new(page);
        #[cfg(not(feature = "store"))]
        {
            let mut buf = [0; 64];
            let moved = [ring.send(black_box(&buf)), ring.receive(&mut buf)];
            let _ = black_box((moved, buf, ring.must_notify(), ring.reconnect()));
        }
        #[cfg(feature = "store")]
        use_store(&mut ring);
    }
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(feature = "store")]
fn use_store(ring: &mut RingClient<&'static RingPage>) {
    let Ok(path) = Path::new(black_box("data/key")) else { return };
    let mut connection = ClientConnection::new(Limits::default());
    let mut tx_id = TxId::NONE;
    let requests = [
        Request::TransactionStart,
        Request::Read(path),
        Request::Write { path, value: black_box(b"value") },
        Request::Directory(path),
        Request::Watch { path, token: black_box(b"token"), depth: None },
        Request::TransactionEnd { commit: true },
    ];
    let mut buf = [0; 256];
    for request in &requests {
        black_box(connection.submit(tx_id, request, ()).is_ok());
        let output = connection.take_output();
        let _ = black_box((ring.send(&output), ring.must_notify()));
        let Ok(len) = ring.receive(&mut buf) else { return };
        let mut input = &buf[..len];
        while let Ok(received) = connection.receive(input) {
            input = &input[received.consumed..];
            match received.event {
                Some(Event::Reply { reply: Reply::Transaction(id), .. }) => tx_id = id,
                Some(Event::Reply { reply, .. }) => {
                    black_box(reply);
                }
                Some(Event::Watch { path, token }) => {
                    black_box((path, token));
                }
                Some(_) => {}
                None => break,
            }
        }
    }
}
