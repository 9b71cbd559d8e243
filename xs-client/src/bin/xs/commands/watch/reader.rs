//! Detects that the reader of standard output is gone, without writing anything.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

/// Calls `notify`, on another thread, once standard output has no reader any more. This never
/// happens with terminals and files.
pub(super) fn notify_when_gone(notify: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let stdout = io::stdout();
        let mut descriptors = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        // Without events to wait for, poll(2) reports errors only: POLLERR for a pipe without
        // reader.
        loop {
            match poll(&mut descriptors, None) {
                Err(rustix::io::Errno::INTR) => {}
                // Such a descriptor cannot be polled. A write will fail instead.
                Err(_) => return,
                Ok(_) if descriptors[0].revents().contains(PollFlags::NVAL) => return,
                Ok(_) => return notify(),
            }
        }
    });
}
