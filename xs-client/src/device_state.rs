//! Reading, changing and awaiting the states of devices.

use std::time::Duration;

use xs_proto::XenbusState;

use crate::client::Client;
use crate::error::Result;
use crate::op;
use crate::tree::Tree;

impl Tree {
    /// Returns the state of one end of a device, given the path of its node `state`.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use xs_client::XenbusState;
    ///
    /// client.write("device/vif/0/state", "4")?;
    /// assert_eq!(client.read_state("device/vif/0/state")?, XenbusState::Connected);
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`](crate::ErrorKind::Unexpected) if the value is not a state.
    pub fn read_state(&self, path: impl AsRef<str>) -> Result<XenbusState> {
        self.read_parsed(path)
    }

    /// Returns the state of one end of a device, or `None` if the node does not exist, because this
    /// end was removed.
    ///
    /// # Errors
    /// As for [`read_state`](Self::read_state), except ENOENT.
    pub fn read_state_opt(&self, path: impl AsRef<str>) -> Result<Option<XenbusState>> {
        self.read_parsed_opt(path)
    }
}

impl Client {
    /// Waits until one end of a device is in one of the given states, and returns its state.
    ///
    /// `path` is that of its node `state`. If the node does not exist, this waits until it does.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use std::time::Duration;
    /// use xs_client::XenbusState::{Closed, Connected};
    ///
    /// # client.write("/device/state", "4")?;
    /// let state = client.wait_for_state("/device/state", [Connected, Closed], Duration::from_secs(5))?;
    /// assert_eq!(state, Connected);
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait_for`](Self::wait_for).
    /// [`ErrorKind::Unexpected`](crate::ErrorKind::Unexpected) if the node gets a value that is not
    /// a state.
    pub fn wait_for_state(
        &self,
        path: impl AsRef<str>,
        states: impl AsRef<[XenbusState]>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<XenbusState> {
        let path = path.as_ref();
        let value = self.wait_for(path, timeout, |value| ends_wait(value, states.as_ref()))?;
        state_of(path, value)
    }

    /// Sets the state of one end of a device, if its node `state`, which `path` names, exists.
    ///
    /// [`write`](Tree::write) would create the node, and with it a device that the toolstack has
    /// just removed. This method reads and writes in one transaction instead.
    ///
    /// # Errors
    /// ENOENT if the node does not exist.
    pub fn switch_state(&self, path: impl AsRef<str>, state: XenbusState) -> Result<()> {
        let path = path.as_ref();
        self.transaction(|tx| {
            tx.read(path)?;
            tx.write_display(path, state)
        })
    }
}

/// Returns whether a value ends the wait for some states: it is one of them, or is not a state.
pub(crate) fn ends_wait(value: Option<&[u8]>, states: &[XenbusState]) -> bool {
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    match text.map(str::parse::<XenbusState>) {
        Some(Ok(state)) => states.contains(&state),
        _ => value.is_some(),
    }
}

/// Returns the state that a value stands for.
pub(crate) fn state_of(path: &str, value: Option<Vec<u8>>) -> Result<XenbusState> {
    let not_a_state = || op::read(path).label.unexpected("the value is not the state of a device");
    let text = String::from_utf8(value.unwrap_or_default()).map_err(|_| not_a_state())?;
    text.parse().map_err(|_| not_a_state())
}
