//! The table of requests in flight.

use alloc::vec::Vec;

use crate::wire::{MessageType, ReqId, TxId};

/// The number of bits of a request id that hold the index of its slot.
const INDEX_BITS: u32 = 12;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

/// The bits above the index count how often the slot was used, so that a late reply does not match
/// a newer request in the same slot. The count starts at 1: older Linux kernels answer with id 0.
const FIRST_USE: u32 = 1 << INDEX_BITS;

/// The largest number of requests in flight.
pub(crate) const MAX_PENDING: usize = 1 << INDEX_BITS;

/// The requests in flight, found by id in constant time.
///
/// Each request occupies a slot until its reply arrives. The table chooses the request ids.
pub(crate) struct Pending<K> {
    slots: Vec<Slot<K>>,
    /// The indices of the vacant slots.
    free: Vec<u16>,
}

struct Slot<K> {
    /// The id of the request in this slot, or of the next one if the slot is vacant.
    id: ReqId,
    request: Option<InFlight<K>>,
}

/// A request in flight.
pub(crate) struct InFlight<K> {
    pub(crate) msg_type: MessageType,
    pub(crate) tx_id: TxId,
    /// `None` if the caller no longer waits for the reply.
    pub(crate) key: Option<K>,
}

impl<K> Pending<K> {
    pub(crate) const fn new() -> Self {
        Pending { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a request and returns its id, or `None` if the table is full.
    pub(crate) fn insert(&mut self, request: InFlight<K>) -> Option<ReqId> {
        let index = match self.free.pop() {
            Some(index) => usize::from(index),
            None if self.slots.len() == MAX_PENDING => return None,
            None => {
                let index = self.slots.len();
                self.slots.push(Slot { id: ReqId(FIRST_USE | index as u32), request: None });
                index
            }
        };
        let slot = &mut self.slots[index];
        slot.request = Some(request);
        Some(slot.id)
    }

    pub(crate) fn get_mut(&mut self, req_id: ReqId) -> Option<&mut InFlight<K>> {
        self.slot(req_id)?.request.as_mut()
    }

    /// Removes a request and vacates its slot.
    pub(crate) fn remove(&mut self, req_id: ReqId) -> Option<InFlight<K>> {
        let index = req_id.0 & INDEX_MASK;
        let slot = self.slot(req_id)?;
        let request = slot.request.take()?;
        slot.id = ReqId(req_id.0.checked_add(1 << INDEX_BITS).unwrap_or(FIRST_USE | index));
        self.free.push(index as u16);
        Some(request)
    }

    /// Removes all requests. Their ids are not reused soon.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.slots.len() {
            self.remove(self.slots[index].id);
        }
    }

    fn slot(&mut self, req_id: ReqId) -> Option<&mut Slot<K>> {
        let slot = self.slots.get_mut((req_id.0 & INDEX_MASK) as usize)?;
        (slot.id == req_id).then_some(slot)
    }
}
