//! The kernel's state of an open device.

use std::collections::{HashMap, VecDeque};
use std::io;

use xs_proto::{ErrorCode, Header, MessageType, TxId};

/// The buffers of an open device, its unanswered requests and its transactions.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// The message that is being written. After that it stays, until the next one overwrites it.
    buffer: Box<[u8; BUFFER]>,
    /// How many bytes of an incomplete message are in the buffer.
    len: usize,
    /// How many requests were written and not answered.
    pub(super) unanswered: usize,
    /// The open transactions, each with the kernel's generation at its start.
    pub(super) transactions: HashMap<TxId, u64>,
    /// The bytes that the process has not read yet.
    pub(super) readable: VecDeque<u8>,
}

/// The kernel's buffer holds one message, including its header.
const BUFFER: usize = xs_proto::PAYLOAD_MAX;

/// A message that a process has written in full.
pub(super) struct Written {
    pub(super) header: Header,
    /// The same write had bytes behind the message, which the kernel drops.
    pub(super) has_excess: bool,
}

impl OpenFile {
    pub(super) fn new() -> Self {
        OpenFile {
            buffer: Box::new([0; BUFFER]),
            len: 0,
            unanswered: 0,
            transactions: HashMap::new(),
            readable: VecDeque::new(),
        }
    }

    /// Returns whether the next byte written begins a message.
    pub(super) fn is_at_start(&self) -> bool {
        self.len == 0
    }

    /// Appends written bytes to the buffer. Returns the message once it is complete.
    ///
    /// # Errors
    /// EINVAL if the bytes do not fit, E2BIG if the message that they begin does not.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Option<Written>> {
        let len = self.len + bytes.len();
        if len > BUFFER {
            self.len = 0;
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.buffer[self.len..len].copy_from_slice(bytes);
        self.len = len;
        let Some(header) = self.buffer[..len].first_chunk().map(Header::decode) else {
            return Ok(None);
        };
        let message = (header.len as usize).saturating_add(Header::LEN);
        if message > BUFFER {
            self.len = 0;
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        if len < message {
            return Ok(None);
        }
        self.len = 0;
        Ok(Some(Written { header, has_excess: len > message }))
    }

    /// Returns the bytes where the message's payload was written. A later write may have changed
    /// them.
    pub(super) fn payload(&self, header: Header) -> &[u8] {
        &self.buffer[Header::LEN..][..header.len as usize]
    }

    /// Makes a message readable.
    pub(super) fn reply(&mut self, header: Header, payload: &[u8]) {
        let header = Header { len: payload.len() as u32, ..header };
        self.readable.extend(header.encode());
        self.readable.extend(payload);
    }

    /// Makes an error of the kernel's own readable.
    pub(super) fn reply_error(&mut self, header: Header, code: &ErrorCode) {
        let payload = [code.name().as_bytes(), b"\0"].concat();
        self.reply(Header { msg_type: MessageType::Error as u32, ..header }, &payload);
    }

    /// Makes an OK of the kernel's own readable. Old kernels send it without ids.
    pub(super) fn reply_ok(&mut self, header: Header, without_ids: bool) {
        let (req_id, tx_id) =
            if without_ids { Default::default() } else { (header.req_id, header.tx_id) };
        self.reply(Header { req_id, tx_id, ..header }, b"OK\0");
    }

    /// Makes a watch event readable. The kernel does not initialise the ids, which may therefore
    /// be those of a request in flight.
    pub(super) fn event(&mut self, path: &[u8], token: &[u8]) {
        let ids = Header::decode(self.buffer.first_chunk().unwrap_or(&[0; Header::LEN]));
        let msg_type = MessageType::WatchEvent as u32;
        let header = Header { msg_type, tx_id: TxId(!ids.tx_id.0), ..ids };
        self.reply(header, &[path, b"\0", token, b"\0"].concat());
    }
}
