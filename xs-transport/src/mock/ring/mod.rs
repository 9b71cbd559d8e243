//! The in-memory xenstored behind the rings of guests.
//!
//! A [`connection`] moves bytes between a ring and a pipe to the xenstored, in turns of limited
//! length. It needs only a page and a function that notifies the guest. [`thread`] gives each ring
//! a thread that takes the turns.

pub(super) mod connection;
#[cfg(test)]
mod tests;
pub(super) mod thread;
