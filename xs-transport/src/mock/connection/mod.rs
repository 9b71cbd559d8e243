//! Connections of clients in the same process to the daemon.
//!
//! [`hub`] guards the daemon with one lock and moves bytes between it and its connections,
//! [`queue`] holds what a client has not received yet, and [`pipe`] is the client's end.

pub(super) mod hub;
pub(super) mod pipe;
pub(super) mod queue;
