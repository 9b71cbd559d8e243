//! The devices under test, and their use without a transport.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use xs_proto::{DomId, Header, Limits, MessageType, ReqId, TxId};
use xs_transport::XenbusTransport;
use xs_transport::mock::{Device, Kernel, Xenstored};

use crate::HANGS;
use crate::client::TestClient;
use crate::intercept::Intercept;

/// A device that can be opened any number of times.
pub(crate) enum TestDevice {
    Simulated(Kernel),
    Genuine(PathBuf),
}

impl TestDevice {
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self, TestDevice::Simulated(_))
    }

    pub(crate) fn open(&self) -> Box<dyn RawDevice> {
        match self {
            TestDevice::Simulated(kernel) => Box::new(kernel.open().unwrap()),
            TestDevice::Genuine(path) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
                Box::new(options.open(path).unwrap())
            }
        }
    }

    pub(crate) fn transport(&self) -> XenbusTransport {
        match self {
            TestDevice::Simulated(kernel) => kernel.open().unwrap().transport().unwrap(),
            TestDevice::Genuine(path) => XenbusTransport::open(path).unwrap(),
        }
    }

    pub(crate) fn client(&self) -> TestClient {
        TestClient::new(self.transport())
    }

    /// Opens the device for a client that respects `limits` instead of those of the transport.
    pub(crate) fn client_with_limits(&self, limits: Limits) -> TestClient {
        TestClient::new(Intercept { inner: self.transport(), limits })
    }

    /// Opens the device for a client that takes it for a socket.
    pub(crate) fn careless_client(&self) -> TestClient {
        self.client_with_limits(Limits::default())
    }
}

/// A daemon with domain 5, which may write below `/local/domain/5/data`.
pub(crate) fn xenstored() -> Xenstored {
    let xenstored = Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]\n/local/domain/5/domid [n5] = 5").unwrap();
    xenstored
}

/// The kernel of domain 5, on a daemon of its own.
pub(crate) fn simulated_kernel() -> Kernel {
    Kernel::new(&xenstored(), DomId::new(5))
}

/// Runs a test on the simulated device and, if there is one, on the genuine device.
///
/// The tests use the genuine device one at a time: RESET_WATCHES ends the watches and transactions
/// of all its descriptors, and a request may be delayed by those of other tests.
pub(crate) fn on_each_device(test: impl Fn(&TestDevice)) {
    static GENUINE: Mutex<()> = Mutex::new(());

    test(&TestDevice::Simulated(simulated_kernel()));
    match env::var_os("XS_TEST_DEVICE") {
        Some(path) => {
            // A test that failed left no descriptor open.
            let _alone = GENUINE.lock().unwrap_or_else(PoisonError::into_inner);
            test(&TestDevice::Genuine(path.into()));
        }
        None => eprintln!("only on the simulated device: XS_TEST_DEVICE is not set"),
    }
}

/// An open device, used without the transport and its precautions.
pub(crate) trait RawDevice {
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn fd(&self) -> BorrowedFd<'_>;
}

impl RawDevice for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buf)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl RawDevice for Device {
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

impl dyn RawDevice + '_ {
    /// Returns the events that poll(2) reports. With `wait`, at least one must come.
    pub(crate) fn poll(&self, events: i16, wait: bool) -> i16 {
        let timeout = if wait { HANGS.as_millis() as i32 } else { 0 };
        let mut fd = libc::pollfd { fd: self.fd().as_raw_fd(), events, revents: 0 };
        // SAFETY: `fd` is a single local pollfd, which outlives the call.
        let n = unsafe { libc::poll(&raw mut fd, 1, timeout) };
        assert!(n > 0 || !wait, "timed out: no event");
        fd.revents
    }

    /// Reads exactly `n` bytes.
    pub(crate) fn read_exact(&self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        let mut got = 0;
        while got < n {
            self.poll(libc::POLLIN, true);
            match self.read(&mut bytes[got..]) {
                Ok(n) => got += n,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        bytes
    }

    pub(crate) fn read_message(&self) -> (Header, Vec<u8>) {
        let header = Header::decode(self.read_exact(Header::LEN).first_chunk().unwrap());
        (header, self.read_exact(header.len as usize))
    }

    pub(crate) fn has_nothing_to_read(&self) -> bool {
        self.read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes a request and reads the next message.
    pub(crate) fn request(&self, msg_type: MessageType, payload: &[u8]) -> (Header, Vec<u8>) {
        self.write(&message(msg_type, 1, 0, payload)).unwrap();
        self.read_message()
    }

    pub(crate) fn write_node(&self, path: &str, value: &str) {
        let reply = self.request(MessageType::Write, format!("{path}\0{value}").as_bytes());
        assert_eq!(reply.1, b"OK\0", "{path}");
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.request(MessageType::Read, b"domid\0").0.msg_type == MessageType::Read as u32
    }
}

/// Encodes a message.
pub(crate) fn message(msg_type: MessageType, req_id: u32, tx_id: u32, payload: &[u8]) -> Vec<u8> {
    let (req_id, tx_id, len) = (ReqId(req_id), TxId(tx_id), payload.len() as u32);
    let header = Header { msg_type: msg_type as u32, req_id, tx_id, len };
    [&header.encode(), payload].concat()
}
