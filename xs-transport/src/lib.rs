//! Ways to a xenstored, and the one loop that moves bytes over them.
//!
//! * [`Transport`] is what every way keeps to: the [Unix socket](UnixTransport) of dom0's daemon,
//!   the [kernel's device](XenbusTransport), memory.
//! * [`Drive`] runs a state machine of `xs-proto` over a transport.
//! * [`mock`], with the feature of that name, is a xenstored in memory: Xenstore without Xen.
//! * [`discover`](mod@discover) finds the xenstored of this machine, as libxenstore does.
//!
//! This crate moves bytes: it knows sockets, devices and memory, and no request. What people use
//! is the crate `xs-client`, on top of it.
#![deny(unsafe_code)]
// docs.rs shows what belongs to which feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod discover;
mod drive;
#[cfg(feature = "mock")]
pub mod mock;
mod sync;
mod sys;
mod transport;
mod unix;
mod waker;
mod xenbus;

pub use drive::{Drive, Failure, Guard, Machine, Turn};
pub use sys::sched_batch;
pub use transport::{Interest, Sent, Transport, Wait};
pub use unix::UnixTransport;
pub use xenbus::{DEVICE_PAYLOAD_MAX, XenbusTransport};
