//! The threads that serve a host.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use xs_proto::DomId;

use super::{DomainState, HostEvent, Hypervisor};
use crate::mock::daemon::domains::Machine;
use crate::mock::xenstored::Xenstored;

type Log = Arc<dyn Fn(&HostEvent) + Send + Sync>;

/// A ring that is open, and has no thread yet.
struct Opened<H: Hypervisor> {
    domid: DomId,
    page: H::Page,
    channel: H::Channel,
}

/// The hypervisor as the daemon sees it.
struct Host<H: Hypervisor> {
    hypervisor: Arc<H>,
    /// The daemon is locked while it opens a ring, and a connection needs the lock. Therefore another
    /// thread connects.
    opened: Sender<Opened<H>>,
    log: Log,
}

impl Xenstored {
    /// Serves the domains of a host: the ring of dom0's kernel, and those of the domains that dom0
    /// introduces (INTRODUCE). Releases domains that are destroyed, and fires `@releaseDomain` for
    /// domains that shut down, as the [flavour](crate::mock::Flavour) does.
    ///
    /// From now on, a domain exists if the hypervisor says so, and INTRODUCE fails with EINVAL for
    /// domains whose ring cannot be opened. An INTRODUCE of a domain that is introduced already does
    /// not open the ring again.
    ///
    /// Threads serve the host until the process ends. `log` is called by them, and by INTRODUCE with
    /// locks held, so that it must not use this xenstored.
    ///
    /// # Errors
    /// The ring of dom0 cannot be opened, or the system cannot start a thread.
    pub fn serve_host<H: Hypervisor>(
        &self,
        hypervisor: H,
        log: impl Fn(&HostEvent) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let hypervisor = Arc::new(hypervisor);
        let log: Log = Arc::new(log);
        let (opened, rings) = channel();
        let host = Host { hypervisor: hypervisor.clone(), opened, log: log.clone() };
        self.act(|daemon| daemon.domains.machine = Some(Box::new(host)));

        let (page, channel) = hypervisor.open_dom0()?;
        self.serve_ring_with(DomId::DOM0, page, channel, self.ring_features(DomId::DOM0))?;
        let (xenstored, log_of_rings) = (self.clone(), log.clone());
        let thread = thread::Builder::new().name("new rings".into());
        thread.spawn(move || serve_rings(&xenstored, &rings, &log_of_rings))?;
        let xenstored = self.clone();
        let thread = thread::Builder::new().name("states of domains".into());
        thread.spawn(move || watch_domains(&xenstored, &*hypervisor, &log))?;
        Ok(())
    }
}

/// Serves the rings that INTRODUCE has opened.
fn serve_rings<H: Hypervisor>(xenstored: &Xenstored, rings: &Receiver<Opened<H>>, log: &Log) {
    for Opened { domid, page, channel } in rings {
        // The domain may be gone already. Its connection would introduce it again.
        if !xenstored.is_introduced(domid) {
            continue;
        }
        let features = xenstored.ring_features(domid);
        log(&match xenstored.serve_ring_with(domid, page, channel, features) {
            Ok(()) => HostEvent::Introduced(domid),
            Err(error) => HostEvent::Refused(domid, Arc::new(error)),
        });
    }
}

/// Looks at all known domains whenever one may have changed. A change before the first wait is not
/// reported, hence the look at the start.
fn watch_domains(xenstored: &Xenstored, hypervisor: &impl Hypervisor, log: &Log) {
    loop {
        let state = |domid| hypervisor.state(domid).unwrap_or(DomainState::Running);
        for (domid, state) in xenstored.act(|daemon| daemon.look_at_domains(state)) {
            log(&HostEvent::Changed(domid, state));
        }
        match hypervisor.wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return log(&HostEvent::Blind(Arc::new(error))),
            Ok(()) => {}
        }
    }
}

impl<H: Hypervisor> Machine for Host<H> {
    fn exists(&self, domid: DomId) -> bool {
        self.hypervisor.state(domid).is_ok_and(|state| state != DomainState::Gone)
    }

    fn open_ring(&self, domid: DomId, port: u32) -> bool {
        match self.hypervisor.open(domid, port) {
            Ok((page, channel)) => self.opened.send(Opened { domid, page, channel }).is_ok(),
            Err(error) => {
                (self.log)(&HostEvent::Refused(domid, Arc::new(error)));
                false
            }
        }
    }
}

impl<H: Hypervisor> fmt::Debug for Host<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hypervisor.fmt(f)
    }
}
