//! The client: a connection, and the operations that do not concern nodes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use xs_proto::{DomId, ErrorCode, Features, Quota};

use crate::engine::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;
use crate::op;
use crate::tree::Tree;

/// A connection to a Xenstore daemon.
///
/// Clones share the connection, and threads may share a client. Their requests are in flight
/// together if the transport allows it; the xenbus device takes one request at a time. The client
/// starts a thread only for callbacks, such as that of [`watch_with`](Self::watch_with).
///
/// The client dereferences to [`Tree`], which has the operations on nodes. Its own methods concern
/// the connection, transactions, watches, domains and the daemon.
///
/// The connection ends when the last clone, transaction and watch of the client is dropped.
///
/// After fork(2), the client belongs to the parent. In the child, each call fails with
/// [`Failure::Forked`](crate::Failure::Forked) without sending anything, and dropping the client
/// does nothing to the connection. Open a new client in the child. If the parent uses callbacks,
/// the descriptors stay open in the child until it ends or executes another program.
///
/// ```no_run
/// use xs_client::Client;
///
/// let client = Client::open()?;
/// println!("I am domain {}", client.read_str("domid")?);
/// client.write("data/greeting", "hello")?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    tree: Tree,
}

impl Client {
    pub(crate) fn new(handle: Handle, timeout: Option<Duration>) -> Self {
        Client { tree: Tree { handle: Arc::new(handle), scope: Scope::NONE, timeout } }
    }

    /// Returns the client of a tree that belongs to no transaction.
    pub(crate) fn from_tree(tree: Tree) -> Self {
        Client { tree }
    }

    /// Returns a client on the same connection with another timeout for each operation. With
    /// `None`, operations wait indefinitely.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use std::time::Duration;
    ///
    /// client.with_timeout(Duration::from_millis(100)).mkdir("/a")?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        let mut client = self.clone();
        client.tree.timeout = timeout.into();
        client
    }

    /// Returns the name of the transport, which is usually the path of the socket or device.
    pub fn transport_name(&self) -> String {
        let transport = self.handle.lock().transport();
        transport.describe()
    }

    /// Ends the connection. All threads and tasks that wait on it get an error.
    ///
    /// The client does not connect again, even with
    /// [`Builder::reconnect`](crate::Builder::reconnect).
    #[doc(alias = "xs_close")]
    pub fn close(&self) {
        self.handle.close();
    }

    /// Connects the daemon to a new domain (INTRODUCE).
    ///
    /// This and the other operations on domains are specified in xenstore.txt, "Domain management
    /// and xenstored communications".
    ///
    /// `gfn` is the guest frame number of the page with the domain's Xenstore ring, and `evtchn`
    /// the domain's port of the event channel for this ring. Only a privileged domain, such as
    /// dom0, may do this; others get EACCES.
    #[doc(alias("xs_introduce_domain", "introduce_domain"))]
    pub fn introduce(&self, domid: impl Into<DomId>, gfn: u64, evtchn: u32) -> Result<()> {
        self.run(&op::introduce(domid, gfn, evtchn))
    }

    /// Disconnects the daemon from a domain (RELEASE).
    ///
    /// The daemon does so by itself when the domain is destroyed. Only a privileged domain may do
    /// this.
    #[doc(alias("xs_release_domain", "release_domain"))]
    pub fn release(&self, domid: impl Into<DomId>) -> Result<()> {
        self.run(&op::release(domid))
    }

    /// Tells the daemon that a domain which has shut down runs again (RESUME).
    ///
    /// The daemon reports the first shutdown of a domain with an event of `@releaseDomain`, and a
    /// further one only after this call. Only a privileged domain may do this.
    #[doc(alias("xs_resume_domain", "resume_domain"))]
    pub fn resume(&self, domid: impl Into<DomId>) -> Result<()> {
        self.run(&op::resume(domid))
    }

    /// Gives `domid` the access rights of `target`, in addition to its own (SET_TARGET).
    ///
    /// Only a privileged domain may do this.
    #[doc(alias = "xs_set_target")]
    pub fn set_target(&self, domid: impl Into<DomId>, target: impl Into<DomId>) -> Result<()> {
        self.run(&op::set_target(domid, target))
    }

    /// Returns the home of a domain, such as `/local/domain/5` (GET_DOMAIN_PATH).
    ///
    /// The domain need not exist.
    #[doc(alias = "xs_get_domain_path")]
    pub fn get_domain_path(&self, domid: impl Into<DomId>) -> Result<String> {
        self.run(&op::get_domain_path(domid))
    }

    /// Returns whether the daemon is connected to a domain (IS_DOMAIN_INTRODUCED).
    ///
    /// Only a privileged domain may do this.
    #[doc(alias = "xs_is_domain_introduced")]
    pub fn is_domain_introduced(&self, domid: impl Into<DomId>) -> Result<bool> {
        self.run(&op::is_domain_introduced(domid))
    }

    /// Sends a command with its parameters to the daemon, such as `["check"]`, and returns the
    /// daemon's answer (CONTROL in xenstore.txt, "Miscellaneous").
    ///
    /// The commands and their answers depend on the daemon and its version; with most daemons,
    /// `["help"]` lists them. The C daemon accepts commands from privileged domains only.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `words` is empty, or a word contains a NUL.
    #[doc(alias("xs_control_command", "xs_debug_command"))]
    pub fn control<S: AsRef<[u8]>>(&self, words: impl IntoIterator<Item = S>) -> Result<String> {
        self.run(&op::control(words))
    }

    /// Returns the features of the daemon (GET_FEATURE). For example, a daemon with
    /// [`Features::WATCH_DEPTH`] supports [`WatchBuilder::depth`](crate::WatchBuilder::depth).
    ///
    /// # Errors
    /// ENOSYS from oxenstored, and from the C daemon before Xen 4.21.
    #[doc(alias("xs_get_features_supported", "get_feature"))]
    pub fn get_features(&self) -> Result<Features> {
        is_supported(self.run(&op::get_feature(DomId::DOM0)))?;
        self.run(&op::get_server_feature())
    }

    /// Returns the features that the daemon offers to a domain (GET_FEATURE).
    ///
    /// Only a privileged domain may do this.
    ///
    /// # Errors
    /// ENOENT if the domain does not exist. ENOSYS from oxenstored, and from the C daemon before
    /// Xen 4.21.
    #[doc(alias("xs_get_features_domain", "get_feature"))]
    pub fn get_domain_features(&self, domid: impl Into<DomId>) -> Result<Features> {
        self.run(&op::get_feature(domid))
    }

    /// Sets the features that the daemon offers to a domain (SET_FEATURE).
    ///
    /// Only a privileged domain may do this.
    ///
    /// # Errors
    /// EBUSY if the domain is already introduced. EINVAL if the daemon does not have a feature.
    /// ENOSYS from oxenstored, and from the C daemon before Xen 4.21.
    #[doc(alias("xs_set_features_domain", "set_feature"))]
    pub fn set_domain_features(&self, domid: impl Into<DomId>, features: Features) -> Result<()> {
        self.run(&op::set_feature(domid, features))
    }

    /// Returns the names of the quotas that the daemon knows (GET_QUOTA).
    ///
    /// A quota limits the resources of the daemon that a domain may use.
    /// [`get_quota`](Self::get_quota) returns its value. Only a privileged domain may do this.
    ///
    /// # Errors
    /// ENOSYS from oxenstored, and from the C daemon before Xen 4.22.
    #[doc(alias = "xs_get_quota_names")]
    pub fn quotas(&self) -> Result<Vec<Quota>> {
        is_supported(self.run(&op::get_quota(None, "nodes")))?;
        self.run(&op::quotas())
    }

    /// Returns the value of a quota for new domains.
    ///
    /// Only a privileged domain may do this.
    ///
    /// ```no_run
    /// # use xs_client::{Client, Quota};
    /// # let client = Client::open()?;
    /// println!("a guest may own {} nodes", client.get_quota(Quota::Nodes)?);
    /// println!("and set {} watches", client.get_quota("watches")?);
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// EINVAL if the daemon does not know the quota. ENOSYS from oxenstored, and from the C daemon
    /// before Xen 4.22.
    #[doc(alias = "xs_get_global_quota")]
    pub fn get_quota(&self, quota: impl AsRef<str>) -> Result<u32> {
        self.run(&op::get_quota(None, quota.as_ref()))
    }

    /// Returns the value of a quota for one domain.
    ///
    /// Only a privileged domain may do this.
    ///
    /// # Errors
    /// As for [`get_quota`](Self::get_quota), and ENOENT if the domain does not exist.
    #[doc(alias = "xs_get_domain_quota")]
    pub fn get_domain_quota(&self, domid: impl Into<DomId>, quota: impl AsRef<str>) -> Result<u32> {
        self.run(&op::get_quota(Some(domid.into()), quota.as_ref()))
    }

    /// Sets the value of a quota for new domains (SET_QUOTA). With 0, there is no limit.
    ///
    /// Only a privileged domain may do this.
    ///
    /// # Errors
    /// As for [`get_quota`](Self::get_quota).
    #[doc(alias = "xs_set_global_quota")]
    pub fn set_quota(&self, quota: impl AsRef<str>, value: u32) -> Result<()> {
        self.run(&op::set_quota(None, quota.as_ref(), value))
    }

    /// Sets the value of a quota for one domain. With 0, there is no limit.
    ///
    /// Only a privileged domain may do this.
    ///
    /// # Errors
    /// As for [`get_domain_quota`](Self::get_domain_quota).
    #[doc(alias = "xs_set_domain_quota")]
    pub fn set_domain_quota(
        &self,
        domid: impl Into<DomId>,
        quota: impl AsRef<str>,
        value: u32,
    ) -> Result<()> {
        self.run(&op::set_quota(Some(domid.into()), quota.as_ref(), value))
    }

    /// Removes all watches and aborts all transactions of this connection (RESET_WATCHES in
    /// xenstore.txt, "Watches").
    ///
    /// The [`Watch`](crate::Watch)es of this client end, and its callbacks are dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] over the xenbus device, where the request reaches beyond this
    /// client; see [`reset_domain_watches`](Self::reset_domain_watches).
    pub fn reset_watches(&self) -> Result<()> {
        self.check_reset()?;
        self.reset_domain_watches()
    }

    /// Does the same as [`reset_watches`](Self::reset_watches), and is also allowed over the xenbus
    /// device. There, it removes the watches and aborts the transactions of all programs in this
    /// domain and of its kernel.
    pub fn reset_domain_watches(&self) -> Result<()> {
        self.run(&op::reset_watches())?;
        // No callback of a watch that has ended is running when this returns.
        self.await_callbacks();
        Ok(())
    }

    /// Checks that RESET_WATCHES concerns this client only.
    pub(crate) fn check_reset(&self) -> Result<()> {
        let transport = self.handle.lock().transport();
        if transport.limits().shared_session {
            let why = "on this device it would end the watches and transactions of all programs";
            return Err(Error::new("reset_watches", None, ErrorKind::Unsupported(why)));
        }
        Ok(())
    }
}

/// Checks that the daemon supports a type of request, given the answer to a request of this type
/// that has a payload.
///
/// oxenstored does not support GET_FEATURE and GET_QUOTA, and answers a request without a payload
/// only when another request follows. Callers check before they send such a request.
pub(crate) fn is_supported<T>(answer: Result<T>) -> Result<()> {
    match answer {
        Err(error) if error.code() == Some(&ErrorCode::NotSupported) => Err(error),
        Err(error) if error.code().is_none() => Err(error),
        _ => Ok(()),
    }
}

impl Deref for Client {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.handle)
            .field("timeout", &self.tree.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::MessageType;
    use xs_transport::mock::{Fault, Flavour, Xenstored};

    use super::*;

    /// Asks for the features. Returns the result and the number of requests.
    fn features(xenstored: &Xenstored) -> (Result<Features>, usize) {
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        xenstored.record();
        let features = client.with_timeout(Duration::from_millis(10)).get_features();
        (features, xenstored.take_records().len())
    }

    #[test]
    fn unsupported_request_is_never_sent_without_payload() {
        let (features, requests) = features(&Xenstored::with_flavour(Flavour::Ocaml417));
        assert_eq!(features.unwrap_err().code(), Some(&ErrorCode::NotSupported));
        assert_eq!(requests, 1);
    }

    #[test]
    fn support_check_accepts_any_other_refusal() {
        let xenstored = Xenstored::new();
        xenstored.inject(Fault::error(ErrorCode::Access).on(MessageType::GetFeature));
        let (answer, requests) = features(&xenstored);
        assert!(answer.is_ok());
        assert_eq!(requests, 2);
        // A check that is not answered fails the operation.
        xenstored.inject(Fault::ignore().on(MessageType::GetFeature));
        let (answer, requests) = features(&xenstored);
        assert!(answer.unwrap_err().is_timeout());
        assert_eq!(requests, 1);
    }
}
