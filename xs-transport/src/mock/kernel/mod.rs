//! A stand-in for the kernel of a domain, and its xenbus device.

pub(super) mod device;
mod driver;
mod notifier;
mod open_file;
mod state;
mod watches;

use std::fmt;
use std::io;
use std::sync::Arc;

use xs_proto::DomId;

use self::device::Device;
use self::driver::Driver;
use crate::mock::xenstored::Xenstored;

/// The kernel of a domain whose xenstored is in memory. It opens devices that behave as
/// `/dev/xen/xenbus` of Linux does, including its dangerous parts.
///
/// Where the timing of a genuine kernel varies, this one acts as late as possible, so that errors
/// in a client show: a request leaves when the device is read, not when it is written. The first
/// event of every other watch precedes the reply to WATCH. Where a genuine kernel would hang, the
/// call and all later ones fail, so that a test ends.
///
/// There is one difference: when the xenstored closes the connection, reads return the end of the
/// file. A genuine kernel would wait silently for a new xenstored.
///
/// No thread runs behind it. It lives as long as any handle or device.
///
/// ```
/// use xs_proto::{DomId, Header, MessageType, ReqId, TxId};
/// use xs_transport::mock::{Kernel, Xenstored};
///
/// let kernel = Kernel::new(&Xenstored::new(), DomId::new(5));
/// let device = kernel.open()?;
/// let request = |req_id, len| {
///     let msg_type = MessageType::GetDomainPath as u32;
///     Header { msg_type, req_id: ReqId(req_id), tx_id: TxId::NONE, len }.encode()
/// };
/// // Two requests in one write: the kernel drops the second one, but reports all bytes as written.
/// let both = [&request(1, 2)[..], b"5\0", &request(2, 2), b"6\0"].concat();
/// assert_eq!(device.write(&both)?, both.len());
///
/// let mut buf = [0; 100];
/// assert_eq!(device.read(&mut buf)?, 32);
/// assert_eq!(buf[16..32], *b"/local/domain/5\0");
/// assert_eq!(device.read(&mut buf).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Kernel {
    driver: Arc<Driver>,
}

impl Kernel {
    /// Boots a kernel of a domain, and introduces the domain if it is unknown.
    pub fn new(xenstored: &Xenstored, domid: DomId) -> Self {
        Kernel { driver: Arc::new(Driver::new(xenstored, domid)) }
    }

    /// Leaves the ids out of replies to WATCH and UNWATCH, as old kernels do.
    #[must_use]
    pub fn with_old_replies(self) -> Self {
        self.driver.lock().has_old_replies = true;
        self
    }

    /// Opens the device. Any number of them can be open.
    ///
    /// # Errors
    /// Fails if the process or the system is out of descriptors.
    pub fn open(&self) -> io::Result<Device> {
        Device::open(&self.driver)
    }

    /// Suspends and resumes the domain, on this host or another one.
    ///
    /// Devices still receive the replies that are under way. The kernel then sets all watches again
    /// on a new connection, and each of them fires. Transactions end: the kernel answers their
    /// commit with EAGAIN, and passes other requests on to xenstored, which does not know the
    /// transaction (ENOENT from the C daemon, EIO from oxenstored). A real guest that is saved and
    /// restored gets the same answers.
    pub fn resume(&self) {
        self.driver.resume();
    }

    /// Returns how many requests were dropped, or overwritten before they were sent, because they
    /// were written too early or together.
    pub fn spoiled(&self) -> u64 {
        self.driver.lock().spoiled
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("domid", &self.driver.domid).finish_non_exhaustive()
    }
}
