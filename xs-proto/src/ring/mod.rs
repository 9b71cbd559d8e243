//! Xenstore without a socket or a kernel: the page that a guest shares with xenstored.
//!
//! Below the socket and the device `/dev/xen/xenbus`, each guest talks to xenstored through one
//! shared page and one event channel (`docs/misc/xenstore-ring.txt` in Xen's source tree, and
//! `struct xenstore_domain_interface` of xs_wire.h). The page has two rings of 1024 bytes: one for
//! requests, and one for replies and watch events. This module is for programs at this level:
//! kernels, unikernels and firmware of guests, and daemons that serve them.
//!
//! [`RingPage`] is the page, [`RingClient`] the guest's end, and [`RingServer`] xenstored's end. An
//! end copies bytes to the page and from it, and says when to notify the event channel and when to
//! wait for it. It allocates nothing. [`ClientConnection`](crate::ClientConnection) and
//! [`ServerConnection`](crate::ServerConnection) encode and decode the messages in these bytes.
//!
//! # Finding page and port
//! A PV guest finds the frame of the page and the port of the event channel in its `start_info`
//! (`store_mfn`, `store_evtchn`). An HVM or PVH guest asks for the parameters HVM_PARAM_STORE_PFN
//! (1) and HVM_PARAM_STORE_EVTCHN (2). Frame 0 means that there is no Xenstore; frame ~0 means that
//! the page comes later: wait for the event channel and ask again.
//!
//! # Example
//! A guest reads a node. A kernel implements `notify` with the hypercall EVTCHNOP_send, and `wait`
//! with SCHEDOP_poll or SCHEDOP_block.
//!
//! ```
//! use xs_proto::ring::{RingClient, RingError, RingPage};
//! use xs_proto::{ClientConnection, Event, Limits, Path, Reply, Request, TxId};
//!
//! fn read_name(
//!     page: &RingPage,
//!     mut notify: impl FnMut(),
//!     mut wait: impl FnMut(),
//! ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let mut ring = RingClient::new(page);
//!     let mut connection = ClientConnection::new(Limits::default());
//!     connection.submit(TxId::NONE, &Request::Read(Path::new("name")?), ())?;
//!     let mut output = connection.take_output();
//!     let mut buf = [0; 256];
//!     loop {
//!         let sent = ring.send(&output)?;
//!         let _ = output.split_to(sent);
//!         let received = ring.receive(&mut buf)?;
//!         if ring.must_notify() {
//!             notify();
//!         }
//!         let mut input = &buf[..received];
//!         while !input.is_empty() {
//!             let next = connection.receive(input)?;
//!             input = &input[next.consumed..];
//!             match next.event {
//!                 Some(Event::Reply { reply: Reply::Value(name), .. }) => return Ok(name.into()),
//!                 Some(Event::Reply { reply, .. }) => return Err(format!("{reply:?}").into()),
//!                 _ => {}
//!             }
//!         }
//!         if sent == 0 && received == 0 {
//!             wait();
//!         }
//!     }
//! }
//! # use std::cell::RefCell;
//! # use xs_proto::ServerConnection;
//! # let page = RingPage::new();
//! # let mut server = xs_proto::ring::RingServer::new(&page, xs_proto::Features::NONE)?;
//! # let mut connection = ServerConnection::new();
//! # let name = read_name(&page, || {}, || {
//! #     let mut buf = [0; 64];
//! #     let received = server.receive(&mut buf).unwrap();
//! #     let header = connection.receive(&buf[..received]).unwrap().event.unwrap().header;
//! #     connection.reply(header, &Reply::Value(b"guest".into())).unwrap();
//! #     server.send(&connection.take_output()).unwrap();
//! # })?;
//! # assert_eq!(name, b"guest");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod error;
mod half;
mod page;
mod server;

pub use client::RingClient;
pub use error::{RingError, ServerError};
pub use page::{Field, Page, Ring, RingPage};
pub use server::RingServer;

/// The state of the connection in which xenstored serves the ring (XENSTORE_CONNECTED).
const CONNECTED: u32 = 0;
/// The state in which the guest waits for xenstored to reset the ring (XENSTORE_RECONNECT).
const RECONNECT: u32 = 1;
