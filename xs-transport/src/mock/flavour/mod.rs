//! The daemons that the in-memory xenstored can behave like, and all differences between them.
//!
//! [`Behaviour`] lists the differences, each under a name that says what the daemon does. Each kind
//! of daemon has one file, in which a release is written as the one before it, with its changes.
//! Requests ask for a behaviour and never for a flavour.
//!
//! A new flavour needs an entry in the file of its daemon and a line in the table below.

pub(crate) mod behaviour;
mod c;
mod control_texts;
mod oxenstored;
#[cfg(test)]
mod page;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use self::behaviour::Behaviour;

macro_rules! flavours {
    ($($(#[$meta:meta])* $name:ident => $behaviour:path, $short_name:literal, $display:literal;)*) => {
        /// The daemon that the in-memory xenstored behaves like.
        ///
        /// The daemons differ in small points. A client should work with all of them, and its tests
        /// can run once with each.
        ///
        /// The display form is for people. Parsing accepts it, the
        /// [short name](Self::short_name), and `c` and `ox` for the newest release of each daemon.
        ///
        /// ```
        /// use xs_transport::mock::Flavour;
        ///
        /// assert_eq!(Flavour::default().to_string(), "C xenstored of Xen 4.22");
        /// assert_eq!("oxenstored of Xen 4.17".parse(), Ok(Flavour::Ocaml417));
        /// assert_eq!("c417".parse(), Ok(Flavour::C417));
        /// assert_eq!("c".parse(), Ok(Flavour::default()));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Flavour {
            $($(#[$meta])* $name,)*
        }

        impl Flavour {
            /// All flavours: each daemon from its oldest release to its newest.
            pub const ALL: &'static [Flavour] = &[$(Flavour::$name),*];

            /// Returns the short name, such as `c422` or `ox417`.
            pub fn short_name(self) -> &'static str {
                match self {
                    $(Flavour::$name => $short_name,)*
                }
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Flavour::$name => $display,)*
                }
            }

            /// Returns how this daemon behaves where daemons differ.
            pub(crate) fn behaviour(self) -> &'static Behaviour {
                match self {
                    $(Flavour::$name => &$behaviour,)*
                }
            }
        }
    };
}

flavours! {
    /// The C daemon of Xen 4.17, as in Debian 12.
    C417 => c::C_4_17, "c417", "C xenstored of Xen 4.17";
    /// The C daemon of Xen 4.20, as in Debian 13.
    C420 => c::C_4_20, "c420", "C xenstored of Xen 4.20";
    /// The C daemon of Xen 4.22, with features, quotas over the wire, and watches with a depth.
    C422 => c::C_4_22, "c422", "C xenstored of Xen 4.22";
    /// oxenstored of Xen 4.17, as in Debian 12. A transaction copies the index of all nodes when it
    /// starts.
    Ocaml417 => oxenstored::OX_4_17, "ox417", "oxenstored of Xen 4.17";
    /// oxenstored of Xen 4.20, as in Debian 13.
    Ocaml420 => oxenstored::OX_4_20, "ox420", "oxenstored of Xen 4.20";
    /// oxenstored of Xen 4.22.
    Ocaml422 => oxenstored::OX_4_22, "ox422", "oxenstored of Xen 4.22";
}

impl Flavour {
    /// Returns the newest release of a daemon. `family` consists of the letters of its short names.
    fn newest(family: &str) -> Option<Flavour> {
        let letters =
            |flavour: &Flavour| flavour.short_name().trim_end_matches(|c: char| c.is_ascii_digit());
        Self::ALL.iter().rfind(|flavour| letters(flavour) == family).copied()
    }
}

impl Default for Flavour {
    /// Returns the newest release of the C daemon.
    fn default() -> Self {
        Self::newest("c").unwrap_or(Flavour::C422)
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Flavour {
    type Err = ParseFlavourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_named = |flavour: &&Flavour| {
            flavour.short_name() == text || flavour.as_str().eq_ignore_ascii_case(text)
        };
        let named = Self::ALL.iter().find(is_named).copied();
        named.or_else(|| Self::newest(text)).ok_or(ParseFlavourError)
    }
}

/// The error of parsing a text that does not name a [`Flavour`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseFlavourError;

impl fmt::Display for ParseFlavourError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown daemon, expected")?;
        for (at, flavour) in Flavour::ALL.iter().enumerate() {
            let separator = if at == 0 { " " } else { ", " };
            write!(f, "{separator}{}", flavour.short_name())?;
        }
        f.write_str(", c or ox")
    }
}

impl Error for ParseFlavourError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_are_parsed_as_displayed() {
        for flavour in Flavour::ALL {
            assert_eq!(flavour.to_string().parse(), Ok(*flavour));
            assert_eq!(flavour.short_name().parse(), Ok(*flavour));
        }
        assert_eq!("ox".parse(), Ok(Flavour::Ocaml422));
        assert_eq!("c42".parse::<Flavour>(), Err(ParseFlavourError));
        assert!(ParseFlavourError.to_string().starts_with("unknown daemon, expected c417, c420"));
    }
}
