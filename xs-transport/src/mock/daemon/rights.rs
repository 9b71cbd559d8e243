//! The rights of domains on nodes.

use xs_proto::DomId;

use super::conn::ConnId;
use super::domains::DOMID_ANY;
use super::state::Daemon;
use crate::mock::flavour::behaviour::PermissionCheck;
use crate::mock::store::node::Node;
use crate::mock::store::path::parent_of;
use crate::mock::store::permissions::{ALL, NodePerms, READ, rights_of};

impl Daemon {
    /// Returns a domain's rights on a node with these permissions. `generation` is that of the
    /// store when the node was last written.
    pub(crate) fn rights(&self, domid: DomId, perms: &NodePerms, generation: u64) -> u8 {
        match self.behaviour.permission_check {
            PermissionCheck::FirstEntry => self.rights_by_first_entry(domid, perms, generation),
            PermissionCheck::SumWithTarget => self.rights_with_target(domid, perms),
        }
    }

    /// Returns the domain and its target.
    pub(crate) fn identities(&self, domid: DomId) -> impl Iterator<Item = DomId> + use<> {
        let target = self.domains.get(domid).and_then(|domain| domain.target);
        std::iter::once(domid).chain(target)
    }

    /// Returns whether an event may be reported to a connection. The domain has to have the right
    /// to read the node or its parent, or to have had the right to read the node.
    ///
    /// `node` is the present or removed node, if known. `old_perms` are its permissions before the
    /// change.
    pub(super) fn may_see(
        &self,
        id: ConnId,
        path: &str,
        node: Option<&Node>,
        old_perms: Option<&NodePerms>,
    ) -> bool {
        let Some(domid) = self.domid_of(id) else {
            return false;
        };
        // The first entry decides here with each daemon. A daemon with another permission check
        // comes here only for special events and for changes that a test makes.
        let reads = |perms: &NodePerms, generation| {
            self.rights_by_first_entry(domid, perms, generation) & READ != 0
        };
        if old_perms.is_some_and(|perms| reads(perms, u64::MAX)) {
            return true;
        }
        let Some(node) = node.or_else(|| self.store.get(path).map(|node| &**node)) else {
            // Dom0 may see events of a special watch whose node was removed.
            return domid == DomId::DOM0 && path.starts_with('@');
        };
        if reads(&node.perms, node.generation) {
            return true;
        }
        let parent = self.store.get(parent_of(path));
        parent.is_some_and(|parent| reads(&parent.perms, parent.generation))
    }

    fn rights_by_first_entry(&self, domid: DomId, perms: &NodePerms, generation: u64) -> u8 {
        if domid == DomId::DOM0 {
            return ALL;
        }
        let target = self.domains.get(domid).and_then(|domain| domain.target);
        let applies = |named: DomId| {
            named == domid
                || target == Some(named)
                || (named == DOMID_ANY && self.behaviour.knows_any_domain)
        };
        let [owner, others @ ..] = perms.entries() else {
            return 0;
        };
        if applies(owner.permission.domid) {
            return ALL;
        }
        let listed = others.iter().find(|entry| {
            let named = entry.permission.domid;
            !entry.void && applies(named) && self.domains.is_meant(named, generation)
        });
        rights_of(listed.unwrap_or(owner).permission.access)
    }

    fn rights_with_target(&self, domid: DomId, perms: &NodePerms) -> u8 {
        let has_all = |identity| identity == DomId::DOM0 || identity == perms.owner();
        if self.identities(domid).any(has_all) {
            return ALL;
        }
        let perms = perms.to_permissions();
        let sum = |rights, identity| rights | rights_of(perms.access_of(identity));
        self.identities(domid).fold(0, sum)
    }
}
