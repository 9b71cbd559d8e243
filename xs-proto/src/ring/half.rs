//! One end of one ring: the producer or the consumer of its bytes.
//!
//! # Orderings
//! The producer writes bytes and then publishes its index (`Release`). The consumer reads that
//! index (`Acquire`) before it reads the bytes, so it finds the bytes that were written.
//!
//! In the other direction, the consumer reads bytes and then publishes its own index (`Release`).
//! The producer reads that index (`Acquire`) before it overwrites the bytes. Without this second
//! pair, a processor that executes loads late or stores early could let the consumer read bytes
//! that the producer wrote in the next round (load buffering). Loom and Miri do not show this
//! outcome, since neither runs a store before an earlier load. `tests/ring/litmus.rs` looks for it
//! on the machine.
//!
//! A reset works in the same way: the guest has finished with both rings when it stores
//! XENSTORE_RECONNECT (`Release`), which xenstored reads (`Acquire`) before it empties them, and
//! the guest reads XENSTORE_CONNECTED (`Acquire`), which xenstored stores last (`Release`).
//!
//! `tests/ring-models/weaken` shows that a model fails without any one of these orderings.
//!
//! Each index belongs to one end, which keeps a private copy and only writes the shared one. An end
//! reads the other end's index once per call, and checks that it has moved only forward, and no
//! further than the reader's own index allows.

use core::sync::atomic::Ordering;

use super::error::RingError;
use super::page::{Field, Page, Ring};

/// The producer of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Producer {
    ring: Ring,
    produced: u32,
    /// The consumer's index when it was last read.
    consumed: u32,
}

/// The consumer of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumer {
    ring: Ring,
    consumed: u32,
    /// The producer's index when it was last read.
    produced: u32,
}

impl Producer {
    /// Starts with the indices in the page.
    pub(super) fn start(page: &impl Page, ring: Ring) -> Result<Self, RingError> {
        let (consumed, produced) = start(page, ring)?;
        Ok(Producer { ring, produced, consumed })
    }

    /// Starts with a ring that was emptied, whose indices are 0.
    pub(super) const fn empty(ring: Ring) -> Self {
        Producer { ring, produced: 0, consumed: 0 }
    }

    /// Returns how many bytes the ring has room for.
    pub(super) fn room<P: Page>(&mut self, page: &P) -> Result<usize, RingError> {
        let (ring, consumer) =
            (self.ring, page.load(Field::Consumer(self.ring), Ordering::Acquire));
        let unread = self.produced.wrapping_sub(self.consumed);
        if consumer.wrapping_sub(self.consumed) > unread {
            return Err(RingError::Indices { ring, consumer, producer: self.produced });
        }
        self.consumed = consumer;
        Ok((P::SIZE - self.produced.wrapping_sub(consumer)) as usize)
    }

    /// Copies as much of `bytes` into the ring as it has room for, and returns how much.
    pub(super) fn write<P: Page>(&mut self, page: &P, bytes: &[u8]) -> Result<usize, RingError> {
        let (ring, room) = (self.ring, self.room(page)?);
        let len = bytes.len().min(room);
        if len == 0 {
            return Ok(0);
        }
        let at = (self.produced % P::SIZE) as usize;
        let (first, rest) = bytes[..len].split_at(len.min(P::SIZE as usize - at));
        page.write(ring, at, first);
        page.write(ring, 0, rest);
        self.produced = self.produced.wrapping_add(len as u32);
        page.store(Field::Producer(ring), self.produced, Ordering::Release);
        Ok(len)
    }
}

impl Consumer {
    /// Starts with the indices in the page.
    pub(super) fn start(page: &impl Page, ring: Ring) -> Result<Self, RingError> {
        let (consumed, produced) = start(page, ring)?;
        Ok(Consumer { ring, consumed, produced })
    }

    /// Starts with a ring that was emptied, whose indices are 0.
    pub(super) const fn empty(ring: Ring) -> Self {
        Consumer { ring, consumed: 0, produced: 0 }
    }

    /// Returns how many bytes there are to read.
    pub(super) fn available<P: Page>(&mut self, page: &P) -> Result<usize, RingError> {
        let (ring, producer) =
            (self.ring, page.load(Field::Producer(self.ring), Ordering::Acquire));
        let room = P::SIZE - self.produced.wrapping_sub(self.consumed);
        if producer.wrapping_sub(self.produced) > room {
            return Err(RingError::Indices { ring, consumer: self.consumed, producer });
        }
        self.produced = producer;
        Ok(producer.wrapping_sub(self.consumed) as usize)
    }

    /// Copies bytes from the ring to `buf`, as many as there are or fit, and returns how many.
    pub(super) fn read<P: Page>(&mut self, page: &P, buf: &mut [u8]) -> Result<usize, RingError> {
        let (ring, available) = (self.ring, self.available(page)?);
        let len = buf.len().min(available);
        if len == 0 {
            return Ok(0);
        }
        let at = (self.consumed % P::SIZE) as usize;
        let (first, rest) = buf[..len].split_at_mut(len.min(P::SIZE as usize - at));
        page.read(ring, at, first);
        page.read(ring, 0, rest);
        self.consumed = self.consumed.wrapping_add(len as u32);
        page.store(Field::Consumer(ring), self.consumed, Ordering::Release);
        Ok(len)
    }
}

/// Reads the indices of a ring, which need not be 0.
///
/// `Relaxed` suffices: before an end accesses any byte, it reads the other end's index again
/// (`Acquire`). The order of the two loads does not matter either, since only the other end's index
/// can change meanwhile, and only forward.
fn start<P: Page>(page: &P, ring: Ring) -> Result<(u32, u32), RingError> {
    let consumer = page.load(Field::Consumer(ring), Ordering::Relaxed);
    let producer = page.load(Field::Producer(ring), Ordering::Relaxed);
    match producer.wrapping_sub(consumer) <= P::SIZE {
        true => Ok((consumer, producer)),
        false => Err(RingError::Indices { ring, consumer, producer }),
    }
}
