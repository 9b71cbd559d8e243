//! Helpers that the integration tests share.
#![allow(dead_code, reason = "each test target uses only some of the helpers")]

pub(crate) mod callback;
pub(crate) mod daemon;
pub(crate) mod intercept;
#[cfg(feature = "futures")]
pub(crate) mod reactor;
#[cfg(feature = "tokio")]
pub(crate) mod runtimes;
pub(crate) mod served;
pub(crate) mod threads;
pub(crate) mod waiting;
pub(crate) mod wakers;
