//! Tables that list the replacement of each public function of another library.
//!
//! These rules hold for all libraries:
//!
//! * A [`Client`](crate::Client) is shared by reference or cloned. No lock around it is necessary.
//! * Values are bytes. [`read_str`](crate::Tree::read_str) returns text, and
//!   [`read_parsed`](crate::Tree::read_parsed) numbers.
//! * A missing node is an error. The methods that end in `_opt` return `None` instead.
//! * The operations on nodes are methods of [`Tree`](crate::Tree). A client and a
//!   [`Transaction`](crate::Transaction) both have them, so no operation takes a transaction id.
//! * A watch is a value of its own. Its events do not mix with those of other watches.
//! * Each operation has a timeout of 30 seconds unless
//!   [`Builder::timeout`](crate::Builder::timeout) sets another one.

#[doc = include_str!("libxenstore.md")]
pub mod libxenstore {}

#[doc = include_str!("pyxs.md")]
pub mod pyxs {}

#[doc = include_str!("xenstore_rs.md")]
pub mod xenstore_rs {}

#[doc = include_str!("krata_xenstore.md")]
pub mod krata_xenstore {}

#[doc = include_str!("xen_store.md")]
pub mod xen_store {}
