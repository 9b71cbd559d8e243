//! The domains that the daemon knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use xs_proto::DomId;

use super::idmap::IdMap;
use super::quota::{Quota, Quotas};

/// The number that stands for any domain in a node's permissions (`DOMID_ANY`).
pub(super) const DOMID_ANY: DomId = DomId::new(0x7ff5);

/// The number that stands for the caller (`DOMID_SELF`).
pub(super) const DOMID_SELF: DomId = DomId::new(0x7ff0);

#[derive(Debug)]
pub(super) struct Domains {
    known: IdMap<DomId, Domain>,
    /// What new domains may use up.
    pub(super) defaults: Quotas,
}

#[derive(Debug)]
pub(super) struct Domain {
    /// That of the store when the daemon first heard of the domain: permissions in older nodes
    /// were meant for another one.
    pub(super) generation: u64,
    /// By INTRODUCE; others are known because permissions name them.
    pub(super) introduced: bool,
    pub(super) shut_down: bool,
    /// Whose rights this domain has besides its own.
    pub(super) target: Option<DomId>,
    /// Feature bits offered.
    pub(super) features: u32,
    pub(super) quotas: Quotas,
    pub(super) watches: u32,
    pub(super) transactions: u32,
    /// What its watches, its transactions and messages that wait for it come to. A transaction
    /// whose request is being handled does not count, and nothing that waits for dom0 does.
    pub(super) bytes: i64,
    outstanding: Arc<AtomicU32>,
}

/// A request that is outstanding until the last of these is dropped: its reply and the events that
/// it caused keep one each for as long as they have not been taken.
pub(super) type Outstanding = Arc<Request>;

#[derive(Debug)]
pub(super) struct Request(Arc<AtomicU32>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Domain {
    /// One more request.
    pub(super) fn request(&self) -> Outstanding {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Arc::new(Request(self.outstanding.clone()))
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }
}

impl Domains {
    /// Only dom0, introduced.
    pub(super) fn new(features: u32) -> Self {
        let mut domains = Domains { known: IdMap::default(), defaults: Quotas::default() };
        domains.get_or_add(DomId::DOM0, 0, features).introduced = true;
        domains
    }

    pub(super) fn get(&self, domid: DomId) -> Option<&Domain> {
        self.known.get(&domid)
    }

    pub(super) fn get_mut(&mut self, domid: DomId) -> Option<&mut Domain> {
        self.known.get_mut(&domid)
    }

    /// The domain, if it has been introduced.
    pub(super) fn introduced(&mut self, domid: DomId) -> Option<&mut Domain> {
        self.known.get_mut(&domid).filter(|domain| domain.introduced)
    }

    pub(super) fn get_or_add(
        &mut self,
        domid: DomId,
        generation: u64,
        features: u32,
    ) -> &mut Domain {
        let quotas = &self.defaults;
        self.known.entry(domid).or_insert_with(|| Domain {
            generation,
            introduced: false,
            shut_down: false,
            target: None,
            features,
            quotas: quotas.clone(),
            watches: 0,
            transactions: 0,
            bytes: 0,
            outstanding: Arc::default(),
        })
    }

    /// Sets a quota of all domains, those to come included.
    pub(super) fn set_everywhere(&mut self, quota: Quota, value: u32) {
        self.defaults[quota] = value;
        for domain in self.known.values_mut() {
            domain.quotas[quota] = value;
        }
    }

    pub(super) fn remove(&mut self, domid: DomId) {
        self.known.remove(&domid);
    }

    /// Whether permissions in a node of this generation can mean the domain of today.
    pub(super) fn is_meant(&self, domid: DomId, generation: u64) -> bool {
        domid == DOMID_ANY || self.get(domid).is_some_and(|domain| domain.generation <= generation)
    }
}
