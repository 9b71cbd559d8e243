//! The in-memory xenstored behind the rings of guests.
//!
//! A [`connection`] moves bytes between a ring and a pipe to the xenstored, in turns of limited
//! length. It needs a page and a way to notify the guest, and nothing else of a host. [`thread`] gives
//! each ring in memory a thread that takes the turns.

pub(super) mod connection;
#[cfg(test)]
mod tests;
pub(super) mod thread;
