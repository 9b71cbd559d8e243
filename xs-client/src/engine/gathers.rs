//! The choice of the requests that a driver gathers.

/// The requests that tasks leave to the driver, which sends several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gathers {
    #[default]
    None,
    /// Requests that are submitted while others are in flight. A task sends the first one itself.
    #[cfg_attr(not(feature = "futures"), expect(dead_code, reason = "set by the driver"))]
    Further,
    #[cfg_attr(not(feature = "futures"), expect(dead_code, reason = "set by the driver"))]
    All,
}
