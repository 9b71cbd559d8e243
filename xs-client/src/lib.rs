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
#![forbid(unsafe_code)]
// docs.rs shows what belongs to which feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod background;
mod backoff;
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
