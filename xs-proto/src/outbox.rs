//! Encoded messages that wait to be sent.

use core::mem;

use bytes::{Buf, BytesMut};

use crate::error::RequestError;
use crate::wire::{Header, ReqId, TxId};

/// The space to reserve for a message, in bytes. Most messages are shorter.
const TYPICAL_LEN: usize = 128;

/// Encoded messages in the order in which the caller must send them.
///
/// Taking the messages swaps the buffer with the caller's. Two buffers are thus reused, and no
/// message needs an allocation of its own.
#[derive(Default)]
pub(crate) struct Outbox(BytesMut);

impl Outbox {
    /// Appends a message. `encode` appends the payload to the buffer and returns its length in
    /// bytes; if it fails, nothing is appended.
    pub(crate) fn push(
        &mut self,
        msg_type: u32,
        req_id: ReqId,
        tx_id: TxId,
        encode: impl FnOnce(&mut BytesMut) -> Result<usize, RequestError>,
    ) -> Result<(), RequestError> {
        let out = &mut self.0;
        let start = out.len();
        out.reserve(TYPICAL_LEN);
        let mut header = Header { msg_type, req_id, tx_id, len: 0 };
        out.extend_from_slice(&header.encode());
        match encode(out) {
            Ok(len) => {
                header.len = len as u32;
                out[start..start + Header::LEN].copy_from_slice(&header.encode());
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Moves all messages to `out`, replacing its contents.
    pub(crate) fn take_all(&mut self, out: &mut BytesMut) {
        out.clear();
        mem::swap(&mut self.0, out);
    }

    /// Moves the first message to `out`, replacing its contents, and returns its header.
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

    /// Returns the number of bytes to send.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
