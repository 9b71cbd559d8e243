//! Watches with options, as futures.

use super::client::Client;
use super::watch::Watch;
use super::watch_set::WatchSetHandle;
use crate::engine::WatchToken;
use crate::error::Result;
use crate::watch_builder::OwnedOptions;

/// Options for a watch; see [`xs_client::WatchBuilder`](crate::WatchBuilder).
#[derive(Clone, Debug)]
#[must_use = "no watch is set until `watch` or `add_to` is called and awaited"]
pub struct WatchBuilder<'a> {
    client: &'a Client,
    options: OwnedOptions,
}

impl Client {
    /// Returns a builder for a watch with options, such as a depth.
    pub fn watch_builder(&self, path: impl AsRef<str>) -> WatchBuilder<'_> {
        WatchBuilder { client: self, options: OwnedOptions::new(path.as_ref()) }
    }
}

impl WatchBuilder<'_> {
    /// See [`depth`](crate::WatchBuilder::depth).
    pub fn depth(mut self, depth: impl Into<Option<u32>>) -> Self {
        self.options.depth = depth.into();
        self
    }

    /// See [`capacity`](crate::WatchBuilder::capacity).
    pub fn capacity(mut self, events: usize) -> Self {
        self.options.capacity = Some(events);
        self
    }

    /// Sets the watch; see [`xs_client::WatchBuilder::watch`](crate::WatchBuilder::watch).
    pub async fn watch(self) -> Result<Watch> {
        self.client.set_watch(&self.options.as_ref()).await
    }

    /// Adds the watch to a set; see
    /// [`xs_client::WatchBuilder::add_to`](crate::WatchBuilder::add_to).
    pub async fn add_to(self, set: &WatchSetHandle) -> Result<WatchToken> {
        set.add_watch(&self.options.as_ref()).await
    }
}
