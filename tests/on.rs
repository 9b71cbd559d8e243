//! What a test of the suite has to work with.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use xs_client::{Builder, Client, DomId};

use crate::PATIENCE;
use crate::site::{Place, Stranger};

/// A client on one [`Site`](crate::Site), a subtree of the test's own, and what to expect there.
#[allow(missing_debug_implementations, reason = "nobody prints it")]
pub struct On {
    /// The client to be tested.
    pub client: Client,
    /// Who it is.
    pub domid: DomId,
    /// The daemon is an oxenstored.
    pub is_ocaml: bool,
    /// The daemon knows features, quotas and the depth of a watch.
    pub is_modern: bool,
    root: String,
    place: Place,
}

impl On {
    pub(crate) fn new(place: Place) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let client = place.connect(Client::builder().timeout(PATIENCE));
        let name = format!("xs-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Guests may not write here, and so we learn whether we are one.
        let mut root = format!("/tool/{name}");
        let mut domid = DomId::DOM0;
        if client.mkdir(&root).is_err() {
            domid = client.read_parsed("domid").expect("a guest is told who it is");
            root = format!("/local/domain/{domid}/data/{name}");
            client.mkdir(&root).expect("guests may write below data");
        }
        // oxenstored sorts them.
        let probes = ["b", "a"].map(|name| format!("{root}/{name}"));
        client.mkdir_many(&probes).into_iter().for_each(Result::unwrap);
        let is_ocaml = client.directory(&root).expect("we have made it") == ["a", "b"];
        client.rm_many(&probes).into_iter().for_each(Result::unwrap);
        let is_modern = match client.get_domain_features(DomId::DOM0) {
            Ok(_) => true,
            Err(error) => error.code() != Some(&xs_client::ErrorCode::NotSupported),
        };
        On { client, domid, is_ocaml, is_modern, root, place }
    }

    /// The absolute path of a node in the test's subtree.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// The top of the test's subtree.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Whether we are a guest, for whom quotas and permissions hold.
    pub fn is_guest(&self) -> bool {
        self.domid != DomId::DOM0
    }

    /// Whether the daemon is the in-memory one.
    pub fn is_in_memory(&self) -> bool {
        self.place.is_in_memory()
    }

    /// Whether this is a xenbus device, or what stands in for one.
    pub fn is_device(&self) -> bool {
        self.place.is_device()
    }

    /// So many of what is done many times: fewer on a device, which takes one request at a time,
    /// and may be part of a machine that is emulated.
    pub fn many(&self, count: usize) -> usize {
        if self.is_device() { count / 20 } else { count }
    }

    /// Another client, which can see the test's subtree as well: dom0, or the same domain.
    pub fn another(&self) -> Client {
        self.another_with(Client::builder().timeout(PATIENCE))
    }

    /// Likewise, made by this builder.
    pub fn another_with(&self, builder: Builder) -> Client {
        self.place.connect_another(builder)
    }

    /// A client in another guest, if there is one.
    pub fn stranger(&self) -> Option<Stranger> {
        self.place.connect_stranger()
    }
}

impl Drop for On {
    fn drop(&mut self) {
        // The test may have ended its connection.
        if self.client.rm(&self.root).is_err() {
            let _ = self.another().rm(&self.root);
        }
    }
}
