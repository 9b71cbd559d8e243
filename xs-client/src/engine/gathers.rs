//! The requests of tasks that are sent together.

/// The requests of tasks that are left to the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gathers {
    #[default]
    None,
    /// Those beside other requests in flight. The first one is sent at once.
    #[cfg_attr(not(feature = "futures"), expect(dead_code, reason = "set by the driver"))]
    Further,
    #[cfg_attr(not(feature = "futures"), expect(dead_code, reason = "set by the driver"))]
    All,
}
