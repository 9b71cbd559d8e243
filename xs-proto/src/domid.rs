//! Domain ids.

use core::fmt;
use core::num::TryFromIntError;
use core::str::FromStr;

use crate::payload::number;

/// The id of a domain (`<domid>` in xenstore.txt): a number from 0 to 65535.
///
/// ```
/// use xs_proto::DomId;
///
/// assert_eq!("5".parse(), Ok(DomId::new(5)));
/// assert_eq!(DomId::DOM0.to_string(), "0");
/// assert_eq!(DomId::from(5), DomId::new(5));
/// assert!(DomId::try_from(70_000u32).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomId(u16);

impl DomId {
    /// Domain 0, the privileged domain that runs the toolstack.
    pub const DOM0: DomId = DomId(0);

    /// Creates a domain id from its number.
    pub const fn new(number: u16) -> Self {
        DomId(number)
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for DomId {
    fn from(number: u16) -> Self {
        DomId(number)
    }
}

impl From<DomId> for u16 {
    fn from(domid: DomId) -> Self {
        domid.0
    }
}

// `From<u16>` is the only conversion from an integer type that cannot fail. With a second one, the
// type of a literal could not be inferred where a function takes an `impl Into<DomId>`.
macro_rules! try_from {
    ($($number:ty)*) => {
        $(impl TryFrom<$number> for DomId {
            type Error = TryFromIntError;

            /// Converts a number that is not above 65535.
            fn try_from(number: $number) -> Result<Self, TryFromIntError> {
                u16::try_from(number).map(DomId)
            }
        })*
    };
}

try_from!(i32 u32 i64 u64 isize usize);

impl FromStr for DomId {
    type Err = ParseDomIdError;

    /// Parses a plain decimal number, without sign or spaces.
    fn from_str(text: &str) -> Result<Self, ParseDomIdError> {
        number(text.as_bytes()).map(DomId).map_err(|_| ParseDomIdError)
    }
}

/// The error of parsing a string that is not a [`DomId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a domain id: expected a number from 0 to 65535")]
pub struct ParseDomIdError;
