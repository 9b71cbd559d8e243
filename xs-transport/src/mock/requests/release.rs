//! The release of a domain, with its connections, nodes and permissions.

use xs_proto::DomId;

use super::call::Call;
use crate::mock::daemon::Daemon;
#[cfg(all(target_os = "linux", feature = "xen"))]
use crate::mock::daemon::domains::DomainState;
use crate::mock::flavour::behaviour::Release;
use crate::mock::store::join;
use crate::mock::store::node::Node;
use crate::mock::store::tree::{PERMANENT, RELEASE_DOMAIN};

impl Daemon {
    /// Releases a domain. Returns whether it was introduced. Dom0 cannot be released.
    pub(crate) fn release(&mut self, domid: DomId) -> bool {
        if domid == DomId::DOM0 {
            return false;
        }
        let is_introduced = self.domains.introduced(domid).is_some();
        self.disconnect_domain(domid);
        match self.behaviour.release {
            Release::Nodes => self.remove_nodes_of(domid),
            Release::NodesThenPermissions => {
                self.remove_nodes_of(domid);
                self.remove_permissions_of(domid);
            }
            Release::NodesAndPermissions if is_introduced => self.remove_traces_of(domid),
            Release::NodesAndPermissions => {}
        }
        self.return_permanent_nodes_of(domid);
        self.domains.remove(domid);
        if is_introduced {
            self.fire_special(RELEASE_DOMAIN, domid);
        }
        is_introduced
    }

    /// Handles the destruction of a domain.
    pub(crate) fn destroy(&mut self, domid: DomId) {
        self.domains.set_absent(domid);
        let gone = self.release_absent();
        if !gone && !self.behaviour.reports_shutdown_once {
            self.report_shutdowns();
        }
    }

    /// Handles the report that a domain has shut down.
    pub(crate) fn shut_down(&mut self, domid: DomId) {
        let domain = self.domains.introduced(domid);
        let is_news = domain.is_some_and(|domain| !std::mem::replace(&mut domain.shut_down, true));
        // The hypervisor does not say which domain it means, and the daemon looks at all.
        let gone = self.release_absent();
        if self.behaviour.reports_shutdown_once {
            if is_news {
                self.report_shutdown(domid);
            }
        } else if !gone {
            self.report_shutdowns();
        }
    }

    /// Handles a report that domains have changed, which does not say which ones. Returns the known
    /// domains that have shut down or are gone since the last report.
    #[cfg(all(target_os = "linux", feature = "xen"))]
    pub(crate) fn look_at_domains(
        &mut self,
        state: impl Fn(DomId) -> DomainState,
    ) -> Vec<(DomId, DomainState)> {
        let mut news = Vec::new();
        let known: Vec<_> = self.domains.iter().map(|(domid, _)| domid).collect();
        for domid in known.into_iter().filter(|domid| *domid != DomId::DOM0) {
            let state = state(domid);
            match state {
                DomainState::Running => continue,
                DomainState::Gone => self.domains.set_absent(domid),
                DomainState::ShutDown => match self.domains.introduced(domid) {
                    Some(domain) if !domain.shut_down => domain.shut_down = true,
                    _ => continue,
                },
            }
            news.push((domid, state));
        }
        news.sort_unstable_by_key(|(domid, _)| *domid);
        let gone = self.release_absent();
        if self.behaviour.reports_shutdown_once {
            for (domid, _) in news.iter().filter(|(_, state)| *state == DomainState::ShutDown) {
                self.report_shutdown(*domid);
            }
        } else if !gone {
            self.report_shutdowns();
        }
        news
    }

    /// Releases all domains that no longer exist. Returns whether any was introduced.
    fn release_absent(&mut self) -> bool {
        let mut any = false;
        for domid in self.domains.absent() {
            any |= self.release(domid);
        }
        any
    }

    /// Gives the domain's nodes that cannot be removed, the root and those of special watches, back
    /// to dom0. A later domain of the same number must not own them.
    fn return_permanent_nodes_of(&mut self, domid: DomId) {
        for path in PERMANENT {
            let node = self.store.get(path).filter(|node| node.owner() == domid);
            if let Some(node) = node.cloned() {
                let perms = node.perms.with_owner(DomId::DOM0);
                self.store.put(Node { perms, ..Node::clone(&node) });
                self.store.next_generation();
            }
        }
    }

    /// Removes each node that the domain owns, with its descendants. Watches fire.
    fn remove_nodes_of(&mut self, domid: DomId) {
        let mut at = vec!["/".to_owned()];
        while let Some(path) = at.pop() {
            if self.store.usage_of(domid).nodes == 0 {
                break;
            }
            let Some(node) = self.store.get(&path) else {
                continue;
            };
            if node.owner() == domid && path != "/" {
                let _ = Call::internal(self).bottom_up_remove(&path);
            } else {
                at.extend(children_of(&path, node).into_iter().rev());
            }
        }
    }

    /// Removes the domain's entries in the permissions of nodes that it does not own. No watch
    /// fires.
    fn remove_permissions_of(&mut self, domid: DomId) {
        let mut at = PERMANENT.map(str::to_owned).to_vec();
        while let Some(path) = at.pop() {
            let Some(node) = self.store.get(&path).cloned() else {
                continue;
            };
            let perms = node.perms.without(domid);
            if perms != node.perms {
                let generation = self.store.next_generation();
                self.store.put(Node { perms, generation, ..Node::clone(&node) });
            }
            at.extend(children_of(&path, &node));
        }
    }

    /// Removes each node that the domain owns, with its descendants, and the domain's entries in
    /// the permissions of other nodes. No watch fires.
    ///
    /// The daemon makes the whole tree anew, so that open transactions find each node changed. It
    /// forgets to update its counts of nodes; at most the count of the domain itself is removed.
    pub(super) fn remove_traces_of(&mut self, domid: DomId) {
        let mut usage = self.store.all_usage();
        let mut at = vec!["/".to_owned()];
        while let Some(path) = at.pop() {
            let Some(node) = self.store.get(&path).cloned() else {
                continue;
            };
            if node.owner() == domid && path != "/" {
                let _ = Call::internal(self).top_down_remove(&path);
                continue;
            }
            self.store.put(Node { perms: node.perms.without(domid), ..Node::clone(&node) });
            at.extend(children_of(&path, &node));
        }
        if !self.behaviour.keeps_node_counts {
            usage.remove(&domid);
        }
        self.store.set_all_usage(usage);
        // Open transactions have to notice the change.
        self.store.next_generation();
    }
}

fn children_of(path: &str, node: &Node) -> Vec<String> {
    node.children.iter().map(|name| join(path, name)).collect()
}
