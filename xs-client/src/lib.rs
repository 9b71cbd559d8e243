//! A Xenstore client.
//!
//! Xenstore is the small tree-shaped database through which everything on a Xen host finds
//! everything else: guest agents, device drivers and backends, toolstacks. [`Client`] reads and
//! writes it, in [transactions](Transaction) if need be, and is told of changes by [`Watch`]es.
//!
//! ```no_run
//! use xs_client::Client;
//!
//! let client = Client::open()?; // the daemon's socket, or the kernel's device
//! client.write("data/greeting", "hello")?;
//! assert_eq!(client.read("data/greeting")?, b"hello");
//!
//! let mut watch = client.watch("data")?;
//! println!("{} has changed", watch.wait()?);
//! # Ok::<(), xs_client::Error>(())
//! ```
//!
//! It needs no C library and no runtime, and starts no thread until a watch with a callback asks
//! for one. Nothing hangs: each operation has a deadline, and when the connection is lost everybody
//! who waits is told why.
//!
//! # When the connection is lost
//! A client stays lost, unless it was made with [`Builder::reconnect`]: then the next call connects
//! again and all watches are set again, each with an [event](EventKind::Reconnected) that says so.
//!
//! # Event loops and futures
//! Any number of threads may share a client and block in it. Whoever must not block
//! [starts](Tree::start) operations and looks for their answers later: an [event loop][mio] watches
//! one descriptor, any runtime spawns the driver of the [client as futures][futures].
//!
//! # Features
//! None is on unless asked for, and each only adds.
//!
//! | feature | what it gives |
//! |---|---|
//! | `futures` | the [client as futures][futures], bound to no runtime |
//! | `tokio`, `smol` | … on the reactor of tokio, or on async-io's |
//! | `mio` | the client in [one's own event loop][mio]: any descriptor (`AsFd`) for poll(2) or epoll(7), or mio |
//! | `tracing` | tells `tracing` of each operation |
//! | `cli` | the program `xs`; nothing for those who use the library |
//!
//! # Testing what uses it
//! [`Client::over`] takes any way to a xenstored, so that a program that is handed its client can
//! be given the [one in memory][mock]: the feature `mock` of `xs-transport`. It has the genuine
//! ones' permissions, quotas and conflicts, and misbehaves on request.
//!
//! ```
//! use xs_client::{Client, DomId};
//! use xs_transport::mock::Xenstored;
//!
//! let xenstored = Xenstored::new();
//! xenstored.add_guest(DomId::new(5));
//! let client = Client::over(xenstored.connect(DomId::new(5)));
//! client.write("data/state", "running")?;
//! assert_eq!(xenstored.get("/local/domain/5/data/state").unwrap(), b"running");
//! # Ok::<(), xs_client::Error>(())
//! ```
//!
//! [mock]: ../xs_transport/mock/index.html
// What a build leaves out it cannot link to.
#![cfg_attr(feature = "mio", doc = "[mio]: EventSource")]
#![cfg_attr(not(feature = "mio"), doc = "[mio]: #features")]
#![cfg_attr(feature = "futures", doc = "[futures]: mod@futures")]
#![cfg_attr(not(feature = "futures"), doc = "[futures]: #features")]
#![forbid(unsafe_code)]
// docs.rs shows what belongs to which feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod background;
mod backoff;
mod batch;
mod calls;
mod client;
mod core;
mod deadline;
mod error;
#[cfg(feature = "mio")]
mod event_source;
#[cfg(feature = "futures")]
pub mod futures;
mod link;
mod listing;
pub mod op;
mod pace;
mod pending;
mod queue;
mod reconnect;
mod sync;
mod timers;
mod trace;
mod transaction;
mod tree;
mod wakers;
mod walk;
mod watch;
mod watches;

pub use client::{Builder, Client};
pub use error::{Error, ErrorKind, Invalid, Result};
#[cfg(feature = "mio")]
pub use event_source::EventSource;
pub use pending::Pending;
pub use queue::{EventKind, WatchEvent};
pub use transaction::{Retries, Transaction};
pub use tree::Tree;
pub use walk::{Node, Walk};
pub use watch::Watch;
pub use watches::Token;

pub use xs_proto::{Access, DomId, ErrorCode, Path, PathError, Permission, Permissions, TxId};
pub use xs_transport::Failure;
