//! Messages on their way out.

use bytes::{BufMut, BytesMut};

use crate::request::RequestError;
use crate::wire::{Header, ReqId, TxId};

/// Encoded messages, one behind the other, until they are taken away to be sent.
///
/// One buffer is used over and over: what is taken is split off, and the space comes back when it
/// has been dropped. Nothing is allocated per message.
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

    /// All that is there.
    pub(crate) fn take_all(&mut self) -> BytesMut {
        self.0.split()
    }

    /// The first message, and what the header says of it.
    pub(crate) fn take_first(&mut self) -> Option<(Header, BytesMut)> {
        let header = Header::decode(self.0.first_chunk()?);
        Some((header, self.0.split_to(Header::LEN + header.len as usize)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
