//! The client of the futures API.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::Duration;

use xs_proto::{DomId, Features, Quota};

use super::thread;
use super::tree::Tree;
#[cfg(unix)]
use super::{driver::Driver, reactor::Reactor};
use crate::client::is_supported;
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
    /// Uses the connection of a blocking client on the current tokio runtime, which must have I/O
    /// and time enabled. Spawns the [driver](Driver) on this runtime.
    ///
    /// # Errors
    /// Returns an error if there is no current runtime, or if it cannot watch the descriptor.
    ///
    /// # Panics
    /// Panics if the runtime has I/O or time disabled.
    #[cfg(all(unix, feature = "tokio"))]
    pub fn on_tokio(client: crate::Client) -> Result<Self> {
        let (client, driver) = Self::with_reactor(client, super::reactor::Tokio::new())?;
        drop(tokio::spawn(driver));
        Ok(client)
    }

    /// Does the same as [`on_tokio`](Self::on_tokio), but returns the driver, which the caller has
    /// to poll.
    ///
    /// # Errors
    /// As for [`on_tokio`](Self::on_tokio).
    ///
    /// # Panics
    /// As for [`on_tokio`](Self::on_tokio).
    #[cfg(all(unix, feature = "tokio"))]
    pub fn with_tokio_driver(
        client: crate::Client,
    ) -> Result<(Self, Driver<super::reactor::Tokio>)> {
        Self::with_reactor(client, super::reactor::Tokio::new())
    }

    /// Uses the connection of a blocking client on smol. Spawns the [driver](Driver) on the global
    /// executor, as `smol::spawn` does.
    ///
    /// # Errors
    /// Returns an error if the reactor cannot watch the descriptor.
    #[cfg(all(unix, feature = "smol"))]
    pub fn on_smol(client: crate::Client) -> Result<Self> {
        let (client, driver) = Self::with_reactor(client, super::reactor::Smol::new())?;
        smol::spawn(driver).detach();
        Ok(client)
    }

    /// Does the same as [`on_smol`](Self::on_smol), but returns the driver, which the caller has to
    /// poll, on any executor. Other runtimes that use the crate `async-io` need no reactor of their
    /// own.
    ///
    /// # Errors
    /// As for [`on_smol`](Self::on_smol).
    #[cfg(all(unix, feature = "smol"))]
    pub fn with_smol_driver(client: crate::Client) -> Result<(Self, Driver<super::reactor::Smol>)> {
        Self::with_reactor(client, super::reactor::Smol::new())
    }

    /// Uses the connection of a blocking client with the reactor of a runtime. Returns the driver,
    /// which the caller has to poll.
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

    /// Uses the connection of a blocking client without a runtime: a thread of the client takes the
    /// place of the driver.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn on_thread(client: crate::Client) -> Result<Self> {
        thread::start(&client.handle).map_err(open_error)?;
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

    /// See [`transport_name`](crate::Client::transport_name).
    pub fn transport_name(&self) -> String {
        self.blocking.transport_name()
    }

    /// See [`close`](crate::Client::close).
    pub fn close(&self) {
        self.blocking.close();
    }

    /// See [`get_features`](crate::Client::get_features).
    pub async fn get_features(&self) -> Result<Features> {
        is_supported(self.run(&op::get_feature(DomId::DOM0)).await)?;
        self.run(&op::get_server_feature()).await
    }

    /// See [`get_domain_features`](crate::Client::get_domain_features).
    pub async fn get_domain_features(&self, domid: impl Into<DomId>) -> Result<Features> {
        self.run(&op::get_feature(domid)).await
    }

    /// See [`set_domain_features`](crate::Client::set_domain_features).
    pub async fn set_domain_features(
        &self,
        domid: impl Into<DomId>,
        features: Features,
    ) -> Result<()> {
        self.run(&op::set_feature(domid, features)).await
    }

    /// See [`quotas`](crate::Client::quotas).
    pub async fn quotas(&self) -> Result<Vec<Quota>> {
        is_supported(self.run(&op::get_quota(None, "nodes")).await)?;
        self.run(&op::quotas()).await
    }

    /// See [`get_quota`](crate::Client::get_quota).
    pub async fn get_quota(&self, quota: impl AsRef<str>) -> Result<u32> {
        self.run(&op::get_quota(None, quota.as_ref())).await
    }

    /// See [`get_domain_quota`](crate::Client::get_domain_quota).
    pub async fn get_domain_quota(
        &self,
        domid: impl Into<DomId>,
        quota: impl AsRef<str>,
    ) -> Result<u32> {
        self.run(&op::get_quota(Some(domid.into()), quota.as_ref())).await
    }

    /// See [`set_quota`](crate::Client::set_quota).
    pub async fn set_quota(&self, quota: impl AsRef<str>, value: u32) -> Result<()> {
        self.run(&op::set_quota(None, quota.as_ref(), value)).await
    }

    /// See [`set_domain_quota`](crate::Client::set_domain_quota).
    pub async fn set_domain_quota(
        &self,
        domid: impl Into<DomId>,
        quota: impl AsRef<str>,
        value: u32,
    ) -> Result<()> {
        self.run(&op::set_quota(Some(domid.into()), quota.as_ref(), value)).await
    }

    /// See [`reset_watches`](crate::Client::reset_watches). Blocks the thread while a callback of a
    /// watch that has ended is running.
    pub async fn reset_watches(&self) -> Result<()> {
        self.blocking.check_reset()?;
        self.reset_domain_watches().await
    }

    /// See [`reset_domain_watches`](crate::Client::reset_domain_watches). Blocks the thread as
    /// [`reset_watches`](Self::reset_watches) does.
    pub async fn reset_domain_watches(&self) -> Result<()> {
        self.run(&op::reset_watches()).await?;
        self.blocking.await_callbacks();
        Ok(())
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
