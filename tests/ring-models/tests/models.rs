//! All interleavings of both ends of a small ring, with the memory model of loom.
//!
//! The ends are those of xs-proto. Only the page is another one: its bytes are cells, in which loom
//! finds any access that is not ordered with respect to a write, and its rings are small, so that
//! they wrap around and fill up with a few bytes.
//!
//! `weaken` in this directory replaces one ordering of the ends after the other by `Relaxed`, and prints
//! which models fail. Each of the ten is noticed:
//!
//! | ordering | noticed by |
//! |---|---|
//! | load and store of the indices | the models whose bytes arrive in full |
//! | load of the connection state by the guest, store by a reset | all models with a reset |
//! | store of the connection state by the guest | the models `…after_the_guest_has_finished` |
//! | loads of it by the server, when it starts, serves and has given up | one of these models each |
//!
//! Loom runs no store before an earlier load (load buffering): see `xs-proto/tests/ring/litmus.rs`.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use xs_proto::Features;
use xs_proto::ring::{Field, Page, Ring, RingClient, RingError, RingServer, ServerError};

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

/// The reaction of the server in [`old_replies_are_read_before_they_are_overwritten`] when the guest asks
/// for a reset.
type Reset = for<'a> fn(&'a Shared<2>, &mut RingServer<&'a Model<2>>);

/// The client reads a reply and asks for a reset. The server may then write over the bytes of that
/// reply, although it has not seen that the client has taken them: the state of the connection alone
/// says so.
fn old_replies_are_read_before_they_are_overwritten(reset: Reset) {
    model::<2>(
        0,
        |shared| {
            let mut client = RingClient::new(&shared.page);
            shared.client_receives(&mut client, b"r");
            client.reconnect().unwrap();
            assert!(client.must_notify());
            shared.to_server.notify();
            shared.client_receives(&mut client, b"s");
        },
        move |shared| {
            let mut server = RingServer::new(&shared.page, Features::RECONNECTION).unwrap();
            assert_eq!(server.send(b"r"), Ok(1));
            shared.settle_server(&mut server, 1);
            reset(shared, &mut server);
            assert_eq!(server.send(b"s"), Ok(1));
            shared.settle_server(&mut server, 1);
        },
    );
}

#[test]
fn server_that_serves_the_ring_resets_it_after_the_guest_has_finished() {
    old_replies_are_read_before_they_are_overwritten(|shared, server| {
        loop {
            match server.receive(&mut [0; 4]) {
                Ok(moved) => shared.settle_server(server, moved),
                Err(error) => break assert_eq!(error, RingError::Reconnecting),
            }
        }
        server.reset();
    });
}

#[test]
fn server_that_starts_anew_resets_the_ring_after_the_guest_has_finished() {
    old_replies_are_read_before_they_are_overwritten(|shared, server| {
        while shared.page.load(Field::Connection, Ordering::Relaxed) == 0 {
            shared.to_server.wait();
        }
        // The next server of the same page.
        *server = RingServer::new(&shared.page, Features::RECONNECTION).unwrap();
    });
}

#[test]
fn server_that_has_given_up_resets_the_ring_after_the_guest_has_finished() {
    old_replies_are_read_before_they_are_overwritten(|shared, server| {
        server.give_up(ServerError::Protocol);
        while !server.is_reconnecting() {
            shared.to_server.wait();
        }
        server.reset();
    });
}

#[test]
fn error_reaches_a_client_that_waits() {
    let features = Features::ERROR;
    model::<1>(
        0,
        |shared| {
            let mut client = RingClient::new(&shared.page);
            loop {
                match client.receive(&mut [0; 4]) {
                    Ok(moved) => shared.settle_client(&mut client, moved),
                    Err(error) => {
                        break assert_eq!(error, RingError::GivenUp(ServerError::RingIndex));
                    }
                }
            }
        },
        move |shared| {
            let mut server = RingServer::new(&shared.page, features).unwrap();
            shared.settle_server(&mut server, 1);
            server.give_up(ServerError::RingIndex);
            shared.settle_server(&mut server, 1);
        },
    );
}
