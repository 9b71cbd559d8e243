//! The scope of a change.

/// The set of watches that a change fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Watches on the path itself.
    Exact,
    /// Watches on the path and on its ancestors.
    Subtree,
    /// Watches without a depth on the path itself. A special event that does not name its domain.
    Special,
    /// Watches on the path itself, and watches above it whose depth reaches it. A special event
    /// that names its domain. The root is above no special event.
    SpecialOfDomain,
}
