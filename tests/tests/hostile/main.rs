//! Peers that break the protocol, fall silent or hang up.
