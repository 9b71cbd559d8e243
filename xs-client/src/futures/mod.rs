//! The client as futures, for any runtime.
//!
//! [`Client`] has the operations of the [blocking client](crate::Client) as futures. Its watches
//! and walks are [`Stream`](futures_core::Stream)s. Only the blocking client, which
//! [`Client::blocking`] returns, has callbacks and an event source.
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! use xs_client::futures::Client;
//! # use xs_transport::mock::Xenstored;
//! # let blocking = xs_client::Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! // `blocking` comes from `xs_client::Client::open`.
//! let client = Client::on_tokio(blocking)?;
//! client.write("/a", "1").await?;
//! assert_eq!(client.read("/a").await?, b"1");
//!
//! let mut watch = client.watch("/a").await?;
//! println!("{} has changed", watch.wait().await?);
//! # Ok::<(), xs_client::Error>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! # The driver
//! The [`Driver`] is a future that sends and receives for all other futures. It uses a runtime
//! through a [`Reactor`] and needs no thread. The constructor depends on the runtime:
//!
//! | runtime | constructor | feature |
//! |---|---|---|
//! | tokio | [`Client::on_tokio`](Client#method.on_tokio) | `tokio` |
//! | smol | [`Client::on_smol`](Client#method.on_smol) | `smol` |
//! | any, without a driver: a thread of the client takes its place | [`Client::on_thread`] | `futures` |
//! | tokio, and the program polls the driver | [`Client::with_tokio_driver`](Client#method.with_tokio_driver) | `tokio` |
//! | any that uses async-io, and the program polls the driver | [`Client::with_smol_driver`](Client#method.with_smol_driver) | `smol` |
//! | any, with your own [`Reactor`] | [`Client::with_reactor`] | `futures` |
//!
//! Call one of these constructors once for a blocking client, and clone the result. When the driver
//! is dropped, the connection ends.
//!
//! The last three return the driver to the program, which spawns it or polls it beside its other
//! futures. While the driver is not polled, calls do not complete. A timer of the runtime ends each
//! call at its deadline with [`ErrorKind::NotDriven`](crate::ErrorKind::NotDriven); a call without
//! a timeout waits until the driver is polled again. Meanwhile, watch events stay with the daemon,
//! which can [delay other clients](crate#threads). A common mistake is a `select!` with the driver
//! in one branch and a call that is awaited in the body of another branch: the driver is not polled
//! while the body runs.
//!
//! # Time
//! Deadlines refer to the clock of the runtime. A deadline that a program passes as an
//! [`Instant`](std::time::Instant) has to be an instant of this clock. Under tokio's paused clock,
//! a call that is not answered times out as soon as all tasks wait, which takes neither time nor
//! CPU. As with all I/O under a paused clock, a call also times out if the answer of another
//! process is merely late. The in-memory daemon answers before the clock advances.
//!
//! # Cancellation
//! A future may be dropped at any point. A late reply is then discarded, and a watch that was being
//! set is removed, or a transaction that was being started is aborted. The daemon may still execute
//! a request that was already sent.
//!
//! # Blocking
//! Over the xenbus device, setting or removing a watch blocks the thread that polls the future
//! until the daemon has answered, because the kernel does.

#[cfg(unix)]
mod alarm;
mod client;
mod create;
mod device_state;
#[cfg(unix)]
mod driver;
#[cfg(unix)]
pub mod reactor;
mod thread;
mod transaction;
mod tree;
mod waiting;
mod walk;
mod watch;
mod watch_builder;
mod watch_set;

pub use client::Client;
#[cfg(unix)]
pub use driver::Driver;
#[cfg(unix)]
pub use reactor::Reactor;
pub use transaction::Transaction;
pub use tree::Tree;
pub use walk::Walk;
pub use watch::Watch;
pub use watch_builder::WatchBuilder;
pub use watch_set::{WatchSet, WatchSetHandle};
