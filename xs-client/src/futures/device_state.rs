//! The states of devices, as futures.

use std::time::Duration;

use xs_proto::XenbusState;

use super::client::Client;
use super::tree::Tree;
use crate::device_state::{ends_wait, state_of};
use crate::error::Result;

impl Tree {
    /// See [`read_state`](crate::Tree::read_state).
    pub async fn read_state(&self, path: impl AsRef<str>) -> Result<XenbusState> {
        self.read_parsed(path).await
    }

    /// See [`read_state_opt`](crate::Tree::read_state_opt).
    pub async fn read_state_opt(&self, path: impl AsRef<str>) -> Result<Option<XenbusState>> {
        self.read_parsed_opt(path).await
    }
}

impl Client {
    /// See [`wait_for_state`](crate::Client::wait_for_state).
    pub async fn wait_for_state(
        &self,
        path: impl AsRef<str>,
        states: impl AsRef<[XenbusState]>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<XenbusState> {
        let path = path.as_ref();
        let condition = |value: Option<&[u8]>| ends_wait(value, states.as_ref());
        let value = self.wait_for(path, timeout, condition).await?;
        state_of(path, value)
    }

    /// See [`switch_state`](crate::Client::switch_state).
    pub async fn switch_state(&self, path: impl AsRef<str>, state: XenbusState) -> Result<()> {
        let path = path.as_ref();
        self.transaction(|tree| async move {
            tree.read(path).await?;
            tree.write_display(path, state).await
        })
        .await
    }
}
