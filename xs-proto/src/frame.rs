//! The framing of messages.

use alloc::vec::Vec;
use core::fmt;

use crate::error::FrameError;
use crate::wire::{DIRECTORY_REPLY_MAX, Header, MessageType, PAYLOAD_MAX};

/// One message: its header and its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header. Its `len` is the length of `payload`.
    pub header: Header,
    /// The payload.
    pub payload: &'a [u8],
}

/// Splits a byte stream into [`Frame`]s.
///
/// A message that is complete in the input is returned without copying it. Otherwise, the decoder
/// copies the part that arrived and keeps it for the next call.
///
/// Memory is bounded. The decoder checks the length in a header before it stores any payload, and
/// it allocates for the bytes that arrived, not for the length that the header announces.
///
/// ```
/// use xs_proto::{Decoder, Header, ReqId, TxId};
///
/// let header = Header { msg_type: 2, req_id: ReqId(7), tx_id: TxId::NONE, len: 2 };
/// let bytes = [&header.encode()[..], b"hi", b"next"].concat();
///
/// let mut decoder = Decoder::for_server();
/// let decoded = decoder.decode(&bytes)?;
/// assert_eq!(decoded.consumed, 18);
/// assert_eq!(decoded.frame.unwrap().payload, b"hi");
/// # Ok::<(), xs_proto::FrameError>(())
/// ```
pub struct Decoder {
    /// The start of a message that has not arrived completely.
    carry: Vec<u8>,
    /// Whether `carry` is a complete message that the previous call returned.
    returned: bool,
    /// The largest payload of DIRECTORY in bytes. For other types it is [`PAYLOAD_MAX`].
    directory_max: usize,
    /// Whether a payload above the limit is cut off there instead of being an error.
    cuts: bool,
}

/// The result of [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The number of input bytes that were consumed. Pass the remaining bytes to the next call.
    pub consumed: usize,
    /// The message, or `None` if all input was consumed and the message is not complete.
    pub frame: Option<Frame<'a>>,
}

impl Decoder {
    /// Creates a decoder for the messages that a server receives, with payloads of up to
    /// [`PAYLOAD_MAX`] bytes.
    pub const fn for_server() -> Self {
        Decoder { carry: Vec::new(), returned: false, directory_max: PAYLOAD_MAX, cuts: false }
    }

    /// Creates a decoder for the messages that a client receives. It accepts DIRECTORY replies of
    /// up to [`DIRECTORY_REPLY_MAX`] bytes.
    pub const fn for_client() -> Self {
        let directory_max = DIRECTORY_REPLY_MAX;
        Decoder { carry: Vec::new(), returned: false, directory_max, cuts: false }
    }

    /// Cuts off a payload above the limit, and treats the bytes after it as the next message, as
    /// oxenstored does.
    pub(crate) fn with_cut_payloads(self) -> Self {
        Decoder { cuts: true, ..self }
    }

    /// Decodes at most one message from the start of `input`.
    ///
    /// # Errors
    /// Fails if the header of the message announces a payload above the limit. The stream cannot be
    /// decoded further.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Decoded<'a>, FrameError> {
        if self.returned {
            self.returned = false;
            self.carry.clear();
            self.carry.shrink_to(Header::LEN + PAYLOAD_MAX);
        }
        if self.carry.is_empty() {
            if let Some(header) = input.first_chunk().map(Header::decode) {
                let header = self.check_len(header)?;
                let end = Header::LEN + header.len as usize;
                if let Some(payload) = input.get(Header::LEN..end) {
                    return Ok(Decoded { consumed: end, frame: Some(Frame { header, payload }) });
                }
            }
        }
        self.decode_part(input)
    }

    /// Returns whether the input so far ends in the middle of a message.
    pub fn is_mid_message(&self) -> bool {
        !self.returned && !self.carry.is_empty()
    }

    /// Decodes a message that is not complete in `input`.
    fn decode_part<'a>(&'a mut self, input: &'a [u8]) -> Result<Decoded<'a>, FrameError> {
        let mut consumed = self.fill(input, Header::LEN);
        let Some(header) = self.carry.first_chunk().map(Header::decode) else {
            return Ok(Decoded { consumed, frame: None });
        };
        let header = self.check_len(header)?;
        let end = Header::LEN + header.len as usize;
        consumed += self.fill(&input[consumed..], end);
        if self.carry.len() < end {
            return Ok(Decoded { consumed, frame: None });
        }
        self.returned = true;
        let payload = &self.carry[Header::LEN..];
        Ok(Decoded { consumed, frame: Some(Frame { header, payload }) })
    }

    /// Copies input until `carry` has `end` bytes. Returns the number of bytes copied.
    fn fill(&mut self, input: &[u8], end: usize) -> usize {
        let n = input.len().min(end.saturating_sub(self.carry.len()));
        self.carry.extend_from_slice(&input[..n]);
        n
    }

    fn check_len(&self, header: Header) -> Result<Header, FrameError> {
        let max = if header.msg_type == MessageType::Directory as u32 {
            self.directory_max
        } else {
            PAYLOAD_MAX
        };
        if header.len as usize <= max {
            return Ok(header);
        }
        if self.cuts {
            return Ok(Header { len: max as u32, ..header });
        }
        Err(FrameError { msg_type: header.msg_type, len: header.len, max })
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("header", &self.header).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_mid_message = self.is_mid_message();
        f.debug_struct("Decoder").field("is_mid_message", &is_mid_message).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use crate::wire::{ReqId, TxId};

    use super::*;

    /// The largest carry that the decoder keeps between messages.
    const KEPT: usize = Header::LEN + PAYLOAD_MAX;

    fn message(msg_type: MessageType, len: usize) -> Vec<u8> {
        let header = Header {
            msg_type: msg_type as u32,
            req_id: ReqId(1),
            tx_id: TxId::NONE,
            len: len as u32,
        };
        [&header.encode()[..], &vec![b'x'; len]].concat()
    }

    /// Decodes `message` in chunks of `size` bytes. Returns the largest capacity of the carry.
    fn decode(decoder: &mut Decoder, message: &[u8], size: usize) -> usize {
        let mut capacity = 0;
        let mut arrived = 0;
        for chunk in message.chunks(size) {
            let decoded = decoder.decode(chunk).unwrap();
            assert_eq!(decoded.consumed, chunk.len());
            arrived += chunk.len();
            assert_eq!(decoded.frame.is_some(), arrived == message.len());
            assert!(decoder.carry.len() <= arrived);
            // A growing vector doubles its capacity; the announced length must not matter.
            assert!(decoder.carry.capacity() <= KEPT.max(2 * arrived), "{arrived}");
            capacity = capacity.max(decoder.carry.capacity());
        }
        capacity
    }

    #[test]
    fn announced_payload_allocates_no_memory() {
        let mut decoder = Decoder::for_client();
        let announced = message(MessageType::Directory, DIRECTORY_REPLY_MAX);
        decoder.decode(&announced[..Header::LEN + 1]).unwrap();
        assert!(decoder.carry.capacity() <= 2 * (Header::LEN + 1));
        assert!(decoder.is_mid_message());
    }

    #[test]
    fn memory_of_a_large_message_is_freed() {
        let small = message(MessageType::Read, PAYLOAD_MAX);
        let big = message(MessageType::Directory, DIRECTORY_REPLY_MAX);
        let mut decoder = Decoder::for_client();
        for size in [1, 15, 16, 17, 1000, KEPT - 1] {
            assert!(decode(&mut decoder, &small, size) <= 2 * KEPT);
        }
        assert!(decode(&mut decoder, &big, 4096) >= big.len());
        assert_eq!(decode(&mut decoder, &small, KEPT), KEPT);
        assert!(!decoder.is_mid_message());
    }

    #[test]
    fn complete_messages_are_not_copied() {
        let big = message(MessageType::Directory, DIRECTORY_REPLY_MAX);
        let mut decoder = Decoder::for_client();
        assert_eq!(decode(&mut decoder, &big, big.len()), 0);
    }

    #[test]
    fn bytes_of_the_next_message_are_not_consumed() {
        for size in [1, 5, 16, 20, 100] {
            let mut decoder = Decoder::for_server();
            let both = [message(MessageType::Read, 3), message(MessageType::Write, 5)].concat();
            let mut ends = vec![];
            let (mut arrived, mut consumed) = (0, 0);
            while consumed < both.len() {
                arrived = both.len().min(arrived.max(consumed) + size);
                let decoded = decoder.decode(&both[consumed..arrived]).unwrap();
                consumed += decoded.consumed;
                if decoded.frame.is_some() {
                    ends.push(consumed);
                }
            }
            assert_eq!(ends, [19, 40], "in chunks of {size} bytes");
        }
    }

    #[test]
    fn excessive_length_is_rejected_at_the_header() {
        let (read, directory) = (MessageType::Read, MessageType::Directory);
        for (decoder, msg_type, max) in [
            (Decoder::for_server as fn() -> Decoder, read, PAYLOAD_MAX),
            (Decoder::for_server, directory, PAYLOAD_MAX),
            (Decoder::for_client, read, PAYLOAD_MAX),
            (Decoder::for_client, MessageType::WatchEvent, PAYLOAD_MAX),
            (Decoder::for_client, directory, DIRECTORY_REPLY_MAX),
        ] {
            let header = &message(msg_type, max)[..Header::LEN];
            assert!(decoder().decode(header).unwrap().frame.is_none());

            let header = &message(msg_type, max + 1)[..Header::LEN];
            let len = max as u32 + 1;
            let error = FrameError { msg_type: msg_type as u32, len, max };
            assert_eq!(decoder().decode(header), Err(error));
            for split in 1..Header::LEN {
                let mut decoder = decoder();
                assert!(decoder.decode(&header[..split]).unwrap().frame.is_none());
                assert_eq!(decoder.decode(&header[split..]), Err(error));
                assert!(decoder.carry.len() <= Header::LEN);
            }
        }
    }
}
