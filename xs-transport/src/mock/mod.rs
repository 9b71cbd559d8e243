//! An in-memory xenstored: Xenstore without Xen.
//!
//! [`Xenstored`] behaves like the genuine daemons, with permissions, quotas, transactions, watches
//! and domains. A [`Flavour`] selects the daemon. Any number of clients connect
//! [within the process](Xenstored::connect), each as a domain of its choice. With the feature
//! `serve`, clients in any language connect over Unix sockets. The in-process pipe needs no thread:
//! a request is handled before the call that sends it returns.
//!
//! [`Xenstored::ring`] offers a shared page with rings, like that of a guest. [`Kernel`] offers the
//! xenbus device of a guest, with the peculiarities of the genuine one.
//!
//! A test of a program that uses Xenstore can add [guests](Xenstored::add_guest), fill the store
//! from a [`text`], inspect the store, inject [faults](Fault), [break](Xenstored::disconnect)
//! connections and [trace](Xenstored::set_trace) all messages. [`Unreliable`] makes any transport
//! unreliable.
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
//! // dom0 owns the node, so the guest may not read it.
//! assert_eq!(reply, Reply::Error(xs_proto::ErrorCode::Access));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Differences from the genuine daemons
//! * A domain can have any number of connections. Quotas count them together.
//! * There are no time limits. The C daemon slows a guest down to 200 writes a second if its writes
//!   conflict with transactions, and cuts off a guest that does not read its events. Here,
//!   [`Pipe::EVENTS_MAX`] bounds the output of a connection that does not read.
//! * A connection has 64 KiB in place of the ring of 1 KiB. Only output beyond it counts as
//!   outstanding and in the domain's memory.
//! * A domain that has used up its memory, or has too many outstanding requests, is stalled, as
//!   with the C daemon. Sending fails with `WouldBlock`.
//! * Each domain exists until it is [destroyed](Xenstored::destroy), because there is no hypervisor
//!   to ask.
//! * In CONTROL, `log`, `logfile` and `print` succeed without effect, `memreport` fails, and
//!   `live-update` finds no other daemon to start. `watches` of oxenstored lists them in another
//!   order, and `xenbus` and `txn` succeed without effect.
//!
//! The page `FLAVOURS.md` of the project lists further differences, those between the daemons, and
//! how they were found.
//!
//! # Limits
//! The quotas of the genuine daemons limit the memory that a guest can occupy. They do not apply to
//! dom0, and dom0 can switch them off. The following limits apply to the clients of every domain. A
//! request beyond them fails like one beyond a quota.
//!
//! * The store has at most 4,194,304 nodes with 1 GiB of paths, values, permissions and names.
//! * A domain has at most 1,048,576 watches and 1,024 open transactions, in about 1 GiB of memory.
//!   A transaction takes up memory for each node that it accesses. With oxenstored it holds the
//!   whole store.
//! * A connection has at most [`Pipe::EVENTS_MAX`] bytes of unsent output, and no request is
//!   accepted from it beyond about [`Pipe::BACKLOG_MAX`]. It holds one incomplete request. A client
//!   of a `Server` has up to 64 KiB more in each direction.
//! * Only the descriptors of the process limit the number of connections.
//!
//! A client that does not receive its events is disconnected at the limit and delays no other
//! client. The genuine daemons behave differently: the C daemon holds any amount of output for
//! dom0, and oxenstored stops answering the clients whose requests cause further events.
//!
//! # Structure
//! Each module depends on those above it only:
//!
//! * `numbers` reads numbers as the daemons do.
//! * `store` is the tree of nodes, with permissions, transactions and quotas.
//! * `flavour` is the table of differences between daemons.
//! * `daemon` is the state of the daemon, with domains, watches, connections and events.
//! * `requests` carries out requests on that state.
//! * `testing` has faults, records and the text form of a store; `guest` has the nodes of a guest.
//! * `connection` connects in-process clients, and [`Xenstored`] is the handle to all of it.
//! * `ring`, `serve` and `kernel` offer the xenstored over rings, sockets and a device.
//! * `host` serves the domains of a real Xen host.

mod connection;
mod daemon;
mod flavour;
mod guest;
#[cfg(all(target_os = "linux", feature = "xen"))]
pub mod host;
mod id_map;
#[cfg(unix)]
mod kernel;
mod numbers;
mod requests;
mod ring;
#[cfg(all(unix, feature = "serve"))]
mod serve;
mod store;
mod testing;
#[cfg(test)]
mod tests;
mod xenstored;

pub use connection::pipe::Pipe;
pub use daemon::conn::ConnId;
pub use daemon::trace::{Trace, Traced};
pub use flavour::{Flavour, ParseFlavourError};
#[cfg(unix)]
pub use kernel::{Kernel, device::Device};
#[cfg(all(unix, feature = "serve"))]
pub use serve::server::{Server, StopHandle};
pub use testing::fault::{Fault, FaultHandle};
pub use testing::record::Record;
pub use testing::text;
pub use testing::unreliable::Unreliable;
pub use xenstored::Xenstored;

// The types in the interface of this module are re-exported, so that a test needs no other crate.
#[doc(no_inline)]
pub use xs_proto::{
    Access, DomId, ErrorCode, Header, MessageType, Path, PathError, Permission, Permissions, Reply,
    ReqId, Request, TxId,
};
