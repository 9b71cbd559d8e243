//! What the tests share: the xenstoreds to test against, and peers that do as they are told.
//!
//! The suite runs over the in-memory xenstored always, and over those that these environment
//! variables name, if they are set:
//!
//! | variable | what is there |
//! |---|---|
//! | `XS_TEST_C_SOCKET` | the socket of a C xenstored, for dom0 |
//! | `XS_TEST_C_GUEST5`, `XS_TEST_C_GUEST7` | sockets that lead to the same daemon as domains 5 and 7 |
//! | `XS_TEST_OX_SOCKET`, `XS_TEST_OX_GUEST5`, `XS_TEST_OX_GUEST7` | the same for an oxenstored |
//! | `XS_TEST_DEVICE` | a xenbus device |
//!
//! Each test is also run over ways that are as bad as [`Unreliable`](xs_transport::mock::Unreliable) makes
//! them; and over such a way which is cut, or garbles a message, at a place that is another one
//! each time. There it may fail, but it ends, and what it was told is right or an error.
//! `XS_TEST_SEED` repeats what happened, and `XS_TEST_ROUNDS` says how many times each test is cut
//! and garbled.
//!
//! `XS_TEST_REQUESTS` makes the load on one client longer or shorter than 8 × 2000 requests.
//! Sockets of guests may serve one client at a time. Each test keeps to a subtree of its own and
//! removes it, so that a daemon can be in use by others meanwhile.

mod disturbed;
mod naive;
mod on;
pub mod script;
mod site;

pub use disturbed::{disturbed, seed};
pub use naive::naive;
pub use on::On;
pub use site::{Site, Stranger};

use std::time::Duration;

/// Longer than anything takes that works. To have waited for so long is a failure, and never part
/// of a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Defines tests that run on every [`Site`]: each becomes a module, with one test for each site.
#[macro_export]
macro_rules! on_every_site {
    ($($(#[doc = $doc:literal])* fn $name:ident($on:ident) $body:block)*) => {$(
        $(#[doc = $doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all of them")]
            use super::*;

            fn test($on: &$crate::On) $body

            #[test]
            fn memory() {
                $crate::Site::Memory.run(test);
            }

            #[test]
            fn memory_like_c_4_17() {
                $crate::Site::MemoryC417.run(test);
            }

            #[test]
            fn memory_like_oxenstored() {
                $crate::Site::MemoryOcaml.run(test);
            }

            #[test]
            fn memory_guest() {
                $crate::Site::MemoryGuest.run(test);
            }

            #[test]
            fn stand_in() {
                $crate::Site::StandIn.run(test);
            }

            #[test]
            fn memory_socket() {
                $crate::Site::MemorySocket.run(test);
            }

            #[test]
            fn rough() {
                $crate::Site::Rough.run(test);
            }

            #[test]
            fn rough_stand_in() {
                $crate::Site::RoughStandIn.run(test);
            }

            #[test]
            fn rough_socket() {
                $crate::Site::RoughSocket.run(test);
            }

            #[test]
            fn disturbed() {
                $crate::disturbed(test);
            }

            #[test]
            fn c() {
                $crate::Site::C.run(test);
            }

            #[test]
            fn c_guest() {
                $crate::Site::CGuest.run(test);
            }

            #[test]
            fn ox() {
                $crate::Site::Ox.run(test);
            }

            #[test]
            fn ox_guest() {
                $crate::Site::OxGuest.run(test);
            }

            #[test]
            fn device() {
                $crate::Site::Device.run(test);
            }
        }
    )*};
}

/// The README's examples are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub mod readme {}
