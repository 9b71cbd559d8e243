//! Messages on their way out.

use core::mem;

use bytes::{Buf, BufMut, BytesMut};

use crate::payload::RequestError;
use crate::wire::{Header, ReqId, TxId};

/// Encoded messages, one behind the other, until they are taken away to be sent.
///
/// Two buffers are used over and over: what is taken leaves in one, while the other one fills.
/// Nothing is allocated per message.
#[derive(Debug, Default)]
pub(crate) struct Outbox(BytesMut);

impl Outbox {
    /// Appends a message whose payload `encode` writes; it returns the payload's length. If it
    /// fails, nothing is appended.
    pub(crate) fn push(
        &mut self,
        msg_type: u32,
        req_id: ReqId,
        tx_id: TxId,
        encode: impl FnOnce(&mut BytesMut) -> Result<usize, RequestError>,
    ) -> Result<(), RequestError> {
        let out = &mut self.0;
        let start = out.len();
        out.put_bytes(0, Header::LEN);
        match encode(out) {
            Ok(len) => {
                let header = Header { msg_type, req_id, tx_id, len: len as u32 };
                out[start..start + Header::LEN].copy_from_slice(&header.encode());
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Moves all that is there to `out`, whose space serves from now on.
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

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
