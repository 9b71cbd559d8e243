//! Watches with options.

use crate::client::Client;
use crate::engine::{WatchEvent, WatchOptions, WatchToken};
use crate::error::Result;
use crate::watch::{self, Watch};
use crate::watch_set::WatchSetHandle;

/// Options for a watch. The watch is set by [`watch`](Self::watch),
/// [`watch_with`](Self::watch_with) or [`add_to`](Self::add_to).
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let mut watch = client.watch_builder("/a").depth(1).capacity(16).watch()?;
/// watch.wait()?;
///
/// client.write("/a/b", "one level below")?;
/// client.write("/a/b/c", "two levels below")?;
/// assert_eq!(&*watch.wait()?.path, "/a/b");
/// assert!(watch.try_next()?.is_none());
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "no watch is set until `watch`, `watch_with` or `add_to` is called"]
pub struct WatchBuilder<'a> {
    client: &'a Client,
    options: OwnedOptions,
}

/// The options of a watch, with its path.
#[derive(Clone, Debug)]
pub(crate) struct OwnedOptions {
    path: Box<str>,
    pub(crate) depth: Option<u32>,
    pub(crate) capacity: Option<usize>,
}

impl Client {
    /// Returns a builder for a watch with options, such as a depth.
    pub fn watch_builder(&self, path: impl AsRef<str>) -> WatchBuilder<'_> {
        WatchBuilder { client: self, options: OwnedOptions::new(path.as_ref()) }
    }
}

impl WatchBuilder<'_> {
    /// Limits the watch to the node and `depth` levels of descendants; 0 means the node alone. By
    /// default, and with `None`, the watch fires for all descendants.
    ///
    /// A daemon without [`Features::WATCH_DEPTH`](crate::Features::WATCH_DEPTH), such as oxenstored
    /// or the C daemon before Xen 4.22, refuses such a watch with EINVAL. The xenbus device ignores
    /// the depth without an error.
    pub fn depth(mut self, depth: impl Into<Option<u32>>) -> Self {
        self.options.depth = depth.into();
        self
    }

    /// Sets how many events the watch may hold until the program takes them. The minimum is 1. By
    /// default, the [capacity of the client](crate::Builder::watch_capacity) applies.
    pub fn capacity(mut self, events: usize) -> Self {
        self.options.capacity = Some(events);
        self
    }

    /// Sets the watch; see [`Client::watch`].
    ///
    /// # Errors
    /// As for [`Client::watch`], and EINVAL if the daemon does not support a [depth](Self::depth).
    pub fn watch(self) -> Result<Watch> {
        watch::set_watch(self.client, &self.options.as_ref(), self.client.deadline())
    }

    /// Sets the watch, and passes its events to `callback`; see [`Client::watch_with`].
    ///
    /// # Errors
    /// As for [`Client::watch_with`], and EINVAL if the daemon does not support a
    /// [depth](Self::depth).
    pub fn watch_with(
        self,
        callback: impl FnMut(Result<WatchEvent>) + Send + 'static,
    ) -> Result<WatchToken> {
        watch::watch_with(self.client, &self.options.as_ref(), Box::new(callback))
    }

    /// Sets the watch and adds it to a set; see [`WatchSetHandle::add`]. The client and timeout of
    /// the set apply, not those of this builder.
    ///
    /// # Errors
    /// As for [`WatchSetHandle::add`], and EINVAL if the daemon does not support a
    /// [depth](Self::depth).
    pub fn add_to(self, set: &WatchSetHandle) -> Result<WatchToken> {
        set.add_watch(&self.options.as_ref())
    }
}

impl OwnedOptions {
    pub(crate) fn new(path: &str) -> Self {
        OwnedOptions { path: path.into(), depth: None, capacity: None }
    }

    pub(crate) fn as_ref(&self) -> WatchOptions<'_> {
        WatchOptions { path: &self.path, depth: self.depth, capacity: self.capacity }
    }
}
