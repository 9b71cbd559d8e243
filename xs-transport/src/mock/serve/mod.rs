//! The in-memory xenstored behind Unix sockets.

mod client;
mod listener;
pub(super) mod server;
#[cfg(test)]
mod tests;
