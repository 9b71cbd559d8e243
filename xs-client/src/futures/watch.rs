//! Watches, as streams.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::client::Client;
use super::waiting::Waiting;
use crate::engine::{Delivery, Next, RoomTicket, WatchEvent, WatchOptions, WatchToken};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::op;
use crate::registration::{Registration, Removal};

/// A watch on a node and its descendants; see [`xs_client::Watch`](crate::Watch).
///
/// It is a stream of events, which ends after an error, or when another part of the program removes
/// the watch. Dropping a future that waits for an event loses no event, so several watches can be
/// used in a `select!`. Dropping the watch removes it.
#[must_use = "dropping it removes the watch"]
pub struct Watch {
    client: Client,
    watch: crate::Watch,
}

impl Client {
    /// Sets a watch; see [`xs_client::Client::watch`](crate::Client::watch).
    pub async fn watch(&self, path: impl AsRef<str>) -> Result<Watch> {
        self.set_watch(&WatchOptions::new(path.as_ref())).await
    }

    /// See [`unwatch`](crate::Client::unwatch).
    pub async fn unwatch(&self, token: WatchToken) -> Result<()> {
        match Removal::new(&self.blocking.handle, token) {
            Some(removal) => self.complete(removal, self.blocking.task_deadline()).await,
            None => Ok(()),
        }
    }

    /// See [`unwatch_all`](crate::Client::unwatch_all).
    pub async fn unwatch_all(&self) -> Result<()> {
        let deadline = self.blocking.task_deadline();
        let tokens = self.blocking.watch_tokens()?;
        // All watches are removed, even if one removal fails.
        let mut result = Ok(());
        for token in tokens {
            if let Some(removal) = Removal::new(&self.blocking.handle, token) {
                result = result.and(self.complete(removal, deadline).await);
            }
        }
        result
    }

    /// Waits until the value of a node meets a condition; see
    /// [`xs_client::Client::wait_for`](crate::Client::wait_for).
    pub async fn wait_for(
        &self,
        path: impl AsRef<str>,
        timeout: impl Into<Option<Duration>>,
        mut condition: impl FnMut(Option<&[u8]>) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let deadline = self.with_timeout(timeout).blocking.task_deadline();
        let mut watch = self.set_watch_until(&WatchOptions::new(path), deadline).await?;
        loop {
            if watch.next_until(deadline).await?.is_none() {
                return Err(Error::new("wait_for", Some(path), ErrorKind::TimedOut));
            }
            let value = match self.run_until(&op::read(path), deadline).await {
                Ok(value) => Some(value),
                Err(error) if error.is_not_found() => None,
                // The next event reports the new connection.
                Err(error) if error.is_lost() && self.blocking.reconnects() => continue,
                Err(error) => return Err(error),
            };
            if condition(value.as_deref()) {
                return Ok(value);
            }
        }
    }

    pub(super) async fn set_watch(&self, options: &WatchOptions<'_>) -> Result<Watch> {
        self.set_watch_until(options, self.blocking.task_deadline()).await
    }

    async fn set_watch_until(
        &self,
        options: &WatchOptions<'_>,
        deadline: Option<Instant>,
    ) -> Result<Watch> {
        let handle = &self.blocking.handle;
        let (registration, group) = Registration::single(handle, *options, Delivery::Owner);
        let token = self.register(registration, deadline).await?;
        let watch = crate::Watch::new(&self.blocking, options.path, token, group);
        Ok(Watch { client: self.clone(), watch })
    }

    /// Sets the watch of a registration, and keeps it.
    pub(super) async fn register(
        &self,
        mut registration: Registration<'_>,
        deadline: Option<Instant>,
    ) -> Result<WatchToken> {
        let token = registration.token().to_string();
        let result = self.run_until(&registration.op(&token), deadline).await;
        registration.finish(result)?;
        Ok(registration.keep())
    }

    /// Removes the watch of a removal.
    pub(super) async fn complete(
        &self,
        removal: Removal<'_>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let token = removal.token().to_string();
        let result = match removal.op(&token) {
            Some(op) => self.run_until(&op, deadline).await,
            None => Ok(()),
        };
        removal.finish(result)
    }
}

impl Watch {
    /// Returns the watched path, as the caller gave it.
    pub fn path(&self) -> &str {
        self.watch.path()
    }

    /// Returns the token, for [`Client::unwatch`].
    pub fn token(&self) -> WatchToken {
        self.watch.token()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// The connection is lost and [not replaced](crate::Builder::reconnect), or another part of the
    /// program has removed the watch.
    pub async fn wait(&mut self) -> Result<WatchEvent> {
        let next = poll_fn(|cx| self.watch.events.poll_next(cx)).await;
        next.into_result(Some(self.path()))
    }

    /// Waits for the next event. Returns `None` if none comes within `timeout`.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub async fn next_timeout(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        let deadline = self.client.blocking.handle.task_now().checked_add(timeout);
        self.next_until(deadline).await
    }

    /// Waits for the next event until a deadline of the [runtime's clock](super#time); `None` waits
    /// indefinitely. Returns `None` if no event comes in time.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub async fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        let next = next_until(&self.watch.events, deadline).await;
        next.map(|next| next.into_result(Some(self.path()))).transpose()
    }

    /// Removes the watch within the timeout of the client that has set it.
    ///
    /// # Errors
    /// The daemon refused, or did not answer in time.
    pub async fn remove(self) -> Result<()> {
        self.client.unwatch(self.watch.token()).await
    }
}

/// Waits for the next item of a group of watches until a deadline; `None` waits indefinitely.
pub(super) async fn next_until(events: &Events, deadline: Option<Instant>) -> Option<Next> {
    let mut waiting = Waiting::new(&events.tree.handle);
    let poll =
        |cx: &mut Context<'_>, _: &mut Option<RoomTicket>, has_passed| match events.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending if has_passed => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        };
    waiting.until(deadline, poll).await
}

impl Stream for Watch {
    type Item = Result<WatchEvent>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let watch = &mut self.get_mut().watch;
        if watch.events.has_ended {
            return Poll::Ready(None);
        }
        watch.events.poll_next(cx).map(|next| watch.item(next))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watch.fmt(f)
    }
}
