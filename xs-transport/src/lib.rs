//! Byte transports to a Xenstore daemon, and the loop that drives the protocol over them.
//!
//! A program reaches the Xenstore daemon in one of three ways. A process in dom0, the domain that
//! manages the host, connects to a Unix socket. A process in any domain can use the xenbus device of
//! its kernel. A program without a kernel shares a page with the daemon. The three behave
//! differently: for example, the device takes one message at a time, and loses the bytes that follow
//! it in the same write. This crate hides the differences behind one trait.
//!
//! Most programs want the crate `xs-client` instead, whose `Client` reads and writes nodes and sets
//! watches. Use this crate directly to write another client, to implement a transport of your own,
//! or to run tests against the in-memory daemon.
//!
//! * [`Transport`] is this trait: send bytes, receive bytes, wait, wake, close.
//! * [`UnixTransport`] and [`XenbusTransport`] implement it for the daemon's socket and the device, and
//!   [`StreamTransport`] for any stream socket: vsock, a TCP tunnel, an inherited descriptor. They
//!   need a Unix system.
//! * [`ring`] has a transport for programs that share a page with the daemon.
//! * [`discover`](mod@discover) finds the daemon of this machine, in the order of libxenstore.
//! * [`Drive`] runs a `ClientConnection` of `xs-proto` over a transport, in one thread.
//! * [`send_once`], [`receive_once`] and [`wait_once`] are the steps of this loop. A client with
//!   several threads builds its own loop from them.
//! * [`Process`] detects that the current process is a fork.
//! * [`mock`] is a Xenstore daemon in memory, for tests and for machines without Xen.
//!
//! Apart from `mock`, nothing here interprets requests or replies: `xs-proto` defines the messages
//! and matches replies to requests.
//!
//! ```no_run
//! use std::time::Duration;
//! use xs_transport::discover;
//!
//! let transport = discover::open(Duration::from_secs(5))?;
//! println!("connected to {}", transport.describe());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! * `mock`: the module `mock`, the in-memory daemon.
//! * `serve`: lets the in-memory daemon listen on Unix sockets. Implies `mock`.
//! * `xen`: lets the in-memory daemon serve the domains of a Xen host, on Linux. Implies `serve`.
#![deny(unsafe_code)]
// docs.rs marks the items that need a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod discover;
mod drive;
mod failure;
#[cfg(feature = "mock")]
pub mod mock;
mod process;
pub mod ring;
#[cfg(unix)]
mod stream;
mod sys;
mod transport;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod xenbus;

pub use drive::{Drive, Progress, Received, Turn, receive_once, send_once, wait_once};
pub use failure::Failure;
pub use process::Process;
#[cfg(unix)]
pub use stream::StreamTransport;
pub use sys::Descriptor;
pub use transport::{Interest, Sent, Transport, Wait};
#[cfg(unix)]
pub use unix::UnixTransport;
#[cfg(unix)]
pub use xenbus::{DEVICE_PAYLOAD_MAX, XenbusTransport};
