//! Guides: complete programs, step by step, and tables for programs that use another library.
//!
//! | guide | subject |
//! |---|---|
//! | [`guest_agent`] | a program in a guest that publishes facts and acknowledges shutdown requests |
//! | [`device_backend`] | a program that offers a device to guests |
//! | [`toolstack`] | a program in dom0 that creates and stops guests, on tokio |
//! | [`testing`] | tests of any of these programs, with faults |
//! | [`permissions`] | the rules that decide about access to a node |
//! | [`xenbus_device`] | the pitfalls of the kernel's device, and how a program handles them |
//! | [`kernel`] | a kernel or unikernel, which reaches xenstored through a shared page |
//! | [`coming_from`] | programs that use libxenstore, pyxs, xenstore-rs, krata-xenstore or xen-store |
//!
//! The tests of this crate compile the code in the guides and run it on the in-memory xenstored. In
//! the manifests, `CHECKOUT` stands for the directory of this repository.

#[doc = include_str!("guest_agent.md")]
pub mod guest_agent {}

#[doc = include_str!("device_backend.md")]
pub mod device_backend {}

#[doc = include_str!("toolstack.md")]
pub mod toolstack {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("permissions.md")]
pub mod permissions {}

#[doc = include_str!("xenbus_device.md")]
pub mod xenbus_device {}

#[doc = include_str!("kernel.md")]
pub mod kernel {}

pub mod coming_from;
