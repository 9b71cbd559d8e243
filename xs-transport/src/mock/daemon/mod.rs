//! The state of the daemon: the store, the domains, the connections and the watches. It does no I/O
//! and has no clock. The sibling module `requests` carries out requests on it.

pub(crate) mod ceilings;
pub(crate) mod conn;
pub(crate) mod domains;
mod events;
mod lifecycle;
mod log_switches;
mod outbox;
mod output;
mod rights;
mod state;
pub(crate) mod trace;
mod usage;
pub(crate) mod watches;

pub(crate) use self::conn::ConnId;
pub(crate) use self::state::Daemon;
