//! The in-memory xenstored behind Unix sockets.
//!
//! A [`server`] polls its [listeners](listener) and clients, which take [`turns`]. Each [`client`]
//! moves bytes between its socket and a pipe to the xenstored. The [`mailbox`] tells the server
//! which pipes have changed.

mod client;
mod listener;
mod mailbox;
pub(super) mod server;
#[cfg(test)]
mod tests;
mod turns;
