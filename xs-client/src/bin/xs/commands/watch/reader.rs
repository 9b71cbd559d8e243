//! Notices that the reader of standard output is gone before anything is written.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

/// Calls `notify` on a thread of its own once nothing can read standard output any more. Terminals and
/// files always can be.
pub(super) fn notify_when_gone(notify: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let stdout = io::stdout();
        let mut descriptors = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        // Without events to wait for, poll(2) reports errors only: POLLERR for a pipe without reader.
        loop {
            match poll(&mut descriptors, None) {
                Err(rustix::io::Errno::INTR) => {}
                // Such a descriptor cannot be polled. A write will tell.
                Err(_) => return,
                Ok(_) if descriptors[0].revents().contains(PollFlags::NVAL) => return,
                Ok(_) => return notify(),
            }
        }
    });
}
