//! The shared page.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// The part of the page that a guest shares with xenstored: `struct xenstore_domain_interface` of
/// xs_wire.h.
///
/// The type consists of atomics, so that the other end may change it at any time. An embedder that
/// has mapped the page turns its address into a reference, which is the only step that is unsafe:
///
/// ```no_run
/// use xs_proto::ring::{RingClient, RingPage};
///
/// # fn map_page() -> *const RingPage { unimplemented!() }
/// let address: *const RingPage = map_page();
/// // SAFETY: the page stays mapped as long as the program runs, and is used through atomics only.
/// let page: &'static RingPage = unsafe { &*address };
/// let client = RingClient::new(page);
/// ```
#[repr(C)]
pub struct RingPage {
    requests: [AtomicU8; RING_SIZE],
    replies: [AtomicU8; RING_SIZE],
    request_consumer: AtomicU32,
    request_producer: AtomicU32,
    reply_consumer: AtomicU32,
    reply_producer: AtomicU32,
    server_features: AtomicU32,
    connection: AtomicU32,
    error: AtomicU32,
    event_channel: AtomicU32,
}

/// The size of each ring in bytes (XENSTORE_RING_SIZE).
const RING_SIZE: usize = 1024;

const _: () = {
    assert!(core::mem::offset_of!(RingPage, replies) == 1024);
    assert!(core::mem::offset_of!(RingPage, request_consumer) == 2048);
    assert!(core::mem::offset_of!(RingPage, reply_producer) == 2060);
    assert!(core::mem::offset_of!(RingPage, server_features) == 2064);
    assert!(core::mem::offset_of!(RingPage, event_channel) == 2076);
};

/// Access to the shared page for the ends of a ring.
///
/// [`RingPage`] implements it for a page in memory. Implement it for a page that has to be accessed
/// in another way, or to test an end with a smaller ring.
///
/// An end passes the memory ordering that it relies on. An implementation may use a stricter one.
pub trait Page {
    /// The size of each ring in bytes, a power of two.
    const SIZE: u32;

    /// Reads a field.
    fn load(&self, field: Field, order: Ordering) -> u32;

    /// Writes a field.
    fn store(&self, field: Field, value: u32, order: Ordering);

    /// Copies bytes from a ring. They begin at offset `at` and do not wrap around.
    fn read(&self, ring: Ring, at: usize, buf: &mut [u8]);

    /// Copies bytes to a ring. They begin at offset `at` and do not wrap around.
    fn write(&self, ring: Ring, at: usize, bytes: &[u8]);
}

/// One of the two rings of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// The bytes from the guest to xenstored.
    Requests,
    /// The bytes from xenstored to the guest.
    Replies,
}

/// A field of the page, beside the bytes of the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The number of bytes that were taken from a ring, modulo 2^32.
    Consumer(Ring),
    /// The number of bytes that were put into a ring, modulo 2^32.
    Producer(Ring),
    /// The bits of the [`Features`](crate::Features) of xenstored.
    ServerFeatures,
    /// Whether the guest is connected (XENSTORE_CONNECTED, XENSTORE_RECONNECT).
    Connection,
    /// Why xenstored gave up the ring (XENSTORE_ERROR_*).
    Error,
    /// The port of the event channel, or 0 before Xen 4.21.
    EventChannel,
}

impl RingPage {
    /// Creates a page of zeroes, which is a ring without bytes, features and errors.
    pub const fn new() -> Self {
        RingPage {
            requests: [const { AtomicU8::new(0) }; RING_SIZE],
            replies: [const { AtomicU8::new(0) }; RING_SIZE],
            request_consumer: AtomicU32::new(0),
            request_producer: AtomicU32::new(0),
            reply_consumer: AtomicU32::new(0),
            reply_producer: AtomicU32::new(0),
            server_features: AtomicU32::new(0),
            connection: AtomicU32::new(0),
            error: AtomicU32::new(0),
            event_channel: AtomicU32::new(0),
        }
    }

    fn field(&self, field: Field) -> &AtomicU32 {
        match field {
            Field::Consumer(Ring::Requests) => &self.request_consumer,
            Field::Producer(Ring::Requests) => &self.request_producer,
            Field::Consumer(Ring::Replies) => &self.reply_consumer,
            Field::Producer(Ring::Replies) => &self.reply_producer,
            Field::ServerFeatures => &self.server_features,
            Field::Connection => &self.connection,
            Field::Error => &self.error,
            Field::EventChannel => &self.event_channel,
        }
    }

    fn bytes(&self, ring: Ring) -> &[AtomicU8; RING_SIZE] {
        match ring {
            Ring::Requests => &self.requests,
            Ring::Replies => &self.replies,
        }
    }
}

impl Default for RingPage {
    fn default() -> Self {
        Self::new()
    }
}

impl Page for RingPage {
    const SIZE: u32 = RING_SIZE as u32;

    fn load(&self, field: Field, order: Ordering) -> u32 {
        self.field(field).load(order)
    }

    fn store(&self, field: Field, value: u32, order: Ordering) {
        self.field(field).store(value, order);
    }

    fn read(&self, ring: Ring, at: usize, buf: &mut [u8]) {
        for (byte, shared) in buf.iter_mut().zip(&self.bytes(ring)[at..]) {
            *byte = shared.load(Ordering::Relaxed);
        }
    }

    fn write(&self, ring: Ring, at: usize, bytes: &[u8]) {
        for (byte, shared) in bytes.iter().zip(&self.bytes(ring)[at..]) {
            shared.store(*byte, Ordering::Relaxed);
        }
    }
}

/// Implements [`Page`] for pointers to a page.
macro_rules! pointers {
    ($($(#[$attribute:meta])* $pointer:ty;)*) => {$(
        $(#[$attribute])*
        impl<P: Page + ?Sized> Page for $pointer {
            const SIZE: u32 = P::SIZE;

            fn load(&self, field: Field, order: Ordering) -> u32 {
                (**self).load(field, order)
            }

            fn store(&self, field: Field, value: u32, order: Ordering) {
                (**self).store(field, value, order);
            }

            fn read(&self, ring: Ring, at: usize, buf: &mut [u8]) {
                (**self).read(ring, at, buf);
            }

            fn write(&self, ring: Ring, at: usize, bytes: &[u8]) {
                (**self).write(ring, at, bytes);
            }
        }
    )*};
}

pointers! {
    &P;
    #[cfg(target_has_atomic = "ptr")]
    alloc::sync::Arc<P>;
}

impl fmt::Debug for RingPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingPage")
            .field("request_consumer", &self.request_consumer)
            .field("request_producer", &self.request_producer)
            .field("reply_consumer", &self.reply_consumer)
            .field("reply_producer", &self.reply_producer)
            .field("server_features", &self.server_features)
            .field("connection", &self.connection)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ring::Requests => "requests",
            Ring::Replies => "replies",
        })
    }
}
