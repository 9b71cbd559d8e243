//! The Xenstore wire protocol as a sans-I/O state machine.
//!
//! Xenstore is the configuration database of a [Xen](https://xenproject.org) host: a small tree of
//! nodes with byte-string values. Domains (virtual machines) use it to find and configure their
//! devices, and dom0 uses it to manage the domains. A daemon, *xenstored*, holds the tree. Clients
//! talk to it over a Unix socket, or through the kernel device `/dev/xen/xenbus`.
//!
//! This crate encodes and decodes the messages of that protocol and matches replies to requests. It
//! does no I/O: it has no sockets, clock or threads and needs only `alloc`. The caller moves the
//! bytes. The protocol is specified by two files in Xen's source tree, which the documentation
//! here cites by name: `docs/misc/xenstore.txt` and `xen/include/public/io/xs_wire.h`.
//!
//! Most programs want the crate `xs-client` instead, which connects to the daemon and reads and
//! writes nodes, and whose module `guide` has complete programs. Use this crate for a client without
//! an operating system, for a server, or for a proxy.
//!
//! # Overview
//!
//! * [`ClientConnection`] encodes a [`Request`] and later returns the matching [`Reply`]. It also
//!   decodes watch events. Start here to write a client.
//! * [`ServerConnection`] is the daemon's end. Start here to write a server or a proxy.
//! * [`ring`] is the shared page that carries the bytes between a guest and xenstored. Start here to
//!   write a kernel, a unikernel or firmware.
//! * [`Request`] and [`Reply`] represent every operation of the protocol. [`Header`] and
//!   [`Decoder`] are the framing below them.
//! * [`Path`], [`Permissions`], [`DomId`], [`ErrorCode`], [`Features`] and [`Quota`] are the values
//!   inside messages.
//! * [`handshake`] has the rules by which the two ends of a device connect, in terms of their
//!   [`XenbusState`]s.
//!
//! # Example
//!
//! A client reads a node from a server. Both ends run in one process; in a real program, a socket
//! carries `bytes`.
//!
//! ```
//! use xs_proto::{ClientConnection, Event, Limits, Path, Reply, Request, ServerConnection, TxId};
//!
//! let mut client = ClientConnection::new(Limits::default());
//! let mut server = ServerConnection::new();
//!
//! // The client sends a request. The key identifies it when the reply arrives.
//! let request = Request::Read(Path::new("/local/domain/5/name")?);
//! client.submit(TxId::NONE, &request, "my key")?;
//! let bytes = client.take_output();
//!
//! // The server decodes the request and answers it.
//! let incoming = server.receive(&bytes)?.event.expect("one complete request");
//! assert_eq!(incoming.request()?, request);
//! let header = incoming.header;
//! server.reply(header, &Reply::Value(b"guest".into()))?;
//! let bytes = server.take_output();
//!
//! // The client decodes everything that arrived.
//! let mut input = &bytes[..];
//! while !input.is_empty() {
//!     let received = client.receive(input)?;
//!     input = &input[received.consumed..];
//!     match received.event {
//!         Some(Event::Reply { key, reply, .. }) => {
//!             assert_eq!((key, reply), ("my key", Reply::Value(b"guest".into())));
//!         }
//!         Some(Event::Watch { path, token }) => println!("{path} changed, {token:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors
//!
//! Two groups of error types tell a mistake of the caller from a fault of the peer.
//! [`PathError`], [`RequestError`] and [`SubmitError`] report arguments that cannot be sent; the
//! connection remains usable. [`FrameError`], [`PayloadError`] and [`ConnectionError`] report bytes
//! that violate the protocol, or the end of the stream; the connection is no longer usable. An error
//! that the daemon answers with, such as ENOENT, is neither: it is the reply [`Reply::Error`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod client;
mod domid;
mod error;
mod error_code;
mod event;
mod features;
mod frame;
pub mod handshake;
mod limits;
mod outbox;
mod path;
mod payload;
mod pending;
mod perms;
mod quota;
mod reply;
mod request;
pub mod ring;
mod server;
mod strings;
mod wire;
mod xenbus_state;

pub use client::ClientConnection;
pub use domid::{DomId, ParseDomIdError};
pub use error::{ConnectionError, FrameError, PayloadError, RequestError, SubmitError};
pub use error_code::ErrorCode;
pub use event::{Event, Received};
pub use features::Features;
pub use frame::{Decoded, Decoder, Frame};
pub use limits::Limits;
pub use path::{Path, PathError};
pub use perms::{Access, ParsePermissionError, Permission, Permissions};
pub use quota::Quota;
pub use reply::Reply;
pub use request::Request;
pub use server::{Incoming, ServerConnection};
pub use strings::Strings;
pub use wire::{
    ABS_PATH_MAX, DIRECTORY_REPLY_MAX, Header, MessageType, PAYLOAD_MAX, REL_PATH_MAX, ReqId, TxId,
};
pub use xenbus_state::{ParseXenbusStateError, XenbusState};
