//! A device that stands in for `/dev/xen/xenbus`.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, MutexGuard};

use xs_proto::{ErrorCode, Header, MessageType, TxId};

use super::notifier::Signal;
use super::{Kernel, State, two_strings, watch_payload};
use crate::xenbus::{self, XenbusTransport};

/// An open device of a [`Kernel`]: what a descriptor of `/dev/xen/xenbus`, opened with
/// O_NONBLOCK, is to a program.
///
/// It can be misused like the genuine one. [`transport`](Self::transport) uses it as it must be
/// used. Dropping it closes it.
#[derive(Debug)]
pub struct Device {
    kernel: Kernel,
    id: u64,
    signal: Arc<Signal>,
}

/// What the kernel keeps for an open device.
#[derive(Debug)]
pub(in crate::mock) struct Opened {
    /// The one message that is being written, or that was written last.
    buffer: Box<[u8; BUFFER]>,
    /// How much of a message is there.
    len: usize,
    /// Requests that were written and have no reply.
    pub(in crate::mock) unanswered: usize,
    /// Those that are open, and the kernel's generation in which each was started.
    pub(in crate::mock) transactions: HashMap<TxId, u64>,
    pub(in crate::mock) readable: VecDeque<u8>,
}

/// The kernel's buffer holds one message, header included.
const BUFFER: usize = xs_proto::PAYLOAD_MAX;

const DEADLOCK: &str = "a WATCH or UNWATCH was written behind an unanswered request: the kernel \
    would hang, and Xenstore with it, for the whole domain";

const ZERO_READ: &str = "a read of length 0: the kernel would spin for ever";

impl Device {
    pub(in crate::mock) fn new(kernel: Kernel, id: u64, signal: Arc<Signal>) -> Self {
        Device { kernel, id, signal }
    }

    /// The device, used as it must be used.
    ///
    /// # Errors
    /// No more descriptors can be opened.
    pub fn transport(self) -> io::Result<XenbusTransport> {
        let name = format!("a device that stands in for domain {}'s", self.kernel.domid());
        XenbusTransport::with_device(self, name)
    }

    /// As write(2).
    ///
    /// # Errors
    /// EINVAL, E2BIG: too long a message. To a WATCH: what the xenstored says. Without a number:
    /// where the kernel would hang.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.kernel.shared.lock();
        state.check()?;
        if state.is_over() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.opened(&mut state).len == 0 && state.is_queued(self.id) {
            // What is about to be overwritten has not been sent.
            state.spoil();
        }
        let opened = self.opened(&mut state);
        let len = opened.len + bytes.len();
        if len > BUFFER {
            opened.len = 0;
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        opened.buffer[opened.len..len].copy_from_slice(bytes);
        opened.len = len;
        let Some(header) = self.opened(&mut state).header() else {
            return Ok(bytes.len());
        };
        let message = (header.len as usize).saturating_add(Header::LEN);
        if message > BUFFER {
            self.opened(&mut state).len = 0;
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        if len < message {
            return Ok(bytes.len());
        }
        self.opened(&mut state).len = 0;
        if len > message {
            // The rest is dropped.
            state.spoil();
        }
        let (mut state, done) = self.take(state, header);
        self.kernel.shared.settle(&mut state);
        done.map(|()| bytes.len())
    }

    /// As read(2).
    ///
    /// # Errors
    /// `WouldBlock`: there is nothing. Others: where the kernel would hang.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.kernel.shared.lock();
        state.check()?;
        if buf.is_empty() {
            return Err(self.hang(&mut state, ZERO_READ));
        }
        state.send_queue();
        self.kernel.shared.settle(&mut state);
        let readable = &mut self.opened(&mut state).readable;
        let n = readable.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(readable.drain(..n)) {
            *to = from;
        }
        let is_over = state.is_over();
        self.kernel.shared.settle(&mut state);
        if n == 0 && !is_over { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    /// A whole message has been written.
    fn take<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        header: Header,
    ) -> (MutexGuard<'a, State>, io::Result<()>) {
        let msg_type = MessageType::from_u32(header.msg_type);
        if let Some(msg_type @ (MessageType::Watch | MessageType::Unwatch)) = msg_type {
            if self.opened(&mut state).unanswered > 0 {
                let error = self.hang(&mut state, DEADLOCK);
                return (state, Err(error));
            }
            return self.watch(state, msg_type, header);
        }
        let generation = state.generation;
        let opened = self.opened(&mut state);
        let start = msg_type == Some(MessageType::TransactionStart);
        let known = opened.transactions.get(&header.tx_id).copied();
        if !start && !header.tx_id.is_none() && known.is_none() {
            opened.refuse(header, &ErrorCode::NoEntry);
        } else if msg_type == Some(MessageType::TransactionEnd)
            && !matches!(opened.payload(header), b"T\0" | b"F\0")
        {
            opened.refuse(header, &ErrorCode::Invalid);
        } else if msg_type == Some(MessageType::TransactionEnd)
            && known.is_some_and(|known| known != generation)
        {
            // Of before a resume.
            opened.transactions.remove(&header.tx_id);
            if opened.payload(header) == b"T\0" {
                opened.refuse(header, &ErrorCode::Again);
            } else {
                opened.done(header, false);
            }
        } else {
            opened.unanswered += 1;
            state.push(self.id, header);
        }
        (state, Ok(()))
    }

    /// WATCH and UNWATCH, which the kernel does itself.
    fn watch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        msg_type: MessageType,
        header: Header,
    ) -> (MutexGuard<'a, State>, io::Result<()>) {
        let opened = self.opened(&mut state);
        let payload = opened.payload(header).to_vec();
        let Some((path, token)) = two_strings(&payload) else {
            opened.refuse(header, &ErrorCode::Invalid);
            return (state, Ok(()));
        };
        if msg_type == MessageType::Unwatch {
            if let Some(number) = state.remove_watch(self.id, path, token) {
                let payload = watch_payload(path, number);
                let (again, answer) = self.kernel.shared.ask(state, msg_type, &payload, None);
                state = again;
                // The xenstored may have refused it.
                if let Err(error) = answer {
                    return (state, Err(error));
                }
            }
            let old = state.old_replies();
            self.opened(&mut state).done(header, old);
            return (state, Ok(()));
        }
        let (number, is_late) = state.add_watch(self.id, header, path, token);
        let reply = (!is_late).then_some((self.id, header));
        let payload = watch_payload(path, number);
        let (mut state, answer) = self.kernel.shared.ask(state, msg_type, &payload, reply);
        let done = match answer {
            Ok(Ok(())) => return (state, Ok(())),
            Ok(Err(code)) => Err(io::Error::from_raw_os_error(xenbus::errno(&code))),
            Err(error) => Err(error),
        };
        state.drop_watch(number);
        (state, done)
    }

    /// The kernel hangs: whoever waits returns.
    fn hang(&self, state: &mut State, why: &'static str) -> io::Error {
        let error = state.hang(why);
        self.kernel.shared.bell.ring();
        error
    }

    fn opened<'a>(&self, state: &'a mut State) -> &'a mut Opened {
        state.opened.get_mut(&self.id).expect("it is open as long as this exists")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kernel.shared.bell.remove(self.id);
        let mut state = self.kernel.shared.lock();
        state.close(self.id);
        self.kernel.shared.settle(&mut state);
    }
}

impl AsFd for Device {
    /// For poll(2) and its like: readable when there is something to read, and never writable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

impl xenbus::Device for Device {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Device::write(self, bytes)
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Device::read(self, buf)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl Default for Opened {
    fn default() -> Self {
        Opened {
            buffer: Box::new([0; BUFFER]),
            len: 0,
            unanswered: 0,
            transactions: HashMap::new(),
            readable: VecDeque::new(),
        }
    }
}

impl Opened {
    /// That of the message in the buffer, once it is there.
    fn header(&self) -> Option<Header> {
        self.buffer[..self.len].first_chunk().map(Header::decode)
    }

    /// What is in the buffer now, in the place of this message's payload.
    pub(in crate::mock) fn payload(&self, header: Header) -> &[u8] {
        &self.buffer[Header::LEN..][..header.len as usize]
    }

    /// Makes a message readable.
    pub(in crate::mock) fn reply(&mut self, header: Header, payload: &[u8]) {
        let header = Header { len: payload.len() as u32, ..header };
        self.readable.extend(header.encode());
        self.readable.extend(payload);
    }

    /// An answer of the kernel's own.
    fn refuse(&mut self, header: Header, code: &ErrorCode) {
        let payload = [code.name().as_bytes(), b"\0"].concat();
        self.reply(Header { msg_type: MessageType::Error as u32, ..header }, &payload);
    }

    /// Likewise; old kernels leave the ids out.
    pub(in crate::mock) fn done(&mut self, header: Header, old: bool) {
        let (req_id, tx_id) = if old { Default::default() } else { (header.req_id, header.tx_id) };
        self.reply(Header { req_id, tx_id, ..header }, b"OK\0");
    }

    /// A watch fired. The kernel does not set the ids: they are whatever was there, say those of
    /// a request under way.
    pub(in crate::mock) fn event(&mut self, path: &[u8], token: &[u8]) {
        let ids = Header::decode(self.buffer.first_chunk().unwrap_or(&[0; Header::LEN]));
        let msg_type = MessageType::WatchEvent as u32;
        let header = Header { msg_type, tx_id: TxId(!ids.tx_id.0), ..ids };
        self.reply(header, &[path, b"\0", token, b"\0"].concat());
    }
}
