//! A xenstored in memory: Xenstore without Xen.
//!
//! [`Xenstored`] behaves as the genuine daemons do: permissions and quotas, transactions that
//! conflict, watches that coalesce, domains that come and go. Any number of clients connect to it
//! [within the process](Xenstored::connect), each as a domain of its choice; with the feature
//! `serve`, also over Unix sockets, in any language. No thread runs behind the in-process pipe:
//! what a client sends is handled before the call returns.
//!
//! [`Kernel`] makes it reachable as a guest knows it: through a device that has all the traps of
//! the genuine one.
//!
//! For tests of programs that use Xenstore it can be given [guests](Xenstored::add_guest), looked
//! into, filled from [`text`], disturbed ([`Fault`], [`Xenstored::disconnect`]) and listened to
//! ([`Xenstored::set_trace`]). [`Unreliable`] makes any way to it a bad one.
//!
//! ```
//! use xs_proto::{ClientConnection, DomId, Event, Limits, Path, Reply, Request, TxId};
//! use xs_transport::mock::Xenstored;
//! use xs_transport::{Transport, Wait};
//!
//! let xenstored = Xenstored::new();
//! xenstored.set("/local/domain/5/name", "guest")?;
//!
//! let pipe = xenstored.connect(DomId::new(5));
//! let mut client = ClientConnection::new(pipe.limits());
//! client.submit(TxId::NONE, &Request::Read(Path::new("name")?), ())?;
//! pipe.send(&client.take_output())?;
//!
//! let mut buf = [0; 64];
//! let n = pipe.recv(&mut buf, Wait::No)?;
//! let Some(Event::Reply { reply, .. }) = client.receive(&buf[..n])?.event else { panic!() };
//! // dom0 made the node, and guests may not read what dom0 owns.
//! assert_eq!(reply, Reply::Error(xs_proto::ErrorCode::Access));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What differs from the genuine daemons
//! * A domain can have any number of connections. Quotas count them together.
//! * Nothing takes its time: writes are not slowed down (the C daemon lets a guest whose writes
//!   conflict with transactions make 200 a second), and a guest that does not take its events is
//!   not cut off. Messages wait where the ring would be, but in 64 KiB instead of 1 KiB; only what
//!   waits behind that is outstanding and needs memory. The bound of a connection that does not
//!   read is [`Pipe::EVENTS_MAX`] in any case.
//! * A domain that has used up its memory, or has too many requests outstanding, has to wait, as
//!   with the C daemon: sending gives `WouldBlock`.
//! * Every domain exists as soon as somebody names it; there is no hypervisor to ask.
//! * CONTROL answers as the C daemon of Xen 4.17 does, whatever the C flavour (there is no maximum
//!   in `quota <domid>`, and no `live-update`); as oxenstored, it knows `quota <domid>` only. `log`,
//!   `logfile` and `print` succeed and do nothing, and `memreport` has no file to write.
//!
//! What a genuine 4.17 was found to do otherwise is listed, with the reasons, where the two are
//! compared: `tests/tests/differential/known.rs`.

mod connection;
mod daemon;
mod flavour;
mod guest;
mod id_map;
mod kernel;
mod requests;
#[cfg(feature = "serve")]
mod serve;
mod store;
mod testing;
#[cfg(test)]
mod tests;
mod xenstored;

pub use connection::pipe::Pipe;
pub use daemon::conn::ConnId;
pub use daemon::trace::{Trace, Traced};
pub use flavour::Flavour;
pub use kernel::Kernel;
pub use kernel::device::Device;
#[cfg(feature = "serve")]
pub use serve::server::{Server, StopHandle};
pub use testing::fault::{Fault, FaultHandle};
pub use testing::record::Record;
pub use testing::text;
pub use testing::unreliable::Unreliable;
pub use xenstored::Xenstored;

// What is said and taken here, so that a test needs no further crate.
#[doc(no_inline)]
pub use xs_proto::{
    Access, DomId, ErrorCode, Header, MessageType, Path, PathError, Permission, Permissions, Reply,
    ReqId, Request, TxId,
};
