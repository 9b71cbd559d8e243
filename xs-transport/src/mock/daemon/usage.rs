//! The memory and the outstanding requests of domains.

use bytes::BytesMut;
use xs_proto::{DomId, Header, PAYLOAD_MAX, Reply};

use super::domains::is_privileged;
use super::state::Daemon;
use crate::mock::store::quota::Quota;

/// Replies up to this length are sent even if the domain has no memory left.
const SMALL_REPLY: usize = 16;

impl Daemon {
    /// Returns the bytes that a domain uses, as the daemon counts them.
    pub(crate) fn bytes_of(&self, domid: DomId) -> i64 {
        let bytes = self.domains.get(domid).map_or(0, |domain| domain.bytes);
        self.store.usage_of(domid).bytes + bytes
    }

    /// Returns the bytes that a domain may use, or `None` without a limit.
    pub(crate) fn memory_of(&self, domid: DomId) -> Option<i64> {
        if is_privileged(domid) || !self.behaviour.limits_memory {
            return None;
        }
        match self.domains.get(domid)?.quotas[Quota::Memory] {
            0 => None,
            max => Some(i64::from(max)),
        }
    }

    /// Returns whether the daemon leaves this domain's requests unread until the domain uses less.
    pub(crate) fn is_stalled(&self, domid: DomId) -> bool {
        let Some(domain) = self.domains.get(domid).filter(|_| !is_privileged(domid)) else {
            return false;
        };
        let max = domain.quotas[Quota::Outstanding];
        let limits_requests = self.behaviour.limits_outstanding_requests && max != 0;
        (limits_requests && domain.outstanding() >= max)
            || self.memory_of(domid).is_some_and(|max| self.bytes_of(domid) >= max)
    }

    /// Counts bytes of pending output.
    pub(super) fn count_pending(&mut self, domid: DomId, bytes: i64) {
        if is_privileged(domid) && !self.behaviour.counts_messages_of_dom0 {
            return;
        }
        if let Some(domain) = self.domains.get_mut(domid) {
            domain.bytes += bytes;
            if bytes > 0 {
                let used = domain.bytes + self.store.usage_of(domid).bytes;
                self.domains.note(domid, Quota::Memory, used);
            }
        }
    }

    /// Returns whether a message with a payload of this length exceeds the domain's memory.
    pub(super) fn exceeds_memory(&self, domid: DomId, len: usize) -> bool {
        self.memory_of(domid)
            .is_some_and(|max| self.bytes_of(domid) + (Header::LEN + len) as i64 >= max)
    }

    /// Returns whether a reply can be sent: it is small or fits into the domain's memory.
    pub(super) fn fits_memory(&self, domid: DomId, reply: &Reply<'_>) -> bool {
        let len = reply.encode(PAYLOAD_MAX, &mut BytesMut::new()).unwrap_or(PAYLOAD_MAX);
        len <= SMALL_REPLY || !self.exceeds_memory(domid, len)
    }
}
