//! Tests of the xenbus device and of the transport over it.
//!
//! Each test runs on the simulated device. If `XS_TEST_DEVICE` names a genuine one, usually
//! `/dev/xen/xenbus`, most tests also run on that, which needs root and a domain on Xen. The genuine
//! device thereby shows that the simulated one is accurate.
//!
//! * `hazards`: the hazards of the device for a careless client, and how the transport avoids them.
//! * `messages`, `transactions`, `watches`, `lifetime`: what the device and the transport guarantee.
#![cfg(feature = "mock")]

mod client;
mod device;
mod hazards;
mod intercept;
mod lifetime;
mod messages;
mod transactions;
mod watches;

use std::time::Duration;

/// No step of a test takes this long, unless it hangs.
const HANGS: Duration = Duration::from_secs(60);
