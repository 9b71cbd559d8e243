//! All interleavings of both ends of a small ring, with the memory model of loom.
//!
//! The ends are those of xs-proto. Only the page is another one: its bytes are cells, in which loom
//! finds any access that is not ordered with respect to a write, and its rings are small, so that
//! they wrap around and fill up with a few bytes. `weaken` in this directory shows that each ordering
//! of the ends is needed.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use xs_proto::Features;
use xs_proto::ring::{Field, Page, Ring, RingClient, RingError, RingServer};

/// A page with rings of `SIZE` bytes.
struct Model<const SIZE: usize> {
    rings: [[UnsafeCell<u8>; SIZE]; 2],
    fields: [AtomicU32; 8],
}

impl<const SIZE: usize> Model<SIZE> {
    /// Creates a page whose rings are empty, with all indices at `start`.
    fn new(start: u32) -> Self {
        let values = [start, start, start, start, Features::RECONNECTION.bits(), 0, 0, 0];
        Model {
            rings: [(); 2].map(|()| [(); SIZE].map(|()| UnsafeCell::new(0))),
            fields: values.map(AtomicU32::new),
        }
    }

    fn field(&self, field: Field) -> &AtomicU32 {
        &self.fields[match field {
            Field::Consumer(Ring::Requests) => 0,
            Field::Producer(Ring::Requests) => 1,
            Field::Consumer(Ring::Replies) => 2,
            Field::Producer(Ring::Replies) => 3,
            Field::ServerFeatures => 4,
            Field::Connection => 5,
            Field::Error => 6,
            Field::EventChannel => 7,
        }]
    }
}

impl<const SIZE: usize> Page for Model<SIZE> {
    const SIZE: u32 = SIZE as u32;

    fn load(&self, field: Field, order: Ordering) -> u32 {
        self.field(field).load(order)
    }

    fn store(&self, field: Field, value: u32, order: Ordering) {
        self.field(field).store(value, order);
    }

    fn read(&self, ring: Ring, at: usize, buf: &mut [u8]) {
        for (byte, cell) in buf.iter_mut().zip(&self.rings[ring as usize][at..]) {
            // SAFETY: loom fails the model if another thread writes at the same time.
            *byte = cell.with(|cell| unsafe { *cell });
        }
    }

    fn write(&self, ring: Ring, at: usize, bytes: &[u8]) {
        for (byte, cell) in bytes.iter().zip(&self.rings[ring as usize][at..]) {
            // SAFETY: loom fails the model if another thread accesses the cell at the same time.
            cell.with_mut(|cell| unsafe { *cell = *byte });
        }
    }
}

/// Both ends of an event channel.
///
/// An event stays until it is taken, as the pending bit of an event channel does. Loom fails the
/// model if both ends wait.
struct Shared<const SIZE: usize> {
    page: Model<SIZE>,
    to_client: Notify,
    to_server: Notify,
}

/// Runs a model with both ends of one page.
fn model<const SIZE: usize>(
    start: u32,
    client: impl Fn(&Shared<SIZE>) + Send + Sync + 'static,
    server: impl Fn(&Shared<SIZE>) + Send + Sync + 'static,
) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    loom::model(move || {
        let shared = Arc::new(Shared::<SIZE> {
            page: Model::new(start),
            to_client: Notify::new(),
            to_server: Notify::new(),
        });
        let (server, theirs) = (server.clone(), shared.clone());
        let thread = thread::spawn(move || server(&theirs));
        client(&shared);
        thread.join().unwrap();
    });
}

/// The offsets at which a ring or its indices wrap around, and those between them.
fn starts<const SIZE: usize>() -> impl Iterator<Item = u32> {
    let size = SIZE as u32;
    (0..size).chain((0..=size).map(|before| u32::MAX - before))
}

impl<const SIZE: usize> Shared<SIZE> {
    fn client_sends(&self, client: &mut RingClient<&Model<SIZE>>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = client.send(bytes).unwrap();
            bytes = &bytes[sent..];
            self.settle_client(client, sent);
        }
    }

    fn client_receives(&self, client: &mut RingClient<&Model<SIZE>>, bytes: &[u8]) {
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            let mut buf = [0; 4];
            let len = client.receive(&mut buf).unwrap();
            received.extend_from_slice(&buf[..len]);
            self.settle_client(client, len);
        }
        assert_eq!(received, bytes);
    }

    fn settle_client(&self, client: &mut RingClient<&Model<SIZE>>, moved: usize) {
        if client.must_notify() {
            self.to_server.notify();
        }
        if moved == 0 {
            self.to_client.wait();
        }
    }

    fn server_sends(&self, server: &mut RingServer<&Model<SIZE>>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = server.send(bytes).unwrap();
            bytes = &bytes[sent..];
            self.settle_server(server, sent);
        }
    }

    fn server_receives(&self, server: &mut RingServer<&Model<SIZE>>, bytes: &[u8]) {
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            let mut buf = [0; 4];
            let len = server.receive(&mut buf).unwrap();
            received.extend_from_slice(&buf[..len]);
            self.settle_server(server, len);
        }
        assert_eq!(received, bytes);
    }

    fn settle_server(&self, server: &mut RingServer<&Model<SIZE>>, moved: usize) {
        if server.must_notify() {
            self.to_client.notify();
        }
        if moved == 0 {
            self.to_server.wait();
        }
    }
}

#[test]
fn requests_arrive_in_full() {
    for start in starts::<2>() {
        model::<2>(
            start,
            |shared| shared.client_sends(&mut RingClient::new(&shared.page), b"abc"),
            |shared| {
                let mut server = RingServer::new(&shared.page, Features::NONE).unwrap();
                shared.server_receives(&mut server, b"abc");
            },
        );
    }
}

#[test]
fn replies_arrive_in_full() {
    for start in starts::<2>() {
        model::<2>(
            start,
            |shared| shared.client_receives(&mut RingClient::new(&shared.page), b"abc"),
            |shared| {
                let mut server = RingServer::new(&shared.page, Features::NONE).unwrap();
                shared.server_sends(&mut server, b"abc");
            },
        );
    }
}

#[test]
fn replies_follow_requests_through_one_channel() {
    for start in [0, u32::MAX] {
        model::<1>(
            start,
            |shared| {
                let mut client = RingClient::new(&shared.page);
                shared.client_sends(&mut client, b"a");
                shared.client_receives(&mut client, b"bc");
            },
            |shared| {
                let mut server = RingServer::new(&shared.page, Features::NONE).unwrap();
                shared.server_receives(&mut server, b"a");
                shared.server_sends(&mut server, b"bc");
            },
        );
    }
}

#[test]
fn reconnection_separates_the_old_bytes_from_the_new() {
    model::<2>(
        u32::MAX,
        |shared| {
            let mut client = RingClient::new(&shared.page);
            // The server may take this byte or not.
            client.send(b"x").unwrap();
            client.reconnect().unwrap();
            shared.client_sends(&mut client, b"a");
        },
        |shared| {
            let mut server = RingServer::new(&shared.page, Features::RECONNECTION).unwrap();
            let (mut buf, mut was_reset) = ([0; 4], false);
            loop {
                let moved = match server.receive(&mut buf) {
                    Ok(moved) => moved,
                    Err(RingError::Reconnecting) => {
                        server.reset();
                        was_reset = true;
                        shared.settle_server(&mut server, 1);
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                assert!(!(was_reset && buf[..moved].contains(&b'x')), "an old byte");
                shared.settle_server(&mut server, moved);
                if buf[..moved].contains(&b'a') {
                    break;
                }
            }
        },
    );
}
