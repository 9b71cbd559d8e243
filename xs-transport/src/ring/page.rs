//! A page that another process or domain shares with this one.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use xs_proto::ring::{Field, Page, Ring, RingPage};

use crate::sys::Mapping;

/// A page that this process has mapped: of a grant device, of `/dev/xen/xenbus_backend`, or of a
/// file in memory. Dropping it unmaps the page.
pub struct MappedPage(Mapping<RingPage>);

impl MappedPage {
    /// Maps the page of `fd` that begins at `offset` bytes, to read and write it.
    ///
    /// The page of a file has to exist. If the file is truncated later, the next access ends the
    /// process with SIGBUS.
    ///
    /// # Errors
    /// The error of mmap(2). `/dev/xen/gntdev` fails with EINVAL if the other domain does not share
    /// the page.
    pub fn map(fd: impl AsFd, offset: u64) -> io::Result<Self> {
        Mapping::new(fd.as_fd(), offset).map(MappedPage)
    }

    fn page(&self) -> &RingPage {
        self.0.page()
    }
}

impl Page for MappedPage {
    const SIZE: u32 = RingPage::SIZE;

    fn load(&self, field: Field, order: Ordering) -> u32 {
        self.page().load(field, order)
    }

    fn store(&self, field: Field, value: u32, order: Ordering) {
        self.page().store(field, value, order);
    }

    fn read(&self, ring: Ring, at: usize, buf: &mut [u8]) {
        self.page().read(ring, at, buf);
    }

    fn write(&self, ring: Ring, at: usize, bytes: &[u8]) {
        self.page().write(ring, at, bytes);
    }
}

impl fmt::Debug for MappedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedPage").field(self.page()).finish()
    }
}
