//! A device that stands in for `/dev/xen/xenbus`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, MutexGuard};

use xs_proto::{ErrorCode, Header, MessageType};

use super::driver::Driver;
use super::notifier::Readiness;
use super::open_file::OpenFile;
use super::state::State;
use super::watches::{two_strings, watch_payload};
use crate::xenbus::{self, DeviceFile, XenbusTransport};

/// An open device of a [`Kernel`](crate::mock::Kernel).
///
/// It behaves as a descriptor of `/dev/xen/xenbus` that was opened with O_NONBLOCK, and it can be
/// misused like one. [`transport`](Self::transport) uses it correctly. Dropping it closes it.
pub struct Device {
    driver: Arc<Driver>,
    id: u64,
    readiness: Arc<Readiness>,
}

const DEADLOCK: &str = "a WATCH or UNWATCH behind an unanswered request: the kernel would hang, and \
    Xenstore with it, for the whole domain";

const ZERO_READ: &str = "a read of length 0 would make the kernel spin indefinitely";

impl Device {
    /// Opens a device of a driver.
    pub(super) fn open(driver: &Arc<Driver>) -> io::Result<Self> {
        let readiness = Arc::new(Readiness::new()?);
        let mut state = driver.lock();
        let id = state.open();
        driver.notifier.add(id, readiness.clone());
        Ok(Device { driver: driver.clone(), id, readiness })
    }

    /// Makes a transport of the device.
    ///
    /// # Errors
    /// Fails if the process or the system is out of descriptors.
    pub fn transport(self) -> io::Result<XenbusTransport> {
        let name = format!("a stand-in for the xenbus device of domain {}", self.driver.domid);
        XenbusTransport::with_device(self, name)
    }

    /// Writes to the device, as write(2) does.
    ///
    /// # Errors
    /// EINVAL or E2BIG if the message is too long. The xenstored's error if it refuses a WATCH. An
    /// error without a number where the kernel would hang.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.driver.lock();
        state.check()?;
        if state.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.file(&mut state).is_at_start() && state.is_queued(self.id) {
            // The write overwrites a request that was not sent yet.
            state.spoiled += 1;
        }
        let Some(message) = self.file(&mut state).append(bytes)? else {
            return Ok(bytes.len());
        };
        if message.has_excess {
            state.spoiled += 1;
        }
        let done = self.submit(state, message.header);
        self.driver.process_input(&mut self.driver.lock());
        done.map(|()| bytes.len())
    }

    /// Reads from the device, as read(2) does.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing to read. An error without a number where the kernel would
    /// hang.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.driver.lock();
        state.check()?;
        if buf.is_empty() {
            return Err(self.hang(&mut state, ZERO_READ));
        }
        state.send_queue();
        self.driver.process_input(&mut state);
        let readable = &mut self.file(&mut state).readable;
        let n = readable.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(readable.drain(..n)) {
            *to = from;
        }
        let is_closed = state.is_closed();
        self.driver.process_input(&mut state);
        if n == 0 && !is_closed { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    /// Handles a complete message in the buffer, as the kernel does: some requests itself, most by
    /// queueing them for the xenstored.
    fn submit<'a>(&'a self, mut state: MutexGuard<'a, State>, header: Header) -> io::Result<()> {
        let msg_type = MessageType::from_u32(header.msg_type);
        if let Some(msg_type @ (MessageType::Watch | MessageType::Unwatch)) = msg_type {
            if self.file(&mut state).unanswered > 0 {
                return Err(self.hang(&mut state, DEADLOCK));
            }
            return self.submit_watch(state, msg_type, header);
        }
        let generation = state.generation;
        let file = self.file(&mut state);
        let is_start = msg_type == Some(MessageType::TransactionStart);
        let is_end = msg_type == Some(MessageType::TransactionEnd);
        let started_in = file.transactions.get(&header.tx_id).copied();
        if !is_start && !header.tx_id.is_none() && started_in.is_none() {
            file.reply_error(header, &ErrorCode::NoEntry);
        } else if is_end && !matches!(file.payload(header), b"T\0" | b"F\0") {
            file.reply_error(header, &ErrorCode::Invalid);
        } else if is_end && started_in.is_some_and(|started_in| started_in != generation) {
            // The transaction did not survive a resume.
            file.transactions.remove(&header.tx_id);
            if file.payload(header) == b"T\0" {
                file.reply_error(header, &ErrorCode::Again);
            } else {
                file.reply_ok(header, false);
            }
        } else {
            file.unanswered += 1;
            state.enqueue(self.id, header);
        }
        Ok(())
    }

    /// Handles WATCH and UNWATCH. The kernel replaces the token with its own and waits for the
    /// xenstored's answer.
    fn submit_watch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        msg_type: MessageType,
        header: Header,
    ) -> io::Result<()> {
        let file = self.file(&mut state);
        let payload = file.payload(header).to_vec();
        let Some((path, token)) = two_strings(&payload) else {
            file.reply_error(header, &ErrorCode::Invalid);
            return Ok(());
        };
        if msg_type == MessageType::Unwatch {
            if let Some(payload) = state.remove_matching_watch(self.id, path, token) {
                let answer;
                (state, answer) = self.driver.ask(state, msg_type, &payload, None);
                // The kernel ignores whether the xenstored refuses.
                let _: Result<(), ErrorCode> = answer?;
            }
            let without_ids = state.has_old_replies;
            self.file(&mut state).reply_ok(header, without_ids);
            return Ok(());
        }
        let (number, is_late) = state.add_watch(self.id, header, path, token);
        let reply_to = (!is_late).then_some((self.id, header));
        let payload = watch_payload(path, number);
        let (mut state, answer) = self.driver.ask(state, msg_type, &payload, reply_to);
        let error = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(code)) => io::Error::from_raw_os_error(xenbus::errno(&code)),
            Err(error) => error,
        };
        state.remove_watch(number);
        Err(error)
    }

    /// Makes the kernel hang. Calls that wait return.
    fn hang(&self, state: &mut State, why: &'static str) -> io::Error {
        let error = state.hang(why);
        self.driver.notifier.notify();
        error
    }

    fn file<'a>(&self, state: &'a mut State) -> &'a mut OpenFile {
        state.files.get_mut(&self.id).expect("the file is open as long as the device exists")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.driver.notifier.remove(self.id);
        let mut state = self.driver.lock();
        state.close(self.id);
        self.driver.process_input(&mut state);
    }
}

impl AsFd for Device {
    /// Returns a descriptor for poll(2), which is readable while the device is, and never writable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readiness.as_fd()
    }
}

impl DeviceFile for Device {
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

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("domid", &self.driver.domid)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
