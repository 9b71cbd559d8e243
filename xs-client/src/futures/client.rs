//! The client of the futures API.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::Duration;

use xs_proto::DomId;

use super::tree::Tree;
#[cfg(unix)]
use super::{driver::Driver, reactor::Reactor};
use crate::callbacks;
use crate::error::{Error, ErrorKind, Result};
use crate::op;

/// A connection to a xenstored whose operations are futures.
///
/// Clones share the connection. The client dereferences to [`Tree`], which has the operations on
/// nodes. See also the [module documentation](super) and the [blocking client](crate::Client).
#[derive(Clone)]
pub struct Client {
    pub(super) blocking: crate::Client,
    tree: Tree,
}

impl Client {
    /// Uses the connection of a blocking client with the reactor of a runtime. The caller has to
    /// spawn the driver, without which nothing is received.
    ///
    /// # Errors
    /// Returns an error if the reactor cannot watch the descriptor.
    #[cfg(unix)]
    pub fn with_reactor<R: Reactor>(
        client: crate::Client,
        reactor: R,
    ) -> Result<(Self, Driver<R>)> {
        let driver = Driver::new((**client.handle).clone(), reactor).map_err(open_error)?;
        Ok((Self::new(client), driver))
    }

    /// Uses the connection of a blocking client on the current tokio runtime, which must have I/O
    /// and time enabled.
    ///
    /// # Errors
    /// Returns an error if the reactor cannot watch the descriptor.
    ///
    /// # Panics
    /// This call or the first poll of the driver panics if there is no runtime, or I/O or time is
    /// not enabled.
    #[cfg(all(unix, feature = "tokio"))]
    pub fn on_tokio(client: crate::Client) -> Result<(Self, Driver<super::reactor::Tokio>)> {
        Self::with_reactor(client, super::reactor::Tokio::new())
    }

    /// Uses the connection of a blocking client on smol, or on another runtime that works with the
    /// crate `async-io`.
    ///
    /// # Errors
    /// Returns an error if the reactor cannot watch the descriptor.
    #[cfg(all(unix, feature = "smol"))]
    pub fn on_smol(client: crate::Client) -> Result<(Self, Driver<super::reactor::Smol>)> {
        Self::with_reactor(client, super::reactor::Smol::new())
    }

    /// Uses the callback thread of a blocking client, for runtimes without a reactor.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn on_thread(client: crate::Client) -> Result<Self> {
        callbacks::drive_tasks(&client.handle).map_err(open_error)?;
        Ok(Self::new(client))
    }

    pub(super) fn new(client: crate::Client) -> Self {
        Client { tree: Tree((*client).clone()), blocking: client }
    }

    /// Returns the blocking client on the same connection.
    pub fn blocking(&self) -> &crate::Client {
        &self.blocking
    }

    /// Returns the client with another timeout for each operation. With `None`, operations wait
    /// indefinitely.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self::new(self.blocking.with_timeout(timeout))
    }

    /// See [`introduce`](crate::Client::introduce).
    pub async fn introduce(&self, domid: impl Into<DomId>, gfn: u64, evtchn: u32) -> Result<()> {
        self.run(&op::introduce(domid, gfn, evtchn)).await
    }

    /// See [`release`](crate::Client::release).
    pub async fn release(&self, domid: impl Into<DomId>) -> Result<()> {
        self.run(&op::release(domid)).await
    }

    /// See [`resume`](crate::Client::resume).
    pub async fn resume(&self, domid: impl Into<DomId>) -> Result<()> {
        self.run(&op::resume(domid)).await
    }

    /// See [`set_target`](crate::Client::set_target).
    pub async fn set_target(
        &self,
        domid: impl Into<DomId>,
        target: impl Into<DomId>,
    ) -> Result<()> {
        self.run(&op::set_target(domid, target)).await
    }

    /// See [`get_domain_path`](crate::Client::get_domain_path).
    pub async fn get_domain_path(&self, domid: impl Into<DomId>) -> Result<String> {
        self.run(&op::get_domain_path(domid)).await
    }

    /// See [`is_domain_introduced`](crate::Client::is_domain_introduced).
    pub async fn is_domain_introduced(&self, domid: impl Into<DomId>) -> Result<bool> {
        self.run(&op::is_domain_introduced(domid)).await
    }

    /// See [`control`](crate::Client::control).
    pub async fn control<S: AsRef<[u8]>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let op = op::control(words);
        self.run(&op).await
    }
}

impl Deref for Client {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

fn open_error(error: io::Error) -> Error {
    Error::new("open", None, ErrorKind::System(error))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.blocking.handle)
            .field("timeout", &self.tree.0.timeout)
            .finish()
    }
}
