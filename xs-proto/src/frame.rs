//! From bytes to frames, bounded: a length is judged before a byte of payload is stored.

use alloc::vec::Vec;

use crate::wire::{DIRECTORY_REPLY_MAX, Header, MessageType, PAYLOAD_MAX};

/// One message: its header and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header; its `len` is the length of the payload.
    pub header: Header,
    /// The payload.
    pub payload: &'a [u8],
}

/// Cuts a stream of bytes into [`Frame`]s.
///
/// Whole messages are handed out where they stand in the input. Only what is left over, a part of
/// one message at the most, is copied and kept for the next call, as it comes: what a header
/// announces takes no memory.
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
#[derive(Debug)]
pub struct Decoder {
    /// The start of a message whose end has not come yet.
    carry: Vec<u8>,
    /// `carry` is a whole message that has been handed out.
    handed_out: bool,
    /// The largest reply to DIRECTORY; the other messages have [`PAYLOAD_MAX`].
    directory_max: usize,
}

/// What [`Decoder::decode`] made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// How many bytes of the input are done with; present the others again.
    pub consumed: usize,
    /// A message, or `None`: all of the input is consumed and more is needed.
    pub frame: Option<Frame<'a>>,
}

impl Decoder {
    /// For what a server receives.
    pub const fn for_server() -> Self {
        Decoder { carry: Vec::new(), handed_out: false, directory_max: PAYLOAD_MAX }
    }

    /// For what a client receives: takes a DIRECTORY of up to [`DIRECTORY_REPLY_MAX`] bytes.
    pub const fn for_client() -> Self {
        Decoder { carry: Vec::new(), handed_out: false, directory_max: DIRECTORY_REPLY_MAX }
    }

    /// Takes one message from the input.
    ///
    /// # Errors
    /// The next message says that it is too long. The stream is of no use from there on.
    #[inline]
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Decoded<'a>, FrameError> {
        if let (true, Some(header)) = (self.carry.is_empty(), input.first_chunk()) {
            let header = Header::decode(header);
            self.judge(header)?;
            let end = Header::LEN + header.len as usize;
            if let Some(payload) = input.get(Header::LEN..end) {
                return Ok(Decoded { consumed: end, frame: Some(Frame { header, payload }) });
            }
        }
        self.decode_part(input)
    }

    /// The same where a message does not lie in the input as a whole.
    fn decode_part<'a>(&'a mut self, input: &'a [u8]) -> Result<Decoded<'a>, FrameError> {
        if self.handed_out {
            self.handed_out = false;
            self.carry.clear();
            self.carry.shrink_to(Header::LEN + PAYLOAD_MAX);
            return self.decode(input);
        }
        let mut consumed = self.take(input, Header::LEN);
        let Some(header) = self.carry.first_chunk().map(Header::decode) else {
            return Ok(Decoded { consumed, frame: None });
        };
        self.judge(header)?;
        let end = Header::LEN + header.len as usize;
        consumed += self.take(&input[consumed..], end);
        if self.carry.len() < end {
            return Ok(Decoded { consumed, frame: None });
        }
        self.handed_out = true;
        let payload = &self.carry[Header::LEN..];
        Ok(Decoded { consumed, frame: Some(Frame { header, payload }) })
    }

    /// Whether the input ended in the middle of a message.
    pub fn is_mid_message(&self) -> bool {
        !self.handed_out && !self.carry.is_empty()
    }

    /// Moves bytes over until `carry` holds `end`; returns how many.
    fn take(&mut self, input: &[u8], end: usize) -> usize {
        let n = input.len().min(end.saturating_sub(self.carry.len()));
        self.carry.extend_from_slice(&input[..n]);
        n
    }

    /// Whether a message may be so long.
    #[inline]
    fn judge(&self, header: Header) -> Result<(), FrameError> {
        let max = if header.msg_type == MessageType::Directory as u32 {
            self.directory_max
        } else {
            PAYLOAD_MAX
        };
        if header.len as usize > max {
            return Err(FrameError { msg_type: header.msg_type, len: header.len, max });
        }
        Ok(())
    }
}

/// A message claims a payload beyond the protocol's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of type {msg_type} announces {len} bytes of payload, {max} are allowed")]
pub struct FrameError {
    /// The message type, by number.
    pub msg_type: u32,
    /// What its header says, in bytes.
    pub len: u32,
    /// What is allowed, in bytes.
    pub max: usize,
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    const KEPT: usize = Header::LEN + PAYLOAD_MAX;

    fn message(msg_type: MessageType, len: usize) -> Vec<u8> {
        let header = Header {
            msg_type: msg_type as u32,
            req_id: crate::ReqId(1),
            tx_id: crate::TxId::NONE,
            len: len as u32,
        };
        let mut message = header.encode().to_vec();
        message.resize(Header::LEN + len, b'x');
        message
    }

    /// Presents `message` in pieces of `size`; returns the most that was held at a time.
    fn decode(decoder: &mut Decoder, message: &[u8], size: usize) -> usize {
        let mut held = 0;
        let mut came = 0;
        for piece in message.chunks(size) {
            let decoded = decoder.decode(piece).unwrap();
            assert_eq!(decoded.consumed, piece.len());
            came += piece.len();
            assert_eq!(decoded.frame.is_some(), came == message.len());
            assert!(decoder.carry.len() <= came);
            // A vector that grows doubles; it knows nothing of what the header promises.
            assert!(decoder.carry.capacity() <= KEPT.max(2 * came), "{came}");
            held = held.max(decoder.carry.capacity());
        }
        held
    }

    #[test]
    fn holds_what_came_and_not_what_was_announced() {
        let mut decoder = Decoder::for_client();
        let announced = message(MessageType::Directory, DIRECTORY_REPLY_MAX);
        decoder.decode(&announced[..Header::LEN + 1]).unwrap();
        assert!(decoder.carry.capacity() <= 2 * (Header::LEN + 1));
        assert!(decoder.is_mid_message());
    }

    #[test]
    fn holds_a_message_at_the_most_and_gives_the_space_back() {
        let small = message(MessageType::Read, PAYLOAD_MAX);
        let big = message(MessageType::Directory, DIRECTORY_REPLY_MAX);
        let mut decoder = Decoder::for_client();
        for size in [1, 15, 16, 17, 1000, KEPT - 1] {
            assert!(decode(&mut decoder, &small, size) <= 2 * KEPT);
        }
        assert!(decode(&mut decoder, &big, 4096) >= big.len());
        assert_eq!(decode(&mut decoder, &small, KEPT), KEPT);
        assert!(!decoder.is_mid_message());
        // A whole message is handed out where it stands.
        let mut decoder = Decoder::for_client();
        assert_eq!(decode(&mut decoder, &big, big.len()), 0);
    }

    #[test]
    fn takes_nothing_of_the_next_message() {
        for size in [1, 5, 16, 20, 100] {
            let mut decoder = Decoder::for_server();
            let both = [message(MessageType::Read, 3), message(MessageType::Write, 5)].concat();
            let mut ends = vec![];
            let (mut came, mut consumed) = (0, 0);
            while consumed < both.len() {
                came = both.len().min(came.max(consumed) + size);
                let decoded = decoder.decode(&both[consumed..came]).unwrap();
                consumed += decoded.consumed;
                if decoded.frame.is_some() {
                    ends.push(consumed);
                }
            }
            assert_eq!(ends, [19, 40], "in pieces of {size}");
        }
    }

    #[test]
    fn judges_the_length_at_the_header() {
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
