//! The threads that serve a host.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use xs_proto::DomId;
use xs_proto::ring::{Field, Page, Ring};

use super::state::{SavedDomain, State};
use super::{DomainState, HostEvent, Hypervisor};
use crate::mock::daemon::domains::Machine;
use crate::mock::ring::connection::{Connection, Saved};
use crate::mock::ring::thread::RingThread;
use crate::mock::xenstored::Xenstored;

type Log = Arc<dyn Fn(&HostEvent) + Send + Sync>;

/// A ring that replaces the current ring of a domain.
enum NewRing<H: Hypervisor> {
    Opened {
        domid: DomId,
        page: H::Page,
        channel: H::Channel,
    },
    /// The port has to be bound again. A daemon cannot bind a port twice, so the old ring is closed
    /// first.
    Reopen {
        domid: DomId,
        port: u32,
        keeps_connection: bool,
    },
}

/// The hypervisor, as the daemon's machine.
struct View<H: Hypervisor> {
    hypervisor: Arc<H>,
    /// The daemon is locked while it opens a ring, and connecting the ring needs the lock.
    /// Therefore another thread connects it.
    new_rings: Sender<NewRing<H>>,
    log: Log,
}

/// A host that a xenstored serves, see [`Xenstored::serve_host`].
///
/// Dropping it has no effect: the host is served until the process ends.
pub struct Host<H: Hypervisor> {
    xenstored: Xenstored,
    rings: Rings<H>,
}

type Rings<H> = Arc<Mutex<Vec<RingThread<<H as Hypervisor>::Page>>>>;

impl Xenstored {
    /// Serves the domains of a host: the ring of dom0's kernel, and those of the domains that dom0
    /// introduces (INTRODUCE). Releases domains that are destroyed, and fires `@releaseDomain` for
    /// domains that shut down, as the [flavour](crate::mock::Flavour) does.
    ///
    /// From now on, a domain exists if the hypervisor says so, and INTRODUCE fails with EINVAL for
    /// domains whose ring cannot be opened. An INTRODUCE of a domain that is introduced already
    /// opens the ring again, with the new port. The C daemon then drops the watches and
    /// transactions of the domain and empties its ring, whereas oxenstored keeps the connection.
    /// With its flavour, this xenstored keeps the watches, but not the transactions.
    ///
    /// Threads serve the host until the process ends. They call `log`, and so does INTRODUCE while
    /// locks are held, so `log` must not use this xenstored.
    ///
    /// # Errors
    /// Fails if the ring of dom0 cannot be opened, or if the system cannot start a thread.
    pub fn serve_host<H: Hypervisor>(
        &self,
        hypervisor: H,
        log: impl Fn(&HostEvent) + Send + Sync + 'static,
    ) -> io::Result<Host<H>> {
        self.start_host(hypervisor, Arc::new(log), State::default())
    }

    /// Like [`serve_host`](Self::serve_host), but continues with the state of another xenstored
    /// ([`Host::stop`]): nodes, introduced domains, and the watches and incomplete messages of
    /// their rings. Domains that are gone by now are released.
    ///
    /// # Errors
    /// `InvalidData` if the state cannot be read, or an error of [`serve_host`](Self::serve_host).
    pub fn resume_host<H: Hypervisor>(
        &self,
        hypervisor: H,
        log: impl Fn(&HostEvent) + Send + Sync + 'static,
        state: &str,
    ) -> io::Result<Host<H>> {
        let state = State::parse(state)?;
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        self.act(|daemon| {
            for saved in &state.domains {
                daemon.introduce_with(saved.domid, saved.rings);
                if let Some(domain) = daemon.domains.introduced(saved.domid) {
                    domain.shut_down = saved.shut_down;
                    domain.identity = saved.identity;
                }
            }
        });
        self.seed(&state.nodes).map_err(invalid)?;
        self.start_host(hypervisor, Arc::new(log), state)
    }

    fn start_host<H: Hypervisor>(
        &self,
        hypervisor: H,
        log: Log,
        mut state: State,
    ) -> io::Result<Host<H>> {
        let hypervisor = Arc::new(hypervisor);
        let (new_rings, receiver) = channel();
        let view = View { hypervisor: hypervisor.clone(), new_rings, log: log.clone() };
        let host = Host { xenstored: self.clone(), rings: Rings::<H>::default() };
        self.act(|daemon| daemon.domains.machine = Some(Box::new(view)));

        let (page, channel) = hypervisor.open_dom0()?;
        host.start(DomId::DOM0, page, channel, state.rings.remove(&DomId::DOM0))?;
        for SavedDomain { domid, rings, .. } in state.domains {
            if self.act(|daemon| daemon.end_replaced(domid)) {
                log(&HostEvent::Changed(domid, DomainState::Gone));
                continue;
            }
            // A domain that is gone is released by the first look at the domains.
            let port = u32::try_from(rings.port).unwrap_or(0);
            let opened = hypervisor.open(domid, port).and_then(|(page, channel)| {
                host.start(domid, page, channel, state.rings.remove(&domid))
            });
            log(&introduced_or_refused(domid, opened));
        }
        let (log_of_rings, host_of_rings, opener) = (log.clone(), host.clone(), hypervisor.clone());
        let thread = thread::Builder::new().name("new rings".into());
        thread.spawn(move || {
            for ring in receiver {
                host_of_rings.replace(ring, &*opener, &log_of_rings);
            }
        })?;
        let host_of_states = host.clone();
        let thread = thread::Builder::new().name("states of domains".into());
        thread.spawn(move || host_of_states.watch_domains(&*hypervisor, &log))?;
        Ok(host)
    }
}

impl<H: Hypervisor> Host<H> {
    /// Stops serving the rings, and returns the state for [`Xenstored::resume_host`]. The form of
    /// the text may change with the version of this crate.
    ///
    /// Close the sockets of this xenstored before. Their watches and all open transactions are
    /// lost. So are quotas and features that were set, and nodes that a [dump](Xenstored::dump)
    /// leaves out.
    pub fn stop(self) -> String {
        let rings: Vec<_> = std::mem::take(&mut *self.lock_rings());
        // All are stopped before the first one is saved, so that each has the events of the others.
        let connections: Vec<_> = rings.into_iter().filter_map(RingThread::stop).collect();
        let rings = connections.into_iter().filter_map(Connection::save).collect();
        let nodes = self.xenstored.dump();
        let domains = self.xenstored.act(|daemon| {
            let all = daemon.domains.iter();
            let introduced = all.filter(|(domid, it)| it.introduced && *domid != DomId::DOM0);
            let saved = introduced.map(|(domid, domain)| SavedDomain {
                domid,
                rings: domain.rings,
                shut_down: domain.shut_down,
                identity: domain.identity,
            });
            saved.collect()
        });
        State { domains, nodes, rings }.to_string()
    }

    fn start(
        &self,
        domid: DomId,
        page: H::Page,
        channel: H::Channel,
        saved: Option<Saved>,
    ) -> io::Result<()> {
        let features = self.xenstored.ring_features(domid);
        let thread = self.xenstored.start_ring(domid, page, channel, features, |connection| {
            if let Some(saved) = saved {
                connection.restore(saved);
            }
        })?;
        let mut rings = self.lock_rings();
        rings.retain(|ring| !ring.is_over());
        rings.push(thread);
        Ok(())
    }

    /// Serves a ring in place of the current ring of the domain.
    fn replace(&self, ring: NewRing<H>, hypervisor: &H, log: &Log) {
        let (NewRing::Opened { domid, .. } | NewRing::Reopen { domid, .. }) = ring;
        let old = self.take(domid).and_then(RingThread::stop);
        // The domain may be gone already. A connection would introduce it again.
        if !self.xenstored.is_introduced(domid) {
            return;
        }
        let started = match ring {
            NewRing::Opened { page, channel, .. } => {
                drop(old);
                self.start(domid, page, channel, None)
            }
            NewRing::Reopen { port, keeps_connection: true, .. } => {
                let saved = old.and_then(Connection::save).map(|(_, saved)| saved);
                let opened = hypervisor.open(domid, port);
                opened.and_then(|(page, channel)| self.start(domid, page, channel, saved))
            }
            NewRing::Reopen { port, keeps_connection: false, .. } => {
                drop(old);
                hypervisor.open(domid, port).and_then(|(page, channel)| {
                    for ring in [Ring::Requests, Ring::Replies] {
                        page.store(Field::Consumer(ring), 0, Ordering::Relaxed);
                        page.store(Field::Producer(ring), 0, Ordering::Relaxed);
                    }
                    self.start(domid, page, channel, None)
                })
            }
        };
        log(&introduced_or_refused(domid, started));
        // A domain that has gone in the meantime is introduced again now.
        self.look_at_domains(hypervisor, log);
    }

    /// Looks at all known domains whenever one may have changed. A change before the first wait is
    /// not reported, hence the look at the start.
    fn watch_domains(&self, hypervisor: &H, log: &Log) {
        loop {
            self.look_at_domains(hypervisor, log);
            match hypervisor.wait() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return log(&HostEvent::Blind(Arc::new(error))),
                Ok(()) => {}
            }
        }
    }

    /// Releases the domains that are gone, and stops their rings. Xen keeps a domain as long as its
    /// page is mapped, and the death of a domain whose ring was given up does not wake the thread
    /// of the ring.
    fn look_at_domains(&self, hypervisor: &H, log: &Log) {
        let state = |domid| hypervisor.state(domid).unwrap_or(DomainState::Running);
        for (domid, state) in self.xenstored.act(|daemon| daemon.look_at_domains(state)) {
            log(&HostEvent::Changed(domid, state));
        }
        let mut released = Vec::new();
        let mut rings = self.lock_rings();
        for at in (0..rings.len()).rev() {
            if !self.xenstored.is_introduced(rings[at].domid()) {
                released.push(rings.swap_remove(at));
            }
        }
        drop(rings);
        for ring in released {
            ring.stop();
        }
    }

    fn take(&self, domid: DomId) -> Option<RingThread<H::Page>> {
        let mut rings = self.lock_rings();
        let at = rings.iter().position(|ring| ring.domid() == domid)?;
        Some(rings.swap_remove(at))
    }

    fn lock_rings(&self) -> MutexGuard<'_, Vec<RingThread<H::Page>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Hypervisor> Clone for Host<H> {
    fn clone(&self) -> Self {
        Host { xenstored: self.xenstored.clone(), rings: self.rings.clone() }
    }
}

impl<H: Hypervisor> fmt::Debug for Host<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("rings", &self.lock_rings().len()).finish_non_exhaustive()
    }
}

fn introduced_or_refused(domid: DomId, served: io::Result<()>) -> HostEvent {
    match served {
        Ok(()) => HostEvent::Introduced(domid),
        Err(error) => HostEvent::Refused(domid, Arc::new(error)),
    }
}

impl<H: Hypervisor> Machine for View<H> {
    fn exists(&self, domid: DomId) -> bool {
        self.hypervisor.state(domid).is_ok_and(|state| state != DomainState::Gone)
    }

    fn open_ring(&self, domid: DomId, port: u32) -> bool {
        match self.hypervisor.open(domid, port) {
            Ok((page, channel)) => {
                self.new_rings.send(NewRing::Opened { domid, page, channel }).is_ok()
            }
            Err(error) => {
                (self.log)(&HostEvent::Refused(domid, Arc::new(error)));
                false
            }
        }
    }

    fn reopen_ring(&self, domid: DomId, port: u32, keeps_connection: bool) {
        // The thread that receives ends with the process.
        let _ = self.new_rings.send(NewRing::Reopen { domid, port, keeps_connection });
    }

    fn identity(&self, domid: DomId) -> Option<u128> {
        self.hypervisor.identity(domid).ok()
    }
}

impl<H: Hypervisor> fmt::Debug for View<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hypervisor.fmt(f)
    }
}
