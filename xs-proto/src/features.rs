//! The features that a server announces.

use core::fmt;
use core::ops::{BitAnd, BitOr};

/// A set of features of a server (`XENSTORE_SERVER_FEATURE_*` in xs_wire.h).
///
/// A set also preserves bits that have no name here.
///
/// ```
/// use xs_proto::Features;
///
/// let features = Features::ERROR | Features::WATCH_DEPTH;
/// assert!(features.contains(Features::WATCH_DEPTH));
/// assert!(!features.contains(Features::RECONNECTION));
/// assert_eq!(features.to_string(), "connection-error, watch-depth");
/// assert_eq!(features.bits(), 6);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Features(u32);

/// The features that have a name, in the order of their bits.
const NAMES: [(Features, &str); 4] = [
    (Features::RECONNECTION, "reconnection"),
    (Features::ERROR, "connection-error"),
    (Features::WATCH_DEPTH, "watch-depth"),
    (Features::DOMID_ANY, "any-domid"),
];

impl Features {
    /// No feature.
    pub const NONE: Features = Features(0);
    /// A guest can reset its ring and connect again (`RECONNECTION`).
    pub const RECONNECTION: Features = Features(1);
    /// The server reports errors of the ring in the ring (`ERROR`).
    pub const ERROR: Features = Features(2);
    /// A watch can be limited to some levels of descendants (`WATCHDEPTH`).
    pub const WATCH_DEPTH: Features = Features(4);
    /// Permissions can name all domains together.
    pub const DOMID_ANY: Features = Features(8);

    /// Creates a set from its bits.
    pub const fn from_bits(bits: u32) -> Self {
        Features(bits)
    }

    /// Returns the bits of the set.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether the set has all features of `other`.
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether the set has no features.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the features in this set or in `other`.
    #[must_use]
    pub const fn union(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// Returns the features in this set that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Features) -> Features {
        Features(self.0 & !other.0)
    }
}

impl BitOr for Features {
    type Output = Features;

    fn bitor(self, other: Features) -> Features {
        self.union(other)
    }
}

impl BitAnd for Features {
    type Output = Features;

    fn bitand(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }
}

impl fmt::Display for Features {
    /// Writes the names separated by commas, and bits without a name in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let (mut rest, mut separator) = (*self, "");
        for (feature, name) in NAMES {
            if rest.contains(feature) {
                write!(f, "{separator}{name}")?;
                (rest, separator) = (rest.difference(feature), ", ");
            }
        }
        if !rest.is_empty() {
            write!(f, "{separator}{:#x}", rest.0)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn unknown_bits_are_kept_and_displayed() {
        let features = Features::from_bits(0x101);
        assert_eq!(features.to_string(), "reconnection, 0x100");
        assert_eq!(features.difference(Features::RECONNECTION).bits(), 0x100);
        assert_eq!(Features::NONE.to_string(), "none");
        assert_eq!(Features::from_bits(0x100).to_string(), "0x100");
    }

    #[test]
    fn sets_combine_bit_by_bit() {
        let both = Features::ERROR | Features::DOMID_ANY;
        assert!(both.contains(Features::ERROR) && both.contains(Features::NONE));
        assert!(!Features::ERROR.contains(both));
        assert_eq!(both & Features::ERROR, Features::ERROR);
    }
}
