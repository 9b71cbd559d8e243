//! Xen, as a dom0 with Linux reaches it.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering;

use xs_proto::DomId;
use xs_proto::ring::{Field, Page, Ring, RingPage};

use super::{DomainState, Hypervisor};
use crate::ring::{EventChannel, EvtchnChannel, MappedPage};
use crate::sys::xen::{self, DomainInfo};

/// Xen, through the devices of Linux: `/dev/xen/evtchn`, `gntdev`, `privcmd`, `hypercall` and
/// `xenbus_backend`. Works with Xen 4.17 to 4.22 on x86-64.
///
/// Each domain uses five descriptors of this process.
pub struct XenHypervisor {
    info: DomainInfo,
    /// The channel of the virtual interrupt that reports shutdowns and deaths.
    exceptions: EvtchnChannel,
}

/// The page of a domain's ring.
#[derive(Debug)]
pub struct XenPage {
    // Dropped first: a page that is still mapped cannot be given back.
    page: MappedPage,
    _grant: Option<Grant>,
}

/// A page that a domain has granted, on a descriptor of its own. Dropping it gives the page back.
#[derive(Debug)]
struct Grant {
    device: File,
    index: u64,
}

const EVTCHN: &str = "/dev/xen/evtchn";
const VIRQ_DOM_EXC: u32 = 3;

/// The grant that the toolstack reserves for Xenstore (GNTTAB_RESERVED_XENSTORE).
const RING_GRANT: u32 = 1;

impl XenHypervisor {
    /// Opens the devices. Only one process can do this at a time.
    ///
    /// # Errors
    /// The error of opening a device, or `AlreadyExists` if another daemon runs.
    pub fn open() -> io::Result<Self> {
        let device = device(EVTCHN)?;
        let port = xen::evtchn_bind_virq(device.as_fd(), VIRQ_DOM_EXC)?;
        let exceptions = EvtchnChannel::from_fd(device.into(), port)?;
        Ok(XenHypervisor { info: DomainInfo::open()?, exceptions })
    }
}

impl Hypervisor for XenHypervisor {
    type Page = XenPage;
    type Channel = EvtchnChannel;

    fn open_dom0(&self) -> io::Result<(XenPage, EvtchnChannel)> {
        let (page, port) = match device("/dev/xen/xenbus_backend") {
            Ok(backend) => {
                (MappedPage::map(&backend, 0)?, xen::xenbus_backend_port(backend.as_fd())?)
            }
            // The older interface, which xenfs has.
            Err(_) => {
                let port = fs::read_to_string("/proc/xen/xsd_port")?;
                let port = port.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
                (MappedPage::map(&device("/proc/xen/xsd_kva")?, 0)?, port)
            }
        };
        let channel = EvtchnChannel::bind(EVTCHN, DomId::DOM0, port)?;
        Ok((XenPage { page, _grant: None }, channel))
    }

    fn open(&self, domid: DomId, port: u32) -> io::Result<(XenPage, EvtchnChannel)> {
        let device = device("/dev/xen/gntdev")?;
        let index = xen::grant_map(device.as_fd(), domid.get(), RING_GRANT)?;
        let grant = Grant { device, index };
        let page = MappedPage::map(&grant.device, index)?;
        let channel = EvtchnChannel::bind(EVTCHN, domid, port)?;
        Ok((XenPage { page, _grant: Some(grant) }, channel))
    }

    fn state(&self, domid: DomId) -> io::Result<DomainState> {
        Ok(match self.info.get(domid.get())? {
            None => DomainState::Gone,
            Some(info) if info.flags & xen::DYING != 0 => DomainState::Gone,
            Some(info) if info.flags & xen::SHUT_DOWN != 0 => DomainState::ShutDown,
            Some(_) => DomainState::Running,
        })
    }

    /// Returns the UUID of a domain. A toolstack that gives two domains the same UUID, as for a
    /// reboot, gives them different ids.
    fn identity(&self, domid: DomId) -> io::Result<u128> {
        let info = self.info.get(domid.get())?.ok_or(io::ErrorKind::NotFound)?;
        Ok(info.handle)
    }

    fn wait(&self) -> io::Result<()> {
        self.exceptions.wait(None)?;
        self.exceptions.clear()
    }
}

fn device(path: &str) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot open {path}: {error}"));
    options.open(path).map_err(named)
}

impl Drop for Grant {
    fn drop(&mut self) {
        // Fails if the page could not be mapped. There is nothing to give back then.
        let _ = xen::grant_unmap(self.device.as_fd(), self.index);
    }
}

impl Page for XenPage {
    const SIZE: u32 = RingPage::SIZE;

    fn load(&self, field: Field, order: Ordering) -> u32 {
        self.page.load(field, order)
    }

    fn store(&self, field: Field, value: u32, order: Ordering) {
        self.page.store(field, value, order);
    }

    fn read(&self, ring: Ring, at: usize, buf: &mut [u8]) {
        self.page.read(ring, at, buf);
    }

    fn write(&self, ring: Ring, at: usize, bytes: &[u8]) {
        self.page.write(ring, at, bytes);
    }
}

impl fmt::Debug for XenHypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XenHypervisor").finish_non_exhaustive()
    }
}
