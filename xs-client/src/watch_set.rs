//! Many watches behind one handle.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::callbacks;
use crate::client::Client;
use crate::engine::{Delivery, GroupId, WatchEvent, WatchOptions, WatchToken};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::registration::{Registration, Removal};
use crate::tree::Tree;
use crate::watch;

/// A set of watches, whose events are taken one by one.
///
/// Each [event](WatchEvent) names its watch: the token that [`add`](WatchSetHandle::add) has
/// returned, and the watched path. Events of one watch keep their order. Watches whose events wait
/// take turns, starting with the watch whose event came first, so a busy watch does not delay the
/// others. Each watch has a queue of its own, with the same
/// [capacity](crate::Builder::watch_capacity) as that of a single [`Watch`](crate::Watch).
///
/// The set is also an iterator, which blocks for each event. Dropping the set removes its watches.
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let mut set = client.watch_set();
/// let a = set.add("/a")?;
/// let b = set.add("/b")?;
/// // The first event of each watch comes as soon as it is set.
/// assert_eq!(set.wait()?.token, a);
/// assert_eq!(set.wait()?.token, b);
///
/// client.write("/b/c", "changed")?;
/// let event = set.wait()?;
/// assert_eq!((event.token, &*event.watched, &*event.path), (b, "/b", "/b/c"));
/// # Ok::<(), xs_client::Error>(())
/// ```
///
/// The set dereferences to a [`WatchSetHandle`], which adds and removes watches. A clone of the
/// handle does so from another thread while this one waits:
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let mut set = client.watch_set();
/// let handle = set.handle();
/// let other = std::thread::spawn(move || handle.add("/a"));
/// assert_eq!(&*set.wait()?.path, "/a");
/// # other.join().unwrap()?;
/// # Ok::<(), xs_client::Error>(())
/// ```
///
/// If the daemon refuses to set a watch again after a
/// [reconnect](crate::Builder::reconnect), the set returns an error with the path of this watch,
/// which is then no longer in the set. The other watches remain.
pub struct WatchSet {
    handle: WatchSetHandle,
    pub(crate) events: Events,
}

/// A handle that adds watches to a set and removes them. Clones belong to the same set.
///
/// A handle does not keep its set alive. It keeps the connection open, as a clone of the client does.
#[derive(Clone)]
pub struct WatchSetHandle {
    tree: Tree,
    group: GroupId,
}

impl Client {
    /// Returns an empty set of watches.
    pub fn watch_set(&self) -> WatchSet {
        let group = self.handle.lock().watches.add_set(Delivery::Owner);
        let tree = (**self).clone();
        let handle = WatchSetHandle { tree: tree.clone(), group };
        WatchSet { handle, events: Events::new(tree, group) }
    }

    /// Creates an empty set of watches whose events are passed to `callback`, and returns its
    /// handle.
    ///
    /// The callback runs on the same thread as those of [`watch_with`](Self::watch_with), and
    /// follows the same rules. The callbacks of several sets and watches take turns. If the daemon
    /// refuses to set a watch of the set again after a [reconnect](crate::Builder::reconnect), the
    /// callback gets an error with the path of this watch, and continues to get the events of the
    /// others.
    ///
    /// The set exists until it is [closed](WatchSetHandle::close) or the client ends.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use std::sync::mpsc;
    ///
    /// let (sender, events) = mpsc::channel();
    /// let set = client.watch_set_with(move |event| sender.send(event).unwrap())?;
    /// let token = set.add("/a")?;
    /// assert_eq!(events.recv().unwrap()?.token, token);
    /// set.close()?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// The thread cannot be started, or the connection is lost and not replaced.
    pub fn watch_set_with(
        &self,
        callback: impl FnMut(Result<WatchEvent>) + Send + 'static,
    ) -> Result<WatchSetHandle> {
        callbacks::start(&self.handle)
            .map_err(|error| Error::new("watch_set_with", None, ErrorKind::System(error)))?;
        let mut guard = self.handle.lock();
        if let Some(failure) = guard.failure().filter(|_| guard.is_lost()) {
            return Err(Error::new("watch_set_with", None, failure.clone()));
        }
        let group = guard.watches.add_set(Delivery::Callback(Some(Box::new(callback))));
        drop(guard);
        Ok(WatchSetHandle { tree: (**self).clone(), group })
    }
}

impl WatchSet {
    /// Returns a handle that adds watches to this set and removes them.
    pub fn handle(&self) -> WatchSetHandle {
        self.handle.clone()
    }

    /// Waits for the next event, without a deadline. While the set is empty, this waits until
    /// another thread adds a watch.
    ///
    /// # Errors
    /// The connection is lost and [not replaced](crate::Builder::reconnect), the set is
    /// [closed](WatchSetHandle::close), or the daemon has refused to set a watch again.
    pub fn wait(&mut self) -> Result<WatchEvent> {
        self.events.wait().into_result(None)
    }

    /// Waits for the next event, for at most `timeout`. Returns `None` if no event comes in time. A
    /// client that [reconnects](crate::Builder::reconnect) tries to connect meanwhile.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Does the same as [`next_timeout`](Self::next_timeout), with a deadline instead of a timeout;
    /// `None` waits indefinitely.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        self.events.next_until(deadline).map(|next| next.into_result(None)).transpose()
    }

    /// Returns the next event if it was received already, or can be received without waiting; see
    /// [`Watch::try_next`](crate::Watch::try_next).
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn try_next(&mut self) -> Result<Option<WatchEvent>> {
        self.events.try_next().map(|next| next.into_result(None)).transpose()
    }
}

impl WatchSetHandle {
    /// Sets a watch and adds it to the set. A path may be added several times.
    ///
    /// Use [`Client::watch_builder`] for a watch with options.
    ///
    /// # Errors
    /// As for [`Client::watch`]. [`ErrorKind::WatchRemoved`] if the set no longer exists.
    pub fn add(&self, path: impl AsRef<str>) -> Result<WatchToken> {
        self.add_watch(&WatchOptions::new(path.as_ref()))
    }

    /// Removes a watch. When this returns, no more of its events are delivered, and the callback of
    /// the set is not running for one of them, unless the callback itself is the caller. Removing a
    /// watch that is not in the set is not an error.
    ///
    /// # Errors
    /// The daemon refused, or did not answer in time.
    pub fn remove(&self, token: WatchToken) -> Result<()> {
        match self.contains(token) {
            true => watch::unwatch(&self.tree.handle, token, self.tree.deadline()),
            false => watch::check_process(&self.tree.handle),
        }
    }

    /// Returns whether a watch is in the set.
    pub fn contains(&self, token: WatchToken) -> bool {
        self.tree.handle.lock().watches.is_in(self.group, token)
    }

    /// Returns the number of watches in the set.
    pub fn len(&self) -> usize {
        self.tree.handle.lock().watches.tokens_of(self.group).len()
    }

    /// Returns whether the set has no watches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the set and removes its watches. When this returns, no more events are delivered, and
    /// the callback of the set is not running, unless the callback itself is the caller.
    ///
    /// # Errors
    /// The daemon refused to remove a watch, or did not answer in time. The set has ended
    /// nevertheless.
    pub fn close(&self) -> Result<()> {
        let deadline = self.tree.deadline();
        watch::check_process(&self.tree.handle)?;
        let mut result = Ok(());
        for removal in Removal::of_set(&self.tree.handle, self.group) {
            result = result.and(removal.run(deadline));
        }
        result
    }

    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name).field("connection", &self.tree.handle).finish_non_exhaustive()
    }

    #[cfg(feature = "futures")]
    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    pub(crate) fn add_watch(&self, options: &WatchOptions<'_>) -> Result<WatchToken> {
        let mut registration = Registration::in_set(&self.tree.handle, *options, self.group);
        registration.run(self.tree.deadline())?;
        Ok(registration.keep())
    }
}

impl Deref for WatchSet {
    type Target = WatchSetHandle;

    fn deref(&self) -> &WatchSetHandle {
        &self.handle
    }
}

impl fmt::Debug for WatchSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.show(f, "WatchSet")
    }
}

impl fmt::Debug for WatchSetHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "WatchSetHandle")
    }
}

impl Iterator for WatchSet {
    type Item = Result<WatchEvent>;

    /// Waits for the next event. The iterator ends after the error of a lost connection, or when the
    /// set is closed.
    fn next(&mut self) -> Option<Result<WatchEvent>> {
        if self.events.has_ended {
            return None;
        }
        let next = self.events.wait();
        self.events.item(next, None)
    }
}

impl Drop for WatchSet {
    fn drop(&mut self) {
        drop(Removal::of_set(&self.handle.tree.handle, self.handle.group));
    }
}
