//! Sets of watches, as streams.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::client::Client;
use super::watch::next_until;
use crate::engine::{WatchEvent, WatchOptions, WatchToken};
use crate::error::Result;
use crate::registration::{Registration, Removal};

/// A set of watches; see [`xs_client::WatchSet`](crate::WatchSet).
///
/// It is a stream of events, which ends after the error of a lost connection, or when the set is
/// closed. Dropping a future that waits for an event loses no event. Dropping the set removes its
/// watches.
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// # use xs_client::futures::Client;
/// # use xs_transport::mock::Xenstored;
/// # let blocking = xs_client::Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// # let client = Client::on_tokio(blocking)?;
/// let mut set = client.watch_set();
/// set.add("/a").await?;
/// assert_eq!(&*set.wait().await?.path, "/a");
///
/// // Another task adds a watch.
/// let handle = set.handle();
/// tokio::spawn(async move { handle.add("/b").await });
/// assert_eq!(&*set.wait().await?.path, "/b");
/// # Ok::<(), xs_client::Error>(())
/// # }).unwrap();
/// # }
/// ```
pub struct WatchSet {
    handle: WatchSetHandle,
    set: crate::WatchSet,
}

/// Adds watches to a set and removes them; see
/// [`xs_client::WatchSetHandle`](crate::WatchSetHandle).
#[derive(Clone)]
pub struct WatchSetHandle {
    client: Client,
    set: crate::WatchSetHandle,
}

impl Client {
    /// Returns an empty set of watches.
    pub fn watch_set(&self) -> WatchSet {
        let set = self.blocking.watch_set();
        let handle = WatchSetHandle { client: self.clone(), set: set.handle() };
        WatchSet { handle, set }
    }
}

impl WatchSet {
    /// Returns a handle that adds watches to this set and removes them.
    pub fn handle(&self) -> WatchSetHandle {
        self.handle.clone()
    }

    /// Waits for the next event. While the set is empty, waits until another task adds a watch.
    ///
    /// # Errors
    /// As for [`xs_client::WatchSet::wait`](crate::WatchSet::wait).
    pub async fn wait(&mut self) -> Result<WatchEvent> {
        poll_fn(|cx| self.set.events.poll_next(cx)).await.into_result(None)
    }

    /// Waits for the next event. Returns `None` if none comes within `timeout`.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub async fn next_timeout(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        let deadline = self.handle.client.blocking.handle.task_now().checked_add(timeout);
        self.next_until(deadline).await
    }

    /// Waits for the next event until a deadline of the [runtime's clock](super#time); `None` waits
    /// indefinitely. Returns `None` if no event comes in time.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub async fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        let next = next_until(&self.set.events, deadline).await;
        next.map(|next| next.into_result(None)).transpose()
    }
}

impl WatchSetHandle {
    /// Sets a watch and adds it to the set; see [`add`](crate::WatchSetHandle::add).
    pub async fn add(&self, path: impl AsRef<str>) -> Result<WatchToken> {
        self.add_watch(&WatchOptions::new(path.as_ref())).await
    }

    /// Removes a watch; see [`remove`](crate::WatchSetHandle::remove).
    pub async fn remove(&self, token: WatchToken) -> Result<()> {
        match self.contains(token) {
            true => self.client.unwatch(token).await,
            false => Ok(()),
        }
    }

    /// Returns whether a watch is in the set.
    pub fn contains(&self, token: WatchToken) -> bool {
        self.set.contains(token)
    }

    /// Returns the number of watches in the set.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Returns whether the set has no watches.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Ends the set and removes its watches; see [`close`](crate::WatchSetHandle::close).
    pub async fn close(&self) -> Result<()> {
        let deadline = self.client.blocking.task_deadline();
        let mut result = Ok(());
        for removal in Removal::of_set(&self.client.blocking.handle, self.set.group()) {
            result = result.and(self.client.complete(removal, deadline).await);
        }
        result
    }

    pub(super) async fn add_watch(&self, options: &WatchOptions<'_>) -> Result<WatchToken> {
        let handle = &self.client.blocking.handle;
        let registration = Registration::in_set(handle, *options, self.set.group());
        self.client.register(registration, self.client.blocking.task_deadline()).await
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
        self.set.fmt(f)
    }
}

impl fmt::Debug for WatchSetHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)
    }
}

impl Stream for WatchSet {
    type Item = Result<WatchEvent>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let events = &mut self.get_mut().set.events;
        if events.has_ended {
            return Poll::Ready(None);
        }
        events.poll_next(cx).map(|next| events.item(next, None))
    }
}
