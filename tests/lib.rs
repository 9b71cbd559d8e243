//! Shared parts of the tests: the [backends](Backend) that the suite runs against, a
//! [peer] that sends what a test tells it to, and the [settings] of all tests.
//!
//! `tests/README.md` says where a new test belongs and which environment variables exist.

mod backend;
mod context;
mod faults;
#[cfg(unix)]
pub mod peer;
pub mod settings;
#[cfg(unix)]
mod socket_server;
mod temp_dir;
mod unreliable_events;

pub use backend::{Backend, OtherGuest};
pub use context::Context;
pub use faults::run_with_faults;
pub use settings::{HANG_TIMEOUT, SHORT_TIMEOUT};
#[cfg(unix)]
pub use socket_server::SocketServer;
pub use temp_dir::TempDir;

/// Defines tests that run on every [`Backend`]. Each test becomes a module with one test function
/// for each backend, and one that runs it [with faults](run_with_faults).
#[macro_export]
macro_rules! on_every_backend {
    ($($(#[doc = $doc:literal])* fn $name:ident($ctx:ident) $body:block)*) => {$(
        $(#[doc = $doc])*
        mod $name {
            #[allow(unused_imports, reason = "some tests need none of them")]
            use super::*;

            fn test($ctx: &$crate::Context) $body

            #[test]
            fn faults() {
                $crate::run_with_faults($crate::Backend::Memory, test);
            }

            #[test]
            fn faults_on_ring() {
                $crate::run_with_faults($crate::Backend::Ring, test);
            }

            $crate::on_every_backend! { @functions
                memory: Memory,
                memory_like_c_4_17: MemoryC417,
                memory_like_oxenstored: MemoryOxenstored,
                memory_guest: MemoryGuest,
                memory_device: MemoryDevice,
                memory_socket: MemorySocket,
                ring: Ring,
                ring_guest: RingGuest,
                ring_like_oxenstored: RingOxenstored,
                ring_with_unreliable_events: RingUnreliableEvents,
                unreliable: Unreliable,
                unreliable_device: UnreliableDevice,
                unreliable_socket: UnreliableSocket,
                unreliable_ring: UnreliableRing,
                c_dom0: C,
                c_guest: CGuest,
                ox_dom0: Ox,
                ox_guest: OxGuest,
                device: Device,
            }
        }
    )*};

    (@functions $($name:ident: $backend:ident,)*) => {$(
        #[test]
        fn $name() {
            $crate::Backend::$backend.run(test);
        }
    )*};
}

/// The examples in README files are tests as well.
#[cfg(doctest)]
pub mod readme {
    #[doc = include_str!("../README.md")]
    pub mod workspace {}
    #[doc = include_str!("../xs-client/README.md")]
    pub mod xs_client {}
    #[doc = include_str!("../xs-transport/README.md")]
    pub mod xs_transport {}
    #[doc = include_str!("../xs-proto/README.md")]
    pub mod xs_proto {}
}
