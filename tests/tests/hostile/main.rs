//! Peers that break the protocol, fall silent, flood, or hang up.

mod broken;
mod cut;
mod odd;
mod silent;
