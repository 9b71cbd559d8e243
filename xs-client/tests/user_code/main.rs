//! Callbacks, wakers, transports, connectors and `tracing` subscribers are the user's code. It may
//! block, panic or call the client, and must not harm any other user of the client.

#[path = "../support/mod.rs"]
mod support;

mod callbacks;
mod connectors;
#[cfg(feature = "tracing")]
mod subscribers;
mod transports;
mod wakers;
