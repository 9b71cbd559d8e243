//! The rules for a backend.

use super::{Action, Link};
use crate::XenbusState::{
    self, Closed, Closing, Connected, InitWait, Initialised, Initialising, Reconfigured,
    Reconfiguring, Unknown,
};

/// The backend of one device.
///
/// Call [`handle_nodes`](Self::handle_nodes) when the device is found and whenever one of its nodes
/// may have changed, and then [`poll_action`](Self::poll_action) until it returns `None`. Calls may
/// come in any order.
///
/// * A missing frontend counts as a closed one.
/// * A frontend that begins anew, without having closed, gets a new connection.
/// * If the program of the backend starts again while the states say Connected, the new machine
///   asks to connect to the current frontend. If the program cannot do that, it reports a failure.
/// * If connecting fails, the backend closes. It is ready again when the frontend has closed and
///   begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backend {
    nodes: Option<BackendNodes>,
    link: Link,
    /// Connecting to the current frontend has failed, and no state was written since.
    has_failed: bool,
}

/// The nodes that a backend watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendNodes {
    /// The node `state` of the backend, which the toolstack may also write. `None` if it does not
    /// exist: the device is gone.
    pub state: Option<XenbusState>,
    /// The node `state` of the frontend. `None` if it does not exist.
    pub frontend_state: Option<XenbusState>,
    /// The node `online` of the backend is 1: the device stays when the frontend has closed.
    pub online: bool,
}

impl Backend {
    /// Creates the machine for a device that is not connected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the current values of the nodes.
    pub fn handle_nodes(&mut self, nodes: BackendNodes) {
        self.nodes = Some(nodes);
    }

    /// Takes the report that the last action has been carried out, or has failed. The report has no
    /// effect after [`Action::Write`] and [`Action::Remove`], which need none.
    pub fn handle_done(&mut self, succeeded: bool) {
        let (link, has_failed) = self.link.done(succeeded);
        self.link = link;
        self.has_failed |= has_failed;
    }

    /// Returns the next action, or `None` until the nodes change or the last action is done.
    pub fn poll_action(&mut self) -> Option<Action> {
        let nodes = self.nodes.filter(|_| self.link.is_idle())?;
        if matches!(nodes.frontend_state, Some(Initialising | InitWait)) {
            // The failure concerns the previous frontend.
            self.has_failed = false;
        }
        let action = self.decide(nodes)?;
        if let (Action::Write(state), Some(nodes)) = (action, &mut self.nodes) {
            nodes.state = Some(state);
            self.has_failed = false;
        }
        self.link = self.link.after(action);
        Some(action)
    }

    /// Returns the state of this end, as last reported or written. `None` if the node does not
    /// exist, or nothing was reported yet.
    pub fn state(&self) -> Option<XenbusState> {
        self.nodes.and_then(|nodes| nodes.state)
    }

    /// Returns whether the backend is connected to the frontend.
    pub fn is_connected(&self) -> bool {
        self.link == Link::Up
    }

    fn decide(&self, nodes: BackendNodes) -> Option<Action> {
        let is_up = self.link == Link::Up;
        let Some(own) = nodes.state else {
            return Some(if is_up { Action::Disconnect } else { Action::Remove });
        };
        match nodes.frontend_state.unwrap_or(Unknown) {
            Unknown | Closed => self.close(own, nodes.online),
            Closing if is_up => Some(Action::Disconnect),
            Closing => (!matches!(own, Closing | Closed)).then_some(Action::Write(Closing)),
            // The frontend has not begun to use the device, or begins anew.
            Initialising | InitWait if is_up => Some(Action::Disconnect),
            Initialising | InitWait if own == Closing || !nodes.online => {
                self.close(own, nodes.online)
            }
            Initialising | InitWait => (own != InitWait).then_some(Action::Write(InitWait)),
            Initialised | Connected | Reconfiguring | Reconfigured => {
                self.connect(own, nodes.online)
            }
        }
    }

    /// Decides while the frontend does not use the device.
    fn close(&self, own: XenbusState, online: bool) -> Option<Action> {
        if self.link == Link::Up {
            Some(Action::Disconnect)
        } else if own != Closed {
            Some(Action::Write(Closed))
        } else {
            (!online).then_some(Action::Remove)
        }
    }

    /// Decides while the frontend is ready to be connected, or is connected.
    fn connect(&self, own: XenbusState, online: bool) -> Option<Action> {
        let is_up = self.link == Link::Up;
        match own {
            // The frontend has to close first.
            Closing => None,
            Closed => is_up.then_some(Action::Disconnect),
            Connected | Reconfiguring | Reconfigured if is_up => None,
            _ if is_up => Some(Action::Write(Connected)),
            _ if self.has_failed || !online => Some(Action::Write(Closing)),
            _ => Some(Action::Connect),
        }
    }
}
