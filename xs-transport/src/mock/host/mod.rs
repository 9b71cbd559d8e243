//! The domains of a real Xen host.
//!
//! [`Xenstored::serve_host`](crate::mock::Xenstored::serve_host) serves the ring of dom0's kernel,
//! and the ring of each domain that a toolstack introduces. It learns from the hypervisor when a
//! domain shuts down or is destroyed. [`Hypervisor`] is the interface to the hypervisor.
//! [`XenHypervisor`] implements it for a dom0 with Linux.
//!
//! The in-memory xenstored is a daemon for development and tests, also on such a host.
//! [`Host::stop`] returns its state for the next start. A crash loses the state.

mod hypervisor;
mod serve;
mod state;
#[cfg(test)]
mod tests;
mod xen;

pub use self::hypervisor::{HostEvent, Hypervisor};
pub use self::serve::Host;
pub use self::xen::{XenHypervisor, XenPage};
pub use super::daemon::domains::DomainState;
