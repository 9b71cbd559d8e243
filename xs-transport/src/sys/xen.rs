//! System calls of a Linux dom0: grants, event channels, and hypercalls.
//!
//! The numbers and layouts are those of Linux's `xen/evtchn.h`, `xen/gntdev.h` and `xen/privcmd.h`,
//! and of Xen's `public/domctl.h`, on x86-64.
#![allow(unsafe_code)]

use std::ffi::c_ulong;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::linux::{AtomicPage, Mapping};

const EVTCHN_BIND_VIRQ: u32 = 0x44500;
const XENBUS_BACKEND_EVTCHN: u32 = 0x4200;
const GNTDEV_MAP_GRANT_REF: u32 = 0x18_4700;
const GNTDEV_UNMAP_GRANT_REF: u32 = 0x10_4701;
const PRIVCMD_HYPERCALL: u32 = 0x30_5000;

/// Makes an ioctl(2), and returns its result.
///
/// # Safety
/// The request of the descriptor's driver accesses memory as part of `T` only. Drivers for which
/// the number has another meaning reject it, or access as much memory, because the number contains
/// the size.
unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: u32, argument: &mut T) -> io::Result<u32> {
    // SAFETY: the pointer is that of a value that outlives the call. The caller answers for the
    // rest.
    let rc = unsafe {
        libc::ioctl(fd.as_raw_fd(), c_ulong::from(request) as _, ptr::from_mut(argument))
    };
    u32::try_from(rc).map_err(|_| io::Error::last_os_error())
}

/// Binds a virtual interrupt to a new port of an event channel device.
pub(crate) fn evtchn_bind_virq(fd: BorrowedFd<'_>, virq: u32) -> io::Result<u32> {
    // SAFETY: `struct ioctl_evtchn_bind_virq` is one u32.
    unsafe { ioctl(fd, EVTCHN_BIND_VIRQ, &mut { virq }) }
}

/// Returns the port of dom0's own ring, from `/dev/xen/xenbus_backend`.
pub(crate) fn xenbus_backend_port(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the request ignores its argument.
    unsafe { ioctl(fd, XENBUS_BACKEND_EVTCHN, &mut 0u64) }
}

/// Prepares to map a page that a domain has granted, and returns the offset at which mmap(2) maps
/// it. Succeeds for grants that do not exist, too: mmap(2) fails for them.
pub(crate) fn grant_map(fd: BorrowedFd<'_>, domid: u16, reference: u32) -> io::Result<u64> {
    /// `struct ioctl_gntdev_map_grant_ref` with one reference.
    #[repr(C)]
    struct Map {
        count: u32,
        pad: u32,
        index: u64,
        domid: u32,
        reference: u32,
    }
    let mut map = Map { count: 1, pad: 0, index: 0, domid: domid.into(), reference };
    // SAFETY: the driver reads the structure and writes `index`.
    unsafe { ioctl(fd, GNTDEV_MAP_GRANT_REF, &mut map) }?;
    Ok(map.index)
}

/// Gives a grant back. The page must have been unmapped, or never been mapped.
pub(crate) fn grant_unmap(fd: BorrowedFd<'_>, index: u64) -> io::Result<()> {
    /// `struct ioctl_gntdev_unmap_grant_ref`
    #[repr(C)]
    struct Unmap {
        index: u64,
        count: u32,
        pad: u32,
    }
    // SAFETY: the driver reads the structure.
    unsafe { ioctl(fd, GNTDEV_UNMAP_GRANT_REF, &mut Unmap { index, count: 1, pad: 0 }) }.map(|_| ())
}

/// The hypercall XEN_DOMCTL_getdomaininfo, through `/dev/xen/privcmd`.
pub(crate) struct DomainInfo {
    device: File,
    /// A page of `/dev/xen/hypercall`. Xen can access it at any time: it stays where it is, whatever
    /// the kernel does with other memory, and also across fork(2).
    buffer: Mutex<Mapping<Domctl>>,
    /// The version of the interface, which differs between releases of Xen.
    version: u32,
}

/// The information that Xen gives about a domain.
pub(crate) struct Info {
    /// XEN_DOMINF_*
    pub(crate) flags: u32,
    /// The UUID that the toolstack has given the domain.
    pub(crate) handle: u128,
}

/// `struct xen_domctl` with `struct xen_domctl_getdomaininfo`, as far as it is used here. Xen
/// writes to it, hence the atomics.
#[repr(C)]
struct Domctl {
    command: AtomicU32,
    version: AtomicU32,
    domid: AtomicU32,
    pad: AtomicU32,
    /// The domain, in the lower half.
    found: AtomicU32,
    flags: AtomicU32,
    pages_and_time: [AtomicU64; 7],
    processors_and_label: [AtomicU32; 3],
    handle: [AtomicU8; 16],
    rest: [AtomicU8; 36],
}

const _: () = assert!(size_of::<Domctl>() >= 144 && offset_of!(Domctl, handle) == 92);

// SAFETY: the type consists of atomics.
unsafe impl AtomicPage for Domctl {}

/// XEN_DOMINF_*: the domain is being destroyed; it has shut down.
pub(crate) const DYING: u32 = 1;
pub(crate) const SHUT_DOWN: u32 = 4;

impl DomainInfo {
    /// Opens the devices, and finds out which version of the interface Xen has.
    pub(crate) fn open() -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true);
        let memory = options.open("/dev/xen/hypercall")?;
        let buffer = Mutex::new(Mapping::new(memory.as_fd(), 0)?);
        let mut info = DomainInfo { device: options.open("/dev/xen/privcmd")?, buffer, version: 0 };
        // Xen 4.17, 4.18, 4.19 to 4.21, and 4.22.
        for version in 0x15..=0x18 {
            info.version = version;
            match info.get(0) {
                // Xen has another version.
                Err(error) if error.raw_os_error() == Some(libc::EACCES) => {}
                result => return result.map(|_| info),
            }
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "unknown version of Xen's domctl interface"))
    }

    /// Returns what Xen says about a domain, or `None` if no domain has this number.
    pub(crate) fn get(&self, domid: u16) -> io::Result<Option<Info>> {
        const GET_DOMAIN_INFO: u32 = 5;
        const HYPERVISOR_DOMCTL: u64 = 36;
        let buffer = self.buffer.lock().unwrap_or_else(|error| error.into_inner());
        let domctl = buffer.page();
        domctl.command.store(GET_DOMAIN_INFO, Ordering::Relaxed);
        domctl.version.store(self.version, Ordering::Relaxed);
        domctl.domid.store(domid.into(), Ordering::Relaxed);
        domctl.found.store(0, Ordering::Relaxed);
        domctl.flags.store(0, Ordering::Relaxed);
        // `struct privcmd_hypercall`: the number and five arguments.
        let mut call = [HYPERVISOR_DOMCTL, ptr::from_ref(domctl) as u64, 0, 0, 0, 0];
        let fd = self.device.as_fd();
        // SAFETY: the driver reads the six numbers. Xen reads and writes the structure in the
        // buffer, which is locked.
        match unsafe { ioctl(fd, PRIVCMD_HYPERCALL, &mut call) } {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        }
        // Xen 4.17 returns the next higher domain instead of an error.
        let found = domctl.found.load(Ordering::Relaxed) as u16;
        Ok((found == domid).then(|| Info {
            flags: domctl.flags.load(Ordering::Relaxed),
            handle: u128::from_be_bytes(std::array::from_fn(|at| {
                domctl.handle[at].load(Ordering::Relaxed)
            })),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know ioctl(2)")]
    fn sockets_reject_the_requests_of_xen_devices() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let fd = socket.as_fd();
        assert!(evtchn_bind_virq(fd, 3).is_err());
        assert!(xenbus_backend_port(fd).is_err());
        assert!(grant_map(fd, 1, 1).is_err());
        assert!(grant_unmap(fd, 0).is_err());
    }
}
