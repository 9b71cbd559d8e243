//! Domains that appear and shut down. Their release is a change of the store, so it is among the
//! requests.

use xs_proto::DomId;

use super::state::Daemon;

impl Daemon {
    /// Introduces a domain. Returns whether it was not introduced before.
    pub(crate) fn introduce(&mut self, domid: DomId) -> bool {
        let generation = self.store.generation();
        let domain = self.domains.get_or_add(domid, generation);
        if domain.introduced {
            return false;
        }
        domain.introduced = true;
        domain.shut_down = false;
        self.fire_special("@introduceDomain", domid);
        true
    }

    /// Reports that a domain has shut down.
    pub(crate) fn shut_down(&mut self, domid: DomId) {
        let is_reported_again = !self.behaviour.reports_shutdown_once;
        let domain = self.domains.introduced(domid);
        if let Some(domain) = domain.filter(|domain| is_reported_again || !domain.shut_down) {
            domain.shut_down = true;
            self.fire_special("@releaseDomain", domid);
        }
    }
}
