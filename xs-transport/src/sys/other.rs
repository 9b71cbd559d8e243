//! Substitutes for the functions of `unix` on systems without descriptors and forks.

use std::io;

use super::Descriptor;

/// A descriptor that is readable after a wake-up. No value of this type exists.
#[derive(Debug)]
pub(crate) enum Waker {}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn wake(&self) {
        match *self {}
    }

    pub(crate) fn clear(&self) {
        match *self {}
    }

    pub(crate) fn descriptor(&self) -> Descriptor<'_> {
        match *self {}
    }
}

/// Returns the number of forks, of which there are none.
pub(crate) fn forks() -> usize {
    0
}

pub(crate) fn count_forks() {}

/// Returns whether the system lacks something for a call, so that the same call may succeed later.
pub(crate) fn is_shortage(_: &io::Error) -> bool {
    false
}
