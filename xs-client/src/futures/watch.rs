//! Watches, as streams.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::alarm::Alarm;
use super::client::Client;
use crate::engine::{Delivery, Next, Waiter, WatchEvent, WatchToken};
use crate::error::{Error, ErrorKind, Result};
use crate::registration::{Registration, Removal};

/// A watch on a node and its descendants; see [`xs_client::Watch`](crate::Watch).
///
/// It is a stream of events, which ends after an error, or when another part of the program removes
/// the watch. Dropping a future that waits for an event loses no event, so several watches can be
/// used in a `select!`. Dropping the watch removes it.
pub struct Watch {
    client: Client,
    watch: crate::Watch,
    over: bool,
}

impl Client {
    /// Sets a watch; see [`xs_client::Client::watch`](crate::Client::watch).
    pub async fn watch(&self, path: impl AsRef<str>) -> Result<Watch> {
        self.set_watch(path.as_ref(), None).await
    }

    /// Sets a watch of limited depth; see
    /// [`xs_client::Client::watch_depth`](crate::Client::watch_depth).
    pub async fn watch_depth(&self, path: impl AsRef<str>, depth: u32) -> Result<Watch> {
        self.set_watch(path.as_ref(), Some(depth)).await
    }

    /// See [`unwatch`](crate::Client::unwatch).
    pub async fn unwatch(&self, token: WatchToken) -> Result<()> {
        let Some(removal) = Removal::new(&self.blocking.handle, token) else {
            return Ok(());
        };
        let token = token.to_string();
        let result = match removal.op(&token) {
            Some(op) => self.run(&op).await,
            None => Ok(()),
        };
        removal.finish(result)
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
        let client = self.with_timeout(timeout);
        let deadline = client.blocking.deadline();
        let mut watch = client.watch(path).await?;
        loop {
            if watch.next_until(deadline).await?.is_none() {
                return Err(Error::new("wait_for", Some(path), ErrorKind::TimedOut));
            }
            let value = match client.read(path).await {
                Ok(value) => Some(value),
                Err(error) if error.is_not_found() => None,
                // The next event says that there is another connection.
                Err(error) if error.is_lost() && client.blocking.reconnects() => continue,
                Err(error) => return Err(error),
            };
            if condition(value.as_deref()) {
                return Ok(value);
            }
        }
    }

    async fn set_watch(&self, path: &str, depth: Option<u32>) -> Result<Watch> {
        let handle = &self.blocking.handle;
        let mut registration = Registration::new(handle, path, depth, Delivery::Owner);
        let token = registration.token().to_string();
        let result = self.run(&registration.op(&token)).await;
        registration.finish(result)?;
        let watch = crate::Watch::new(&self.blocking, path, registration.keep());
        Ok(Watch { client: self.clone(), watch, over: false })
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
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// Waits for the next event until a deadline; `None` waits indefinitely. Returns `None` if no
    /// event comes in time.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub async fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        let mut alarm = Alarm::new(&self.client.blocking.handle);
        poll_fn(|cx| {
            if let Poll::Ready(event) = self.poll_next_event(cx) {
                return Poll::Ready(event.map(Some));
            }
            let Some(at) = deadline else {
                return Poll::Pending;
            };
            if at <= Instant::now() {
                return Poll::Ready(Ok(None));
            }
            alarm.set(at, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Removes the watch within the timeout of the client that has set it.
    ///
    /// # Errors
    /// The daemon refused, or did not answer in time.
    pub async fn remove(self) -> Result<()> {
        self.client.unwatch(self.watch.token()).await
    }

    fn poll_next_event(&self, cx: &mut Context<'_>) -> Poll<Result<WatchEvent>> {
        let mut guard = self.client.blocking.handle.lock();
        match guard.take_next(self.token()) {
            Some(next) if !matches!(next, Next::Failed(_)) || guard.is_lost() => {
                drop(guard);
                Poll::Ready(next.into_result(self.path()))
            }
            next => {
                if next.is_some() {
                    // The driver replaces the connection, and the watch is told then.
                    guard.wake_pollers();
                }
                let state = &mut *guard;
                let waiter = Waiter::Task(cx.waker().clone());
                state.watches.register(self.token(), &waiter, &mut state.deferred);
                Poll::Pending
            }
        }
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.poll_next_event(cx).map(|event| {
            self.over = event.is_err();
            match event {
                Err(error) if matches!(error.kind(), ErrorKind::WatchRemoved) => None,
                event => Some(event),
            }
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watch.fmt(f)
    }
}
