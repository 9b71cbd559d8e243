//! System calls of Linux: a shared page, event channels, and one descriptor for several.
#![allow(unsafe_code)]

use std::ffi::c_ulong;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use xs_proto::ring::RingPage;

/// A page that this process shares with other processes, domains or Xen.
pub(crate) struct Mapping<T> {
    address: NonNull<T>,
}

/// The contents of such a page, which may change at any time.
///
/// # Safety
/// The type consists of atomics, which have no invalid values.
pub(crate) unsafe trait AtomicPage: Send + Sync {}

// SAFETY: the type consists of atomics.
unsafe impl AtomicPage for RingPage {}

/// The size of a page of Xen in bytes, whatever the size of this system's pages is.
const PAGE_SIZE: usize = 4096;

// SAFETY: the mapping belongs to the process, not to a thread, and all access is through atomics.
unsafe impl<T: AtomicPage> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: AtomicPage> Sync for Mapping<T> {}

impl<T: AtomicPage> Mapping<T> {
    /// Maps the page of a descriptor that begins at `offset`.
    pub(crate) fn new(fd: BorrowedFd<'_>, offset: u64) -> io::Result<Self> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without an address and MAP_FIXED, mmap(2) changes no existing mapping.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE_SIZE,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Mapping { address })
    }

    pub(crate) fn page(&self) -> &T {
        // SAFETY: the address is that of a mapping of PAGE_SIZE bytes, which is aligned to a page
        // and lasts until `self` is dropped. The type fits in and consists of atomics, which have
        // no invalid values and may be changed from outside. Rust has no reference to the mapping
        // that is not shared.
        unsafe { self.address.as_ref() }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping has this address and size, and nothing borrows from it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), PAGE_SIZE) };
    }
}

/// A descriptor that is readable while any of several is.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new(fds: &[BorrowedFd<'_>]) -> io::Result<Self> {
        // SAFETY: epoll_create1(2) takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just returned this open descriptor, so it has no other owner.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        for fd in fds {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            let (epoll, fd) = (epoll.as_raw_fd(), fd.as_raw_fd());
            // SAFETY: `event` is a local epoll_event, which outlives the call.
            let rc = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
            if rc < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Epoll(epoll))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// IOCTL_EVTCHN_BIND_INTERDOMAIN and IOCTL_EVTCHN_NOTIFY of Linux's `xen/evtchn.h`.
const BIND_INTERDOMAIN: u32 = 0x84501;
const NOTIFY: u32 = 0x44504;

/// Binds a port of an event channel device to that of another domain, and returns its number.
pub(crate) fn evtchn_bind(fd: BorrowedFd<'_>, domid: u16, remote: u32) -> io::Result<u32> {
    evtchn(fd, BIND_INTERDOMAIN, [domid.into(), remote])
}

/// Notifies the other end of a port.
pub(crate) fn evtchn_notify(fd: BorrowedFd<'_>, port: u32) -> io::Result<()> {
    evtchn(fd, NOTIFY, [port, 0]).map(|_| ())
}

fn evtchn(fd: BorrowedFd<'_>, request: u32, arguments: [u32; 2]) -> io::Result<u32> {
    // SAFETY: both requests read one or two u32 at the pointer, and `arguments` outlives the call.
    // A descriptor of another kind rejects the requests, which no other driver has.
    let rc =
        unsafe { libc::ioctl(fd.as_raw_fd(), c_ulong::from(request) as _, &raw const arguments) };
    u32::try_from(rc).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;
    use std::time::Instant;

    use xs_proto::ring::{Field, Page, Ring};

    use super::*;
    use crate::sys;

    fn memory_file(len: u64) -> File {
        let name = CString::new("page").unwrap();
        // SAFETY: `name` is a string that ends with NUL and outlives the call. The descriptor that
        // the call returns has no other owner.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(name.as_ptr(), 0)) };
        file.set_len(len).unwrap();
        file
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri cannot map files")]
    fn mappings_of_one_file_share_their_bytes() {
        let file = memory_file(8192);
        let map = |offset| Mapping::<RingPage>::new(file.as_fd(), offset).unwrap();
        let (first, second, other) = (map(4096), map(4096), map(0));
        first.page().store(Field::Connection, 1, Ordering::Relaxed);
        first.page().write(Ring::Requests, 1020, b"last");
        drop(first);
        assert_eq!(second.page().load(Field::Connection, Ordering::Relaxed), 1);
        let mut bytes = [0; 4];
        second.page().read(Ring::Requests, 1020, &mut bytes);
        assert_eq!(&bytes, b"last");
        assert_eq!(other.page().load(Field::Connection, Ordering::Relaxed), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri cannot map files")]
    fn misaligned_offsets_and_sockets_cannot_be_mapped() {
        let map = Mapping::<RingPage>::new;
        assert!(map(memory_file(8192).as_fd(), 100).is_err());
        assert!(map(memory_file(8192).as_fd(), u64::MAX).is_err());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(map(ours.as_fd(), 0).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know poll(2)")]
    fn epoll_descriptor_is_readable_while_any_of_its_descriptors_is() {
        let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
        let epoll = Epoll::new(&[pairs[0].0.as_fd(), pairs[1].0.as_fd()]).unwrap();
        let is_readable = || {
            let fds = [(epoll.descriptor(), libc::POLLIN)];
            sys::poll(fds, Some(Instant::now())).unwrap() != [0]
        };
        for (ours, theirs) in &pairs {
            assert!(!is_readable());
            (&*theirs).write_all(b"x").unwrap();
            assert!(is_readable());
            (&*ours).read_exact(&mut [0]).unwrap();
        }
        assert!(!is_readable());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know ioctl(2)")]
    fn sockets_reject_the_requests_of_event_channels() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(evtchn_bind(ours.as_fd(), 1, 2).is_err());
        assert!(evtchn_notify(ours.as_fd(), 1).is_err());
    }
}
