//! Domains that appear and shut down. Their release is a change of the store, so it is among the
//! requests.

use xs_proto::{DomId, Features};

use super::domains::Rings;
use super::state::Daemon;
use crate::mock::flavour::behaviour::FEATURES;
use crate::mock::store::tree::{INTRODUCE_DOMAIN, RELEASE_DOMAIN};

impl Daemon {
    /// Introduces a domain, which exists from now on. Returns whether it was not introduced before.
    pub(crate) fn introduce(&mut self, domid: DomId) -> bool {
        self.domains.set_present(domid);
        self.introduce_with(domid, Rings::of(domid))
    }

    /// Introduces a domain with these arguments of INTRODUCE. Returns whether it was not introduced
    /// before.
    pub(crate) fn introduce_with(&mut self, domid: DomId, rings: Rings) -> bool {
        let generation = self.store.generation();
        let identity = self.domains.identity(domid);
        let domain = self.domains.get_or_add(domid, generation);
        if domain.introduced {
            return false;
        }
        domain.introduced = true;
        domain.identity = identity;
        domain.shut_down = false;
        domain.rings = rings;
        self.fire_special(INTRODUCE_DOMAIN, domid);
        true
    }

    /// Ends a domain if another domain has its number by now. Returns whether this was so.
    ///
    /// Nodes and permissions stay: a toolstack creates those of the new domain before it introduces
    /// the domain, and the daemon cannot tell them from older ones.
    pub(crate) fn end_replaced(&mut self, domid: DomId) -> bool {
        let is_replaced = self.domains.is_replaced(domid);
        if is_replaced {
            self.disconnect_domain(domid);
            self.domains.renew(domid);
            self.fire_special(RELEASE_DOMAIN, domid);
        }
        is_replaced
    }

    /// Returns the features that the daemon offers in the page of a domain: its own, without the
    /// features that SET_FEATURE has switched off.
    pub(crate) fn ring_features(&self, domid: DomId) -> Features {
        let enabled = self.domains.get(domid).map_or(FEATURES, |domain| domain.features);
        self.behaviour.ring_features.difference(FEATURES.difference(enabled))
    }

    /// Fires special watches for a domain that has shut down.
    pub(crate) fn report_shutdown(&mut self, domid: DomId) {
        if self.behaviour.special_events_name_domain {
            self.fire_special_of(RELEASE_DOMAIN, domid);
        }
        self.fire_special_of_any(RELEASE_DOMAIN);
    }

    /// Fires special watches if any domain has shut down.
    pub(crate) fn report_shutdowns(&mut self) {
        let is_down = self.domains.iter().any(|(_, domain)| domain.introduced && domain.shut_down);
        if is_down {
            self.fire_special_of_any(RELEASE_DOMAIN);
        }
    }
}
