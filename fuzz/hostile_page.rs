//! A page to which a hostile end of a ring writes anything, and the checks of the end under test.

use std::sync::atomic::Ordering;

use arbitrary::Arbitrary;
use xs_proto::ring::{Field, Page, Ring, RingError, RingPage};

#[derive(Debug, Arbitrary)]
pub enum Action {
    Hostile(Write),
    Send(Vec<u8>),
    Receive(u16),
    Restart,
    StartOver,
}

/// A write of the hostile end.
#[derive(Debug, Arbitrary)]
pub enum Write {
    Field(u8, u32),
    /// Adds to a field, as an honest end does, and a hostile one that runs backwards.
    Add(u8, i16),
    Bytes(bool, u16, Vec<u8>),
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

pub fn page() -> RingPage {
    RingPage::new()
}

impl Write {
    pub fn apply(self, page: &RingPage) {
        match self {
            Write::Field(field, value) => {
                page.store(FIELDS[usize::from(field % 8)], value, Ordering::Relaxed);
            }
            Write::Add(field, value) => {
                let field = FIELDS[usize::from(field % 8)];
                let value =
                    page.load(field, Ordering::Relaxed).wrapping_add(i32::from(value) as u32);
                page.store(field, value, Ordering::Relaxed);
            }
            Write::Bytes(requests, at, bytes) => {
                let ring = if requests { Ring::Requests } else { Ring::Replies };
                let at = usize::from(at % 1024);
                let len = bytes.len().min(1024 - at);
                page.write(ring, at, &bytes[..len]);
            }
        }
    }
}

/// Checks one direction of an end.
pub struct Checks {
    ring: Ring,
    failed: Option<RingError>,
}

impl Checks {
    pub fn new(ring: Ring) -> Self {
        Checks { ring, failed: None }
    }

    /// The sent bytes are in the ring, just before the producer's index.
    pub fn check_sent(&mut self, page: &RingPage, bytes: &[u8], sent: Result<usize, RingError>) {
        self.note(sent);
        if let Ok(len) = sent {
            assert!(len <= bytes.len().min(1024));
            if len > 0 {
                let end = page.load(Field::Producer(self.ring), Ordering::Relaxed);
                assert_eq!(before(page, self.ring, end, len), bytes[..len]);
            }
        }
    }

    /// The received bytes are in the ring, just before the consumer's index.
    pub fn check_received(
        &mut self,
        page: &RingPage,
        buf: &[u8],
        received: Result<usize, RingError>,
    ) {
        self.note(received);
        if let Ok(len) = received {
            assert!(len <= buf.len().min(1024));
            if len > 0 {
                let end = page.load(Field::Consumer(self.ring), Ordering::Relaxed);
                assert_eq!(before(page, self.ring, end, len), buf[..len]);
            }
        }
    }

    /// An error lasts.
    pub fn note(&mut self, result: Result<usize, RingError>) {
        match result {
            Ok(_) => assert_eq!(self.failed, None),
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }
}

fn before(page: &RingPage, ring: Ring, end: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let offset = end.wrapping_sub((len - at) as u32) % 1024;
        page.read(ring, offset as usize, std::slice::from_mut(byte));
    }
    bytes
}
