//! A client for Xenstore, the configuration database of a Xen host.
//!
//! Xenstore is a small tree of nodes, such as `/local/domain/5/name`. Each node has a value (a
//! string of bytes), permissions, and any number of children. Domains (virtual machines) find and
//! configure their devices through it, guest agents publish facts about their guest in it, and
//! toolstacks manage domains with it. A daemon, *xenstored*, holds the tree. Programs in dom0, the
//! domain that manages the host, reach the daemon through a Unix socket. Programs in the other
//! domains, the guests, reach it through a device of their kernel.
//!
//! With this crate a program reads and writes nodes, combines several changes into a
//! [transaction](Transaction), and sets [watches](Watch), or [sets of watches](WatchSet), to learn of
//! changes. The backend or frontend of a device follows the rules in [`handshake`]. The crate needs
//! neither the C library libxenstore nor an async runtime.
//!
//! # A first program
//!
//! ```no_run
//! use xs_client::Client;
//!
//! fn main() -> xs_client::Result<()> {
//!     let client = Client::open()?; // finds the daemon of this machine
//!     client.write("data/greeting", "hello")?;
//!     assert_eq!(client.read("data/greeting")?, b"hello");
//!
//!     let mut watch = client.watch("data")?;
//!     loop {
//!         // The first event comes at once, later ones when a node changes.
//!         println!("{} has changed", watch.wait()?);
//!     }
//! }
//! ```
//!
//! A path without a leading slash starts at the home of the domain in which the program runs: in
//! domain 5, `data/greeting` is `/local/domain/5/data/greeting`.
//!
//! The [guides](guide) build complete programs: a guest agent, a device backend and a toolstack. They
//! also have tables for programs that [come from](guide::coming_from) libxenstore, pyxs,
//! xenstore-rs, krata-xenstore or xen-store.
//!
//! Start with [`Client`], which opens the connection. It dereferences to [`Tree`], which has the
//! operations on nodes. The documentation cites sections of `docs/misc/xenstore.txt`, the
//! specification in Xen's source tree.
//!
//! # Errors
//!
//! An [`Error`] names the operation and the path. Its [kind](ErrorKind) tells apart a mistake of
//! the caller, in which case nothing was sent; a refusal by the daemon, with the [code](ErrorCode)
//! that the daemon sent; a timeout; and a lost connection. It converts to [`std::io::Error`]. Its
//! [`Debug`] text, which a `main` that returns it prints, is the message with its causes.
//!
//! Each operation has a timeout, which is 30 seconds unless [`Builder::timeout`] sets another one.
//! Only [waiting for events](Watch::wait) has none. When the connection is lost, all threads that
//! wait get an error with the cause at once, and so does each later call. With
//! [`Builder::reconnect`], later calls connect again instead, and the client sets its watches again;
//! each watch then returns an [event](EventKind::Reconnected) that says so.
//!
//! # Threads
//!
//! Threads may share a client, or use clones of it. Their requests are in flight together, and each
//! thread gets the answers to its own. The client starts a thread of its own only for callbacks, such
//! as that of [`Client::watch_with`].
//!
//! A thread that waits for an answer or an event also receives for the other threads. While no
//! thread waits (and neither an event loop nor a [driver of futures][futures] runs), nothing is
//! received, and watch events stay with the daemon. This matters with oxenstored, the daemon that
//! is written in OCaml: once about 2,000 events wait for a client, oxenstored does not answer the
//! other clients whose writes fire these watches until the events are received. A program that sets
//! watches and rarely waits should therefore use `watch_with`, whose callback thread receives all
//! the time.
//!
//! # Event loops and futures
//!
//! To avoid blocking, [start](Tree::start) operations and collect their [results](Pending) later.
//! There are two ways to learn when a result has come:
//!
//! * An [event loop][mio] watches one file descriptor with poll(2), epoll(7) or the crate mio.
//! * The module [`futures`][futures] offers the client as futures, on tokio, smol or any other
//!   runtime.
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! | feature | adds |
//! |---|---|
//! | `futures` | the [client as futures][futures], for any runtime |
//! | `tokio` | these futures on tokio; enables `futures` |
//! | `smol` | these futures on smol and other users of async-io; enables `futures` |
//! | `mio` | the [event source][mio] for event loops |
//! | `tracing` | an event of the crate `tracing` for each operation |
//! | `cli` | the command-line tool `xs`; the library does not change |
//! | `shell`, `top` | the commands `xs shell` and `xs top`; each enables `cli` |
//! | `xen` | the option `xs serve --xen`, on Linux; enables `cli` |
//!
//! # Testing
//!
//! The module `mock` of [`xs_transport`] is a Xenstore daemon in memory. It has the permissions,
//! quotas and transaction conflicts of the real daemons, and injects faults on request. Add
//! `xs-transport` with the feature `mock` to the dev-dependencies. Functions that take a [`Client`]
//! or a [`Tree`] as an argument can then be tested with a client of this daemon:
//!
//! ```
//! use xs_client::{Client, DomId};
//! use xs_transport::mock::Xenstored;
//!
//! let guest = DomId::new(5);
//! let xenstored = Xenstored::new();
//! xenstored.add_guest(guest);
//! let client = Client::from_transport(xenstored.connect(guest));
//!
//! client.write("data/state", "running")?;
//! assert_eq!(xenstored.get("/local/domain/5/data/state").unwrap(), b"running");
//! # Ok::<(), xs_client::Error>(())
//! ```
//!
// A link must not lead to an item whose feature is disabled.
#![cfg_attr(all(unix, feature = "mio"), doc = "[mio]: EventSource")]
#![cfg_attr(not(all(unix, feature = "mio")), doc = "[mio]: #features")]
#![cfg_attr(feature = "futures", doc = "[futures]: mod@futures")]
#![cfg_attr(not(feature = "futures"), doc = "[futures]: #features")]
#![forbid(unsafe_code)]
// Event loops and drivers watch descriptors, which only Unix has.
#![cfg_attr(not(unix), allow(dead_code, unused_imports))]
// docs.rs marks the items that need a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod builder;
mod callbacks;
mod client;
mod create;
mod device_state;
mod engine;
mod error;
#[cfg(all(unix, feature = "mio"))]
mod event_loop;
mod events;
mod frontier;
#[cfg(feature = "futures")]
pub mod futures;
pub mod guide;
mod handle;
mod listing;
pub mod op;
mod pending;
mod registration;
mod sync;
mod trace;
mod transaction;
mod traversal;
mod tree;
mod walk;
mod watch;
mod watch_builder;
mod watch_set;

pub use builder::Builder;
pub use client::Client;
pub use engine::{EventKind, WatchEvent, WatchToken};
pub use error::{Error, ErrorKind, Invalid, Result};
#[cfg(all(unix, feature = "mio"))]
pub use event_loop::EventSource;
pub use pending::Pending;
pub use transaction::{Retries, Transaction};
pub use traversal::Node;
pub use tree::Tree;
pub use walk::Walk;
pub use watch::Watch;
pub use watch_builder::WatchBuilder;
pub use watch_set::{WatchSet, WatchSetHandle};

// The types of other crates that the signatures of this crate mention.
pub use xs_proto::{
    Access, ConnectionError, DomId, ErrorCode, Features, Limits, ParseDomIdError,
    ParsePermissionError, ParseXenbusStateError, Path, PathError, Permission, Permissions, Quota,
    RequestError, TxId, XenbusState, handshake,
};
pub use xs_transport::discover::DiscoverError;
pub use xs_transport::{Descriptor, Failure, Interest, Sent, Transport, Wait};
