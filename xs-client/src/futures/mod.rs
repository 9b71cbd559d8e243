//! The client as futures, bound to no runtime.
//!
//! [`Client`] offers most of what the [blocking client](crate::Client) does, as futures; its watches
//! are [`Stream`](futures_core::Stream)s. For the rest there is [`Client::blocking`], which waits. Dropping a future is safe at any point: nothing that others
//! do is harmed, an answer that comes late is dropped, a watch or a transaction that was about to
//! be made is taken back.
//!
//! Somebody has to watch the descriptor and the clock, and this is all that a runtime is needed
//! for. It is the task of a [`Driver`], a future that is to be spawned on the runtime at hand: it
//! uses the runtime's own reactor, through a [`Reactor`], and needs no thread. Adapters for tokio
//! and for smol are in [`reactor`], behind the features `tokio` and `smol`. Where there is no
//! runtime, [`Client::on_thread`] uses the client's background thread. One blocking client has one of
//! these: clone the futures' client as often as need be, rather than making another one of the same
//! blocking client. If the driver is dropped, the connection ends; if it is not polled, calls end
//! when somebody else watches their deadlines, or never.
//!
//! The xenbus device makes whoever sets or removes a watch wait for the daemon, for a moment; this
//! blocks the thread that polls the future.
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! use xs_client::futures::Client;
//! # use xs_transport::mock::Xenstored;
//! # let blocking = xs_client::Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! // `blocking` is what xs_client::Client::open gave.
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

mod alarm;
mod client;
mod driver;
pub mod reactor;
mod transaction;
mod tree;
mod watch;

pub use client::Client;
pub use driver::Driver;
pub use reactor::Reactor;
pub use transaction::Transaction;
pub use tree::Tree;
pub use watch::Watch;
