//! The transport over the page that a guest shares with xenstored.
//!
//! A program without a socket or a kernel's device reaches xenstored through two rings of bytes in
//! a shared page. An event channel notifies each end of changes by the other end. `xs_proto::ring`
//! has both ends of the rings as pure state. This module makes a [`Transport`](crate::Transport) of
//! the guest's end:
//!
//! * [`EventChannel`] is the contract of an event channel. The program provides a channel and a
//!   page.
//! * [`RingEndpoint`] owns the page and the channel, and connects.
//! * [`RingTransport`] is one connection.
//! * [`MemoryChannel`] is an event channel within the process. `mock::Xenstored::ring` serves a
//!   guest over one.
//! * `MappedPage` and `EvtchnChannel` are the page and the channel of a process on Linux.
//!
//! # Events
//! Both ends check both rings after every event, whatever caused the event. Therefore:
//!
//! * An event that comes twice, or late, has no effect on the result.
//! * The next event, in either direction, makes up for a lost one. A call with a deadline also
//!   checks the rings when the deadline passes, so that a reply whose event was lost arrives late
//!   instead of never. A call without a deadline goes on waiting for the next event.

mod channel;
mod endpoint;
#[cfg(target_os = "linux")]
mod evtchn;
mod memory;
#[cfg(target_os = "linux")]
mod page;
mod shared;
#[cfg(test)]
mod tests;
mod transport;

pub use channel::EventChannel;
pub use endpoint::RingEndpoint;
#[cfg(target_os = "linux")]
pub use evtchn::EvtchnChannel;
pub use memory::MemoryChannel;
#[cfg(target_os = "linux")]
pub use page::MappedPage;
pub use transport::RingTransport;
