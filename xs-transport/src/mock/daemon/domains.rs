//! The domains that the daemon knows.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use xs_proto::{DomId, Features};

use crate::mock::flavour::behaviour::FEATURES;
use crate::mock::id_map::IdMap;
use crate::mock::store::quota::{Maxima, Quota, Quotas};

/// The number that stands for all domains in the permissions of a node (`DOMID_ANY`).
pub(crate) const DOMID_ANY: DomId = DomId::new(0x7ff5);

/// The number that stands for the caller (`DOMID_SELF`).
pub(crate) const DOMID_SELF: DomId = DomId::new(0x7ff0);

/// The first number that no domain can have (`DOMID_FIRST_RESERVED`).
const FIRST_RESERVED: DomId = DomId::new(0x7ff0);

/// The known domains.
#[derive(Debug)]
pub(crate) struct Domains {
    known: IdMap<DomId, Domain>,
    /// The domains that do not exist. Unless there is a machine to ask, all other domains exist.
    absent: HashSet<DomId>,
    /// The machine to ask whether a domain exists, if there is one.
    pub(crate) machine: Option<Box<dyn Machine>>,
    /// The quotas of new domains.
    pub(crate) defaults: Quotas,
    /// The highest counts of all guests.
    pub(crate) maxima: Maxima,
}

/// A domain that has been introduced or that permissions name.
#[derive(Debug)]
pub(crate) struct Domain {
    /// The generation of the store when the daemon learned of the domain. Permissions in older
    /// nodes were meant for an earlier domain of this number.
    generation: u64,
    pub(crate) introduced: bool,
    pub(crate) shut_down: bool,
    /// The arguments of INTRODUCE.
    pub(crate) rings: Rings,
    /// Distinguishes the domain from earlier and later ones with the same id, if the machine tells.
    pub(crate) identity: Option<u128>,
    /// The domain whose rights this domain also has.
    pub(crate) target: Option<DomId>,
    /// The features that the daemon offers to the domain.
    pub(crate) features: Features,
    pub(crate) quotas: Quotas,
    pub(crate) watches: u32,
    pub(crate) transactions: u32,
    /// The size of its watches, its transactions and its pending messages in bytes, as the daemon
    /// counts it. Excludes the transaction of the current request. Some daemons do not count the
    /// messages of dom0.
    pub(crate) bytes: i64,
    /// About how much memory its watches and transactions take up, in bytes. Excludes the
    /// transaction of the current request.
    pub(crate) held: i64,
    outstanding: Arc<AtomicU32>,
    pub(crate) maxima: Maxima,
}

/// The state of a domain, as the hypervisor knows it.
#[cfg(all(target_os = "linux", feature = "xen"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainState {
    /// The domain runs, is paused, or is being built.
    Running,
    /// The domain has shut down or crashed, and still exists.
    ShutDown,
    /// There is no such domain, or it is being destroyed.
    Gone,
}

/// The machine whose domains the daemon serves.
pub(crate) trait Machine: fmt::Debug + Send {
    /// Returns whether a domain has this number and is not being destroyed.
    fn exists(&self, domid: DomId) -> bool;

    /// Opens the ring of a domain that is about to be introduced. Returns whether the ring can be
    /// served.
    fn open_ring(&self, domid: DomId, port: u32) -> bool;

    /// Opens the ring of an introduced domain again, in place of the current one. If
    /// `keeps_connection`, the connection continues over the new ring. Otherwise the ring is
    /// emptied.
    fn reopen_ring(&self, domid: DomId, port: u32, keeps_connection: bool);

    /// Returns a number that differs between the domains that have this id one after the other.
    fn identity(&self, domid: DomId) -> Option<u128>;
}

/// The arguments of INTRODUCE, which say where the daemon finds the ring of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rings {
    pub(crate) gfn: i64,
    pub(crate) port: i64,
}

impl Rings {
    /// Returns the arguments for a domain that is introduced without any.
    pub(crate) fn of(domid: DomId) -> Self {
        Rings { gfn: 65536 + i64::from(domid.get()), port: 1 }
    }
}

/// A request that is outstanding until the last clone is dropped. Its reply and the events that it
/// caused hold a clone each until they are received.
pub(crate) type Outstanding = Arc<OutstandingRequest>;

#[derive(Debug)]
pub(crate) struct OutstandingRequest(Arc<AtomicU32>);

impl Drop for OutstandingRequest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns whether a domain is exempt from quotas and may make privileged requests.
pub(crate) fn is_privileged(domid: DomId) -> bool {
    domid == DomId::DOM0
}

impl Domain {
    /// Counts one more outstanding request.
    pub(super) fn begin_request(&self) -> Outstanding {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Arc::new(OutstandingRequest(self.outstanding.clone()))
    }

    /// Returns the number of outstanding requests.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }
}

impl Domains {
    /// Creates the table with dom0, introduced.
    pub(super) fn new() -> Self {
        let mut domains = Domains {
            known: IdMap::default(),
            absent: HashSet::new(),
            machine: None,
            defaults: Quotas::default(),
            maxima: Maxima::default(),
        };
        domains.get_or_add(DomId::DOM0, 0).introduced = true;
        domains
    }

    pub(crate) fn get(&self, domid: DomId) -> Option<&Domain> {
        self.known.get(&domid)
    }

    pub(crate) fn get_mut(&mut self, domid: DomId) -> Option<&mut Domain> {
        self.known.get_mut(&domid)
    }

    /// Returns the domain if it is introduced.
    pub(crate) fn introduced(&mut self, domid: DomId) -> Option<&mut Domain> {
        self.known.get_mut(&domid).filter(|domain| domain.introduced)
    }

    /// Returns the domain. An unknown domain is added as one that the daemon learns of in this
    /// generation of the store.
    pub(crate) fn get_or_add(&mut self, domid: DomId, generation: u64) -> &mut Domain {
        let quotas = &self.defaults;
        self.known.entry(domid).or_insert_with(|| Domain {
            generation,
            introduced: false,
            shut_down: false,
            rings: Rings::of(domid),
            identity: None,
            target: None,
            features: FEATURES,
            quotas: quotas.clone(),
            watches: 0,
            transactions: 0,
            bytes: 0,
            held: 0,
            outstanding: Arc::default(),
            maxima: Maxima::default(),
        })
    }

    /// Returns whether there is such a domain.
    pub(crate) fn exists(&self, domid: DomId) -> bool {
        domid < FIRST_RESERVED
            && match &self.machine {
                Some(machine) => machine.exists(domid),
                None => !self.absent.contains(&domid),
            }
    }

    /// Opens the ring of a domain that exists and is about to be introduced. Returns whether it can
    /// be served. Without a machine, there are no rings to open.
    pub(crate) fn open_ring(&mut self, domid: DomId, port: i64) -> bool {
        let Some(machine) = &self.machine else {
            return true;
        };
        let opened = u32::try_from(port).is_ok_and(|port| machine.open_ring(domid, port));
        if opened {
            self.set_present(domid);
        }
        opened
    }

    /// Opens the ring of an introduced domain again, see [`Machine::reopen_ring`].
    pub(crate) fn reopen_ring(&self, domid: DomId, port: i64, keeps_connection: bool) {
        if let (Some(machine), Ok(port)) = (&self.machine, u32::try_from(port)) {
            machine.reopen_ring(domid, port, keeps_connection);
        }
    }

    /// Returns the identity of the domain with this number, see [`Machine::identity`].
    pub(crate) fn identity(&self, domid: DomId) -> Option<u128> {
        self.machine.as_ref()?.identity(domid)
    }

    /// Returns whether another domain has taken the number of this introduced domain.
    pub(crate) fn is_replaced(&self, domid: DomId) -> bool {
        let known = self.get(domid).filter(|domain| domain.introduced);
        match known.and_then(|domain| domain.identity) {
            Some(known) => self.identity(domid).is_some_and(|present| present != known),
            None => false,
        }
    }

    /// Replaces a domain by another one with the same number, which is not introduced. Permissions
    /// that name the number apply to the new domain.
    pub(crate) fn renew(&mut self, domid: DomId) {
        if let Some(domain) = self.known.remove(&domid) {
            self.get_or_add(domid, domain.generation);
        }
    }

    /// Notes that a domain, which is not dom0, no longer exists.
    pub(crate) fn set_absent(&mut self, domid: DomId) {
        if domid != DomId::DOM0 {
            self.absent.insert(domid);
        }
    }

    /// Returns the known domains that no longer exist, in the order of their numbers.
    pub(crate) fn absent(&self) -> Vec<DomId> {
        let known = self.absent.iter().filter(|domid| self.known.contains_key(domid));
        let mut absent: Vec<_> = known.copied().collect();
        absent.sort_unstable();
        absent
    }

    /// Notes that there is such a domain again.
    pub(crate) fn set_present(&mut self, domid: DomId) {
        self.absent.remove(&domid);
    }

    /// Sets a quota of all present and future domains.
    pub(crate) fn set_everywhere(&mut self, quota: Quota, value: u32) {
        self.defaults[quota] = value;
        for domain in self.known.values_mut() {
            domain.quotas[quota] = value;
        }
    }

    /// Notes how much of a quota a domain uses.
    pub(crate) fn note(&self, domid: DomId, quota: Quota, count: i64) {
        if let Some(domain) = self.get(domid) {
            domain.maxima.note(quota, count);
            if !is_privileged(domid) {
                self.maxima.note(quota, count);
            }
        }
    }

    /// Notes how much of a quota a guest uses.
    pub(crate) fn note_guest(&self, domid: DomId, quota: Quota, count: i64) {
        if !is_privileged(domid) {
            self.note(domid, quota, count);
        }
    }

    /// Returns whether another domain has this domain's rights.
    pub(crate) fn is_target(&self, domid: DomId) -> bool {
        self.known.iter().any(|(other, domain)| *other != domid && domain.target == Some(domid))
    }

    /// Iterates over all domains.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DomId, &Domain)> {
        self.known.iter().map(|(domid, domain)| (*domid, domain))
    }

    pub(crate) fn remove(&mut self, domid: DomId) {
        self.known.remove(&domid);
    }

    /// Returns whether permissions in a node of this generation refer to the current domain.
    pub(crate) fn is_meant(&self, domid: DomId, generation: u64) -> bool {
        domid == DOMID_ANY || self.get(domid).is_some_and(|domain| domain.generation <= generation)
    }
}
