//! The state of one end of a device.

use core::fmt;
use core::str::FromStr;

use crate::payload::number;

/// The state of one end of a paravirtual device, which is the value of its node `state`.
///
/// Each of the two ends, the backend and the frontend, reports its progress in its state, which the
/// other end watches. The module [`handshake`](crate::handshake) has the rules. The numbers are
/// those of `enum xenbus_state` in Xen's header `xen/include/public/io/xenbus.h`, which are the
/// same on all systems.
///
/// ```
/// use xs_proto::XenbusState;
///
/// assert_eq!("4".parse(), Ok(XenbusState::Connected));
/// assert_eq!(XenbusState::Connected.to_string(), "4");
/// assert!("9".parse::<XenbusState>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum XenbusState {
    /// The state is not known. A missing node counts as this state.
    Unknown = 0,
    /// The end has begun to initialize itself.
    Initialising = 1,
    /// The end has done what it can do alone, and waits for the other end or for scripts of the
    /// host.
    InitWait = 2,
    /// The end has published how to connect to it, and waits for the other end to do so.
    Initialised = 3,
    /// The end is connected to the other end.
    Connected = 4,
    /// The end is closing, because of an error or because the device is being removed.
    Closing = 5,
    /// The end is closed.
    Closed = 6,
    /// The configuration of the connected device is about to change. Used for PCI devices.
    Reconfiguring = 7,
    /// The configuration of the connected device has changed.
    Reconfigured = 8,
}

impl XenbusState {
    /// All states, in the order of their numbers.
    pub const ALL: [XenbusState; 9] = [
        XenbusState::Unknown,
        XenbusState::Initialising,
        XenbusState::InitWait,
        XenbusState::Initialised,
        XenbusState::Connected,
        XenbusState::Closing,
        XenbusState::Closed,
        XenbusState::Reconfiguring,
        XenbusState::Reconfigured,
    ];

    /// Returns the number.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl From<XenbusState> for u32 {
    fn from(state: XenbusState) -> u32 {
        state.number()
    }
}

impl TryFrom<u32> for XenbusState {
    type Error = ParseXenbusStateError;

    fn try_from(number: u32) -> Result<Self, ParseXenbusStateError> {
        let state = Self::ALL.into_iter().find(|state| state.number() == number);
        state.ok_or(ParseXenbusStateError::UnknownNumber(number))
    }
}

impl FromStr for XenbusState {
    type Err = ParseXenbusStateError;

    /// Parses a plain decimal number, without sign or spaces.
    fn from_str(text: &str) -> Result<Self, ParseXenbusStateError> {
        let number: u32 = number(text.as_bytes()).map_err(|_| ParseXenbusStateError::NotANumber)?;
        number.try_into()
    }
}

impl fmt::Display for XenbusState {
    /// Formats the number, which is the value of the node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// The error of converting a value that is not a [`XenbusState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseXenbusStateError {
    /// The text is not a decimal number.
    #[error("not a device state: expected a number from 0 to 8")]
    NotANumber,
    /// No state has this number.
    #[error("no device state has the number {0}")]
    UnknownNumber(u32),
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn states_survive_text_and_numbers() {
        for (number, state) in (0..).zip(XenbusState::ALL) {
            assert_eq!(state.number(), number);
            assert_eq!(XenbusState::try_from(number), Ok(state));
            assert_eq!(state.to_string(), number.to_string());
            assert_eq!(state.to_string().parse(), Ok(state));
        }
    }

    #[test]
    fn other_values_are_rejected() {
        use ParseXenbusStateError::{NotANumber, UnknownNumber};

        for text in ["", " 4", "4 ", "+4", "-1", "Connected", "4\0", "0x4", "4294967296"] {
            assert_eq!(text.parse::<XenbusState>(), Err(NotANumber), "{text:?}");
        }
        assert_eq!("9".parse::<XenbusState>(), Err(UnknownNumber(9)));
        assert_eq!(XenbusState::try_from(u32::MAX), Err(UnknownNumber(u32::MAX)));
    }
}
