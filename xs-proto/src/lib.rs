//! The Xenstore protocol as pure state.
//!
//! Xenstore is the small tree-shaped database through which everything on a Xen host finds
//! everything else. This crate speaks its wire protocol (`docs/misc/xenstore.txt` and
//! `xen/include/public/io/xs_wire.h` in Xen's tree) and does nothing else: no I/O, no clock, no
//! threads, no `std`. Bytes go in, bytes come out.
//!
//! * [`ClientConnection`] turns a [`Request`] into one message and matches the [`Reply`] to it.
//! * [`ServerConnection`] is its mirror image.
//! * [`Request`] and [`Reply`] are every operation of the protocol, typed, encoded and decoded.
//! * [`Path`], [`Permissions`], [`DomId`] and [`ErrorCode`] are what messages are made of.
//!
//! ```
//! use xs_proto::{Path, Permissions};
//!
//! let path = Path::new("/local/domain/5/data")?;
//! assert!(path.is_absolute());
//!
//! let perms: Permissions = "b5 r0".parse()?;
//! assert_eq!(perms.owner().domid.get(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod client;
mod error_code;
mod frame;
mod outbox;
mod path;
mod payload;
mod perms;
mod reply;
mod request;
mod server;
mod wire;

pub use client::{ClientConnection, ConnectionError, Event, Limits, Received, SubmitError};
pub use error_code::ErrorCode;
pub use frame::{Decoded, Decoder, Frame, FrameError};
pub use path::{Path, PathError};
pub use payload::{PayloadError, RequestError, Strings};
pub use perms::{Access, DomId, ParseDomIdError, ParsePermissionError, Permission, Permissions};
pub use reply::Reply;
pub use request::Request;
pub use server::{Incoming, ServerConnection};
pub use wire::{
    ABS_PATH_MAX, DIRECTORY_REPLY_MAX, Header, MessageType, PAYLOAD_MAX, REL_PATH_MAX, ReqId, TxId,
};
