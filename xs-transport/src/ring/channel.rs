//! The contract of an event channel.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::sys::Descriptor;

/// One end of an event channel.
///
/// A channel carries no data. This end is *pending* from an event until [`clear`](Self::clear).
/// Further events while it is pending have no effect. The caller clears the event first and checks
/// the ring afterwards, so that no event is lost.
///
/// At most one thread is in [`wait`](Self::wait) at a time. All other methods may be called at any
/// time, by any thread.
pub trait EventChannel: Debug + Send + Sync {
    /// Makes the other end pending.
    ///
    /// Earlier writes of this thread to the page become visible to the other end before the event
    /// does.
    ///
    /// # Errors
    /// Fails if the channel can no longer be used, for example because the other end is gone.
    fn notify(&self) -> io::Result<()>;

    /// Waits until this end is pending, or until the deadline. Without a deadline, waits
    /// indefinitely. May return spuriously.
    ///
    /// # Errors
    /// Fails if the channel can no longer be used. `Interrupted` counts as a spurious return.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<()>;

    /// Clears the event. This end is no longer pending, until the next event.
    ///
    /// # Errors
    /// Fails if the channel can no longer be used.
    fn clear(&self) -> io::Result<()>;

    /// Makes this end pending, as an event from the other end does. Ends a [`wait`](Self::wait).
    fn raise(&self);

    /// Returns a descriptor that is readable while this end is pending.
    ///
    /// # Errors
    /// Fails if the channel has no descriptor and cannot create one.
    fn fd(&self) -> io::Result<Descriptor<'_>>;
}

impl<C: EventChannel + ?Sized> EventChannel for Arc<C> {
    fn notify(&self) -> io::Result<()> {
        (**self).notify()
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        (**self).wait(deadline)
    }

    fn clear(&self) -> io::Result<()> {
        (**self).clear()
    }

    fn raise(&self) {
        (**self).raise();
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        (**self).fd()
    }
}
