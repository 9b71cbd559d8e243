//! The contract between a host and its hypervisor.

use std::fmt;
use std::io;
use std::sync::Arc;

use xs_proto::DomId;
use xs_proto::ring::Page;

use super::DomainState;
use crate::ring::EventChannel;

/// The hypervisor of a host: rings, and the states of domains.
///
/// `XenHypervisor` is the genuine one. A test can bring its own, with pages and channels in memory.
pub trait Hypervisor: fmt::Debug + Send + Sync + 'static {
    /// The page of a ring. Dropping it gives the page back.
    type Page: Page + Send + 'static;
    /// The daemon's end of an event channel. Dropping it closes the channel.
    type Channel: EventChannel + 'static;

    /// Opens the ring of dom0's kernel.
    ///
    /// # Errors
    /// Fails if the host does not offer this ring to this process.
    fn open_dom0(&self) -> io::Result<(Self::Page, Self::Channel)>;

    /// Opens the ring of another domain. `port` is the domain's end of the event channel.
    ///
    /// # Errors
    /// Fails if there is no such domain, page or port.
    fn open(&self, domid: DomId, port: u32) -> io::Result<(Self::Page, Self::Channel)>;

    /// Returns the state of a domain.
    ///
    /// # Errors
    /// Fails if the hypervisor does not tell. The state is then taken to be unchanged.
    fn state(&self, domid: DomId) -> io::Result<DomainState>;

    /// Returns a number that differs between the domains that have this id one after the other.
    ///
    /// # Errors
    /// Fails if the hypervisor does not tell. The domain is then taken to be the same as before.
    fn identity(&self, domid: DomId) -> io::Result<u128>;

    /// Waits until a domain has changed its state. May return spuriously.
    ///
    /// # Errors
    /// Fails if the hypervisor no longer reports changes.
    fn wait(&self) -> io::Result<()>;
}

/// Something that happened to a host or to one of its domains.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HostEvent {
    /// A toolstack has introduced the domain, and its ring is served.
    Introduced(DomId),
    /// The ring of the domain cannot be served.
    Refused(DomId, Arc<io::Error>),
    /// The domain has shut down or is gone.
    Changed(DomId, DomainState),
    /// The hypervisor no longer reports changes.
    Blind(Arc<io::Error>),
}

impl fmt::Display for HostEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostEvent::Introduced(domid) => write!(f, "domain {domid} is introduced"),
            HostEvent::Refused(domid, error) => {
                write!(f, "cannot serve the ring of domain {domid}: {error}")
            }
            HostEvent::Changed(domid, DomainState::Running) => write!(f, "domain {domid} runs"),
            HostEvent::Changed(domid, DomainState::ShutDown) => {
                write!(f, "domain {domid} has shut down")
            }
            HostEvent::Changed(domid, DomainState::Gone) => write!(f, "domain {domid} is gone"),
            HostEvent::Blind(error) => {
                write!(f, "the hypervisor no longer reports changes of domains: {error}")
            }
        }
    }
}
