//! Watches: setting and removing them, and taking their events.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xs_transport::Failure;

use crate::callbacks;
use crate::client::Client;
use crate::engine::{Callback, Delivery, GroupId, Next, WatchEvent, WatchOptions, WatchToken};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::handle::Handle;
use crate::registration::{Registration, Removal};

/// A watch on a node and its descendants, whose events are taken one by one.
///
/// The first event comes as soon as the watch is set, so a loop over the events begins with the
/// present state. A watch may fire without a change, and events of one path that wait to be taken
/// coalesce; see [`WatchEvent`] and [`EventKind`](crate::EventKind). Dropping the watch removes it.
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let mut watch = client.watch("/a")?;
/// assert_eq!(&*watch.wait()?.path, "/a");
///
/// client.write("/a/b", "changed")?;
/// assert_eq!(&*watch.wait()?.path, "/a/b");
/// assert!(watch.try_next()?.is_none());
/// # Ok::<(), xs_client::Error>(())
/// ```
///
/// A watch is also an iterator, which blocks for each event. It ends after an error, or when
/// another part of the program removes the watch.
///
/// Events are received while any thread waits for something on this client. A program that sets
/// watches and then does other work for long should use [callbacks](Client::watch_with), whose
/// thread receives all the time. Otherwise the events stay with the daemon, which can block other
/// clients; see [Threads](crate#threads).
#[must_use = "dropping it removes the watch"]
pub struct Watch {
    pub(crate) events: Events,
    path: Box<str>,
    token: WatchToken,
}

impl Client {
    /// Sets a watch on a node, which need not exist, or on a special path.
    ///
    /// `@introduceDomain` fires when a domain appears, and `@releaseDomain` when one shuts down or
    /// is destroyed.
    ///
    /// # Errors
    /// E2BIG, ENOSPC or EQUOTA: the domain has too many watches.
    #[doc(alias = "xs_watch")]
    pub fn watch(&self, path: impl AsRef<str>) -> Result<Watch> {
        set_watch(self, &WatchOptions::new(path.as_ref()), self.deadline())
    }

    /// Sets a watch whose events are passed to `callback`.
    ///
    /// Callbacks run one at a time on a thread of the client, which starts with the first such
    /// watch and runs until [`watch_stop`](Self::watch_stop). A callback may use the client and
    /// remove its own watch. It may be called before this function returns, so it must not wait for
    /// the caller's next step.
    ///
    /// If the connection is lost and [not replaced](crate::Builder::reconnect), the callback is
    /// called a last time, with the error. A callback that panics is not called again. A callback
    /// is dropped when its watch is removed or the client ends. If it holds a clone of the client,
    /// the client does not end.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use std::sync::mpsc;
    ///
    /// let (sender, events) = mpsc::channel();
    /// client.watch_with("/a", move |event| sender.send(event).unwrap())?;
    /// assert_eq!(&*events.recv().unwrap()?.path, "/a");
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`watch`](Self::watch), or the thread cannot be started.
    #[doc(alias("watch_start", "on_watch"))]
    pub fn watch_with(
        &self,
        path: impl AsRef<str>,
        callback: impl FnMut(Result<WatchEvent>) + Send + 'static,
    ) -> Result<WatchToken> {
        watch_with(self, &WatchOptions::new(path.as_ref()), Box::new(callback))
    }

    /// Removes a watch. When this returns, no more of its events are delivered, and its callback is
    /// not running, unless the callback itself is the caller. Removing a watch that does not exist
    /// is not an error.
    #[doc(alias("xs_unwatch", "unwatch_by_token"))]
    pub fn unwatch(&self, token: WatchToken) -> Result<()> {
        unwatch(&self.handle, token, self.deadline())
    }

    /// Removes all watches of this client.
    ///
    /// # Errors
    /// The first error of removing a watch. All other watches are removed nevertheless. A watch that
    /// [`reset_watches`](Self::reset_watches) removes meanwhile is not an error.
    pub fn unwatch_all(&self) -> Result<()> {
        let deadline = self.deadline();
        let tokens = self.watch_tokens()?;
        // All watches are removed, even if one removal fails.
        let mut result = Ok(());
        for token in tokens {
            result = result.and(unwatch(&self.handle, token, deadline));
        }
        result
    }

    /// Stops the callback thread.
    ///
    /// When this returns, no callback is running, unless a callback is the caller. The watches with
    /// callbacks stay set, and their events are kept. Setting another watch with a callback starts
    /// the thread again. Everything else works without the thread.
    #[doc(alias = "stop_watcher")]
    pub fn watch_stop(&self) {
        callbacks::stop(&self.handle);
    }

    /// Waits until the value of a node meets a condition, and returns the value. The condition gets
    /// `None` while the node does not exist. This waits for at most `timeout`, or indefinitely if
    /// that is `None`, whatever the timeout of the client is.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// # client.write("/state", "4")?;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// client.wait_for("/state", second, |value| value == Some(b"4"))?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] after `timeout`. Any error of reading the node, except ENOENT.
    pub fn wait_for(
        &self,
        path: impl AsRef<str>,
        timeout: impl Into<Option<Duration>>,
        mut condition: impl FnMut(Option<&[u8]>) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let deadline = self.with_timeout(timeout).deadline();
        let mut watch = set_watch(self, &WatchOptions::new(path), deadline)?;
        loop {
            if watch.next_until(deadline)?.is_none() {
                return Err(Error::new("wait_for", Some(path), ErrorKind::TimedOut));
            }
            let value = match self.run_until(deadline, &crate::op::read(path)) {
                Ok(value) => Some(value),
                Err(error) if error.is_not_found() => None,
                // The watch returns an event when the client has connected again.
                Err(error) if error.is_lost() && self.reconnects() => continue,
                Err(error) => return Err(error),
            };
            if condition(value.as_deref()) {
                return Ok(value);
            }
        }
    }

    /// Returns the tokens of all watches of this client.
    pub(crate) fn watch_tokens(&self) -> Result<Vec<WatchToken>> {
        check_process(&self.handle)?;
        Ok(self.handle.lock().watches.tokens())
    }

    pub(crate) fn reconnects(&self) -> bool {
        self.handle.lock().reconnects()
    }

    /// If the running callback belongs to a watch that has ended, waits until it returns.
    pub(crate) fn await_callbacks(&self) {
        let mut guard = self.handle.lock();
        let token = guard.callback_thread.running.and_then(|running| running.token);
        if let Some(token) = token.filter(|token| !guard.watches.contains(*token)) {
            callbacks::await_return(&mut guard, |running| running.token == Some(token));
        }
    }
}

impl Watch {
    pub(crate) fn new(client: &Client, path: &str, token: WatchToken, group: GroupId) -> Self {
        let events = Events::new((**client).clone(), group);
        Watch { events, path: path.into(), token }
    }

    /// Returns the watched path, as the caller gave it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the token, for [`Client::unwatch`].
    pub fn token(&self) -> WatchToken {
        self.token
    }

    /// Waits for the next event, without a deadline.
    ///
    /// # Errors
    /// The connection is lost and [not replaced](crate::Builder::reconnect), or another part of the
    /// program has removed the watch.
    #[doc(alias("xs_read_watch", "recv"))]
    pub fn wait(&mut self) -> Result<WatchEvent> {
        self.events.wait().into_result(Some(&self.path))
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
        let next = self.events.next_until(deadline);
        next.map(|next| next.into_result(Some(&self.path))).transpose()
    }

    /// Returns the next event if it was received already, or can be received without waiting.
    ///
    /// If the client [reconnects](crate::Builder::reconnect) and the connection is lost, this makes
    /// one attempt to connect, unless the client still pauses after the last one. It returns `None`
    /// until there is a connection.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    #[doc(alias("xs_check_watch", "try_recv"))]
    pub fn try_next(&mut self) -> Result<Option<WatchEvent>> {
        let next = self.events.try_next();
        next.map(|next| next.into_result(Some(&self.path))).transpose()
    }

    /// Converts to the item of the iterator or stream.
    pub(crate) fn item(&mut self, next: Next) -> Option<Result<WatchEvent>> {
        self.events.item(next, Some(&self.path))
    }

    /// Removes the watch and waits for the daemon's confirmation, within the timeout of the client
    /// that has set the watch.
    ///
    /// # Errors
    /// The daemon refused, or did not answer in time.
    pub fn remove(self) -> Result<()> {
        let tree = &self.events.tree;
        unwatch(&tree.handle, self.token, tree.deadline())
    }
}

impl Iterator for Watch {
    type Item = Result<WatchEvent>;

    fn next(&mut self) -> Option<Result<WatchEvent>> {
        if self.events.has_ended {
            return None;
        }
        let next = self.events.wait();
        self.item(next)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(Removal::new(&self.events.tree.handle, self.token));
    }
}

/// Sets a watch whose events its owner takes.
pub(crate) fn set_watch(
    client: &Client,
    options: &WatchOptions<'_>,
    deadline: Option<Instant>,
) -> Result<Watch> {
    let (mut registration, group) = Registration::single(&client.handle, *options, Delivery::Owner);
    registration.run(deadline)?;
    Ok(Watch::new(client, options.path, registration.keep(), group))
}

/// Sets a watch with a callback.
pub(crate) fn watch_with(
    client: &Client,
    options: &WatchOptions<'_>,
    callback: Callback,
) -> Result<WatchToken> {
    let (deadline, path) = (client.deadline(), Some(options.path));
    // The thread comes first, so that there is nothing to undo if it cannot be started.
    callbacks::start(&client.handle)
        .map_err(|error| Error::new("watch", path, ErrorKind::System(error)))?;
    let (mut registration, group) =
        Registration::single(&client.handle, *options, Delivery::AwaitingCallback);
    registration.run(deadline)?;
    // Installed only now: the callback of a watch that could not be set is never called.
    install(&client.handle, group, callback).map_err(|kind| Error::new("watch", path, kind))?;
    Ok(registration.keep())
}

/// Gives a watch its callback. Fails if the callback thread has ended with the connection.
fn install(
    handle: &Handle,
    group: GroupId,
    callback: Callback,
) -> std::result::Result<(), ErrorKind> {
    let mut guard = handle.lock();
    let state = &mut *guard;
    if let Some(failure) = state.callback_thread.ended.clone() {
        state.deferred.drop_later(callback);
        return Err(failure.into());
    }
    // If another thread has removed all watches meanwhile, the callback is dropped.
    if let Err(callback) = state.watches.install_callback(group, callback, &mut state.deferred) {
        state.deferred.drop_later(callback);
    }
    Ok(())
}

/// Removes a watch and waits until the daemon has confirmed it.
pub(crate) fn unwatch(
    handle: &Arc<Handle>,
    token: WatchToken,
    deadline: Option<Instant>,
) -> Result<()> {
    match Removal::new(handle, token) {
        Some(removal) => removal.run(deadline),
        None => check_process(handle),
    }
}

/// Watches exist only in the process of the client.
///
/// # Errors
/// This process was forked from it.
pub(crate) fn check_process(handle: &Handle) -> Result<()> {
    match handle.lock().is_forked() {
        true => Err(Error::new("unwatch", None, Failure::Forked)),
        false => Ok(()),
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("path", &self.path)
            .field("token", &self.token)
            .field("connection", &self.events.tree.handle)
            .finish_non_exhaustive()
    }
}
