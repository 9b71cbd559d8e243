//! The environment of one run of a suite test.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use xs_client::{Builder, Client, DomId, ErrorCode};

use crate::backend::{Instance, OtherGuest};
use crate::settings::{HANG_TIMEOUT, scaled};

/// A client of one [`Backend`](crate::Backend), a subtree for the test, and the properties of the
/// backend that tests depend on.
#[allow(missing_debug_implementations, reason = "never printed")]
pub struct Context {
    /// The client to be tested.
    pub client: Client,
    /// The domain that the client acts as.
    pub domid: DomId,
    /// Whether the daemon is an oxenstored.
    pub is_oxenstored: bool,
    /// Whether the daemon supports features, quotas and the depth of a watch.
    pub is_modern: bool,
    root: String,
    instance: Instance,
}

impl Context {
    pub(crate) fn new(instance: Instance) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let client = instance.connect(Client::builder().timeout(HANG_TIMEOUT));
        let name = format!("xs-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Guests may not write here, which tells whether the client is one.
        let mut root = format!("/tool/{name}");
        let mut domid = DomId::DOM0;
        if client.mkdir(&root).is_err() {
            domid = client.read_parsed("domid").expect("a guest can read its domain id");
            root = format!("/local/domain/{domid}/data/{name}");
            client.mkdir(&root).expect("a guest can write below data");
        }
        // Only oxenstored sorts the names of children.
        let probes = ["b", "a"].map(|name| format!("{root}/{name}"));
        client.mkdir_many(&probes).into_iter().for_each(Result::unwrap);
        let is_oxenstored = client.directory(&root).expect("the node exists") == ["a", "b"];
        client.rm_many(&probes).into_iter().for_each(Result::unwrap);
        let is_modern = match client.get_domain_features(DomId::DOM0) {
            Ok(_) => true,
            Err(error) => error.code() != Some(&ErrorCode::NotSupported),
        };
        Context { client, domid, is_oxenstored, is_modern, root, instance }
    }

    /// Returns the absolute path of a node in the test's subtree.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// Returns the path of the test's subtree.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Whether the client acts as a guest, which is subject to quotas and permissions.
    pub fn is_guest(&self) -> bool {
        self.domid != DomId::DOM0
    }

    /// Whether the daemon is the in-memory xenstored.
    pub fn is_in_memory(&self) -> bool {
        self.instance.is_in_memory()
    }

    /// Whether the transport is a xenbus device, real or simulated.
    pub fn is_device(&self) -> bool {
        self.instance.is_device()
    }

    /// Scales a number of repetitions to the backend and the machine. A device carries one request
    /// at a time and gets a twentieth.
    pub fn load(&self, count: usize) -> usize {
        let most = if self.is_device() { (count / 20).max(count.min(10)) } else { count };
        scaled(count).min(most)
    }

    /// Returns another client, which can access the test's subtree too: as dom0 or as the same
    /// domain.
    pub fn another(&self) -> Client {
        self.another_with(Client::builder())
    }

    /// Returns another client, with settings of the caller's.
    pub fn another_with(&self, builder: Builder) -> Client {
        self.instance.connect_another(builder.timeout(HANG_TIMEOUT))
    }

    /// Returns a client that acts as a different guest, if the backend has one.
    pub fn other_guest(&self) -> Option<OtherGuest> {
        self.instance.connect_other_guest()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // The test may have closed its connection.
        if self.client.rm(&self.root).is_err() {
            let _ = self.another().rm(&self.root);
        }
    }
}
