//! Changes that the daemon makes itself: as dom0, without quotas and transactions. They are made
//! from the bottom up with any daemon.

use xs_proto::Permissions;

use super::answer::Result;
use super::call::Call;
use crate::mock::daemon::Daemon;
use crate::mock::flavour::Flavour;
use crate::mock::store::permissions::NodePerms;

impl Daemon {
    /// Creates a daemon with the nodes that it starts with.
    pub(crate) fn start(flavour: Flavour) -> Self {
        let mut daemon = Daemon::new(flavour.behaviour());
        daemon.set("/tool/xenstored", b"");
        daemon
    }

    /// Sets a value and creates the node if necessary. `path` is absolute.
    pub(crate) fn set(&mut self, path: &str, value: &[u8]) {
        // Cannot fail without quotas.
        let _ = Call::internal(self).bottom_up_write(path, value);
        self.deliver();
    }

    /// Sets the permissions of a node.
    ///
    /// # Errors
    /// ENOENT: the node does not exist.
    pub(crate) fn set_perms(&mut self, path: &str, perms: &Permissions) -> Result<()> {
        let path = self.node_of(path).into_owned();
        let perms = NodePerms::from_permissions(perms);
        let mut call = Call::internal(self);
        let perms = call.learn_domains(perms);
        let done = call.bottom_up_set_perms(&path, perms);
        self.deliver();
        done
    }

    /// Removes a node and its descendants. Returns whether the node existed. The root and special
    /// nodes cannot be removed.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let exists = path.len() > 1 && path.starts_with('/') && self.store.get(path).is_some();
        if exists {
            // Cannot fail outside of transactions.
            let _ = Call::internal(self).bottom_up_remove(path);
            self.deliver();
        }
        exists
    }
}
