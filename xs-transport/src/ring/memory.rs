//! An event channel within a process.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::channel::EventChannel;
use crate::process::Process;
use crate::sys::{Descriptor, LazyWaker};

/// One end of an event channel between two threads of this process.
///
/// When one end is dropped, the other one fails with `BrokenPipe`.
///
/// ```
/// use xs_transport::ring::{EventChannel, MemoryChannel};
///
/// let (ours, theirs) = MemoryChannel::pair();
/// theirs.notify()?;
/// ours.wait(None)?;
/// ours.clear()?;
///
/// drop(theirs);
/// assert!(ours.notify().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MemoryChannel {
    ours: Arc<Line>,
    theirs: Arc<Line>,
    process: Process,
}

/// The notifications for one end.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
    /// Readable while the end is pending.
    readiness: LazyWaker,
}

#[derive(Default)]
struct State {
    is_pending: bool,
    /// The other end is gone.
    is_closed: bool,
}

impl MemoryChannel {
    /// Creates both ends of a channel.
    pub fn pair() -> (Self, Self) {
        let lines = [Arc::new(Line::default()), Arc::new(Line::default())];
        let end = |ours: &Arc<Line>, theirs: &Arc<Line>| MemoryChannel {
            ours: ours.clone(),
            theirs: theirs.clone(),
            process: Process::current(),
        };
        (end(&lines[0], &lines[1]), end(&lines[1], &lines[0]))
    }
}

impl EventChannel for MemoryChannel {
    fn notify(&self) -> io::Result<()> {
        self.theirs.set_pending();
        self.ours.lock().check()
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let mut state = self.ours.lock();
        loop {
            if state.is_pending {
                return Ok(());
            }
            state.check()?;
            let Some(deadline) = deadline else {
                state = self.ours.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.ours.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn clear(&self) -> io::Result<()> {
        let mut state = self.ours.lock();
        state.check()?;
        if std::mem::take(&mut state.is_pending) {
            self.ours.readiness.clear();
        }
        Ok(())
    }

    fn raise(&self) {
        self.ours.set_pending();
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        let state = self.ours.lock();
        self.ours.readiness.descriptor(state.is_pending || state.is_closed)
    }
}

impl Line {
    fn set_pending(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_pending, true) {
            self.tell();
        }
    }

    /// Ends the wait. The caller holds the lock.
    fn tell(&self) {
        self.changed.notify_all();
        self.readiness.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        match self.is_closed {
            true => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the other end of the event channel is closed",
            )),
            false => Ok(()),
        }
    }
}

impl Drop for MemoryChannel {
    fn drop(&mut self) {
        // In a forked process, another thread of the parent may hold the lock.
        if self.process.is_current() {
            let mut state = self.theirs.lock();
            state.is_closed = true;
            self.theirs.tell();
        }
    }
}

impl fmt::Debug for MemoryChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryChannel")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn events_stay_until_cleared() {
        let (ours, theirs) = MemoryChannel::pair();
        theirs.notify().unwrap();
        theirs.notify().unwrap();
        ours.wait(None).unwrap();
        ours.wait(None).unwrap();
        ours.clear().unwrap();
        let deadline = Instant::now() + Duration::from_millis(2);
        ours.wait(Some(deadline)).unwrap();
        assert!(Instant::now() >= deadline);
        ours.raise();
        ours.wait(None).unwrap();
    }

    #[test]
    fn dropping_an_end_fails_the_other_one_after_its_events() {
        let (ours, theirs) = MemoryChannel::pair();
        theirs.notify().unwrap();
        drop(theirs);
        ours.wait(None).unwrap();
        assert_eq!(ours.clear().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(ours.notify().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[cfg(unix)]
    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know poll(2)")]
    fn descriptor_is_readable_while_pending() {
        let (ours, theirs) = MemoryChannel::pair();
        let is_readable = || {
            let fds = [(ours.fd().unwrap(), libc::POLLIN)];
            crate::sys::poll(fds, Some(Instant::now())).unwrap() != [0]
        };
        theirs.notify().unwrap();
        assert!(is_readable());
        ours.clear().unwrap();
        assert!(!is_readable());
        ours.raise();
        assert!(is_readable());
        ours.clear().unwrap();
        drop(theirs);
        assert!(is_readable());
    }
}
