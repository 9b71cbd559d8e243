//! Which daemon to behave like.

use super::store::Rules;

/// The daemon that the in-memory xenstored behaves like.
///
/// Differences between daemons are few and small; a client should work on all of them, and tests
/// can say so by running once on each.
///
/// The two of Xen 4.17 are compared with the genuine ones, request by request, whenever the tests
/// run. That of 4.23 is not: it follows `docs/misc/xenstore.txt`, and what was seen of one build of
/// that daemon before its release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// The C daemon of Xen 4.23: features, quotas over the wire, watches with a depth.
    #[default]
    C,
    /// The C daemon of Xen 4.17.
    C417,
    /// oxenstored of Xen 4.17. A transaction copies the list of all nodes when it starts; and a
    /// few commits fail here that oxenstored merges, because what changed meanwhile lies apart.
    Ocaml417,
}

impl Flavour {
    /// Knows GET_FEATURE, SET_FEATURE, GET_QUOTA, SET_QUOTA and the depth of a watch, and reads
    /// domain ids strictly.
    pub(super) fn is_modern(self) -> bool {
        self == Flavour::C
    }

    /// How nodes are counted.
    pub(super) fn rules(self) -> Rules {
        let header = if self.is_modern() { 16 } else { 24 };
        Rules { header, special: self.is_modern(), root: !self.is_ocaml() }
    }

    pub(super) fn is_ocaml(self) -> bool {
        self == Flavour::Ocaml417
    }
}
