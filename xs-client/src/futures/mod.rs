//! The client as futures, for any runtime.
//!
//! [`Client`] has most operations of the [blocking client](crate::Client), as futures, and its
//! watches are [`Stream`](futures_core::Stream)s. Some operations exist only on the blocking
//! client, which [`Client::blocking`] returns: for example `walk`, features and quotas. They block
//! the thread that calls them.
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
//! let (client, driver) = Client::on_tokio(blocking)?;
//! tokio::spawn(driver);
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
//! The [`Driver`] is a future that sends and receives for all other futures, and watches their
//! deadlines. Spawn it on the runtime, whose reactor it uses through a [`Reactor`]; it needs no
//! thread. The constructor depends on the runtime:
//!
//! | runtime | constructor | feature |
//! |---|---|---|
//! | tokio | [`Client::on_tokio`](Client#method.on_tokio) | `tokio` |
//! | smol, and others that use async-io | [`Client::on_smol`](Client#method.on_smol) | `smol` |
//! | any, with your own [`Reactor`] | [`Client::with_reactor`] | `futures` |
//! | any, without a driver: a thread of the client takes its place | [`Client::on_thread`] | `futures` |
//!
//! Call one of these once for a blocking client, and clone the result. When the driver is dropped,
//! the connection ends. While it is not polled, futures may not complete, even after their
//! deadlines, and watch events stay with the daemon, which can
//! [delay other clients](crate#threads).
//!
//! # Cancellation
//! A future may be dropped at any point. A late reply is then discarded, and a watch or transaction
//! that was about to begin is removed or aborted. A request that was sent already may still be
//! executed.
//!
//! # Blocking
//! Over the xenbus device, setting or removing a watch blocks the thread that polls the future
//! until the daemon has answered, because the kernel does.

mod alarm;
mod client;
mod create;
mod device_state;
#[cfg(unix)]
mod driver;
#[cfg(unix)]
pub mod reactor;
mod transaction;
mod tree;
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
pub use watch::Watch;
pub use watch_builder::WatchBuilder;
pub use watch_set::{WatchSet, WatchSetHandle};
