//! The daemons that the in-memory xenstored can behave like, and all differences between them.
//!
//! [`Behaviour`] lists the differences, each under a name that says what the daemon does. There is
//! one file per flavour with its values. Requests ask for a behaviour and never for a flavour.
//!
//! A new flavour needs a file with its `BEHAVIOUR`, which may start from that of another release,
//! and a line in the table below.

pub(crate) mod behaviour;
mod c_4_17;
mod c_4_23;
mod oxenstored_4_17;

use self::behaviour::Behaviour;

macro_rules! flavours {
    ($($(#[$meta:meta])* $name:ident => $module:ident;)*) => {
        /// The daemon that the in-memory xenstored behaves like.
        ///
        /// Daemons differ in few and small points. A client should work with all of them, and its
        /// tests can run once with each.
        ///
        /// The tests compare both flavours of Xen 4.17 with the genuine daemons, request by request.
        /// The flavour of Xen 4.23 follows `docs/misc/xenstore.txt` and observations of a
        /// pre-release build.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Flavour {
            $($(#[$meta])* $name,)*
        }

        impl Flavour {
            /// All flavours.
            pub const ALL: &'static [Flavour] = &[$(Flavour::$name),*];

            /// Returns how this daemon behaves where daemons differ.
            pub(crate) fn behaviour(self) -> &'static Behaviour {
                match self {
                    $(Flavour::$name => &$module::BEHAVIOUR,)*
                }
            }
        }
    };
}

flavours! {
    /// The C daemon of Xen 4.23, with features, quotas over the wire, and watches with a depth.
    #[default]
    C => c_4_23;
    /// The C daemon of Xen 4.17.
    C417 => c_4_17;
    /// oxenstored of Xen 4.17. A transaction copies the index of all nodes when it starts. A few
    /// commits fail that oxenstored would merge, because it detects that the changes do not
    /// overlap.
    Ocaml417 => oxenstored_4_17;
}
