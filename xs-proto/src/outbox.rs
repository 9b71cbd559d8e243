//! Messages on their way out.

use core::mem;

use bytes::{Buf, BytesMut};

use crate::payload::RequestError;
use crate::wire::{Header, ReqId, TxId};

/// Most messages are not longer than this, in bytes.
const USUAL: usize = 128;

/// Encoded messages, one behind the other, until they are taken away to be sent.
///
/// Two buffers are used over and over: what is taken leaves in one, while the other one fills.
/// Nothing is allocated per message.
#[derive(Debug, Default)]
pub(crate) struct Outbox(BytesMut);

impl Outbox {
    /// Appends a message whose payload `encode` writes; it returns the payload's length. If it
    /// fails, nothing is appended.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        msg_type: u32,
        req_id: ReqId,
        tx_id: TxId,
        encode: impl FnOnce(&mut BytesMut) -> Result<usize, RequestError>,
    ) -> Result<(), RequestError> {
        let out = &mut self.0;
        let start = out.len();
        // A fresh buffer is not to grow piece by piece.
        out.reserve(USUAL);
        // The length is known when the payload is there.
        out.extend_from_slice(&Header { msg_type, req_id, tx_id, len: 0 }.encode());
        match encode(out) {
            Ok(len) => {
                out[start + Header::LEN - 4..][..4].copy_from_slice(&(len as u32).to_le_bytes());
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Moves all that is there to `out`, whose space serves from now on.
    #[inline]
    pub(crate) fn take_all(&mut self, out: &mut BytesMut) {
        out.clear();
        mem::swap(&mut self.0, out);
    }

    /// Moves the first message to `out`, and gives its header.
    pub(crate) fn take_first(&mut self, out: &mut BytesMut) -> Option<Header> {
        let header = Header::decode(self.0.first_chunk()?);
        let len = Header::LEN + header.len as usize;
        out.clear();
        if len == self.0.len() {
            mem::swap(&mut self.0, out);
        } else {
            out.extend_from_slice(&self.0[..len]);
            self.0.advance(len);
        }
        Some(header)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
