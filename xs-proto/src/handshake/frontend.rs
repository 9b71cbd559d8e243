//! The rules for a frontend.

use super::{Action, Link};
use crate::XenbusState::{
    self, Closed, Closing, Connected, InitWait, Initialised, Initialising, Unknown,
};

/// The frontend of one device.
///
/// The caller drives it like a [`Backend`](super::Backend).
///
/// * A frontend that has closed stays closed until [`restart`](Self::restart), or until the
///   toolstack writes Initialising to its `state`.
/// * If the backend begins anew without having closed, the frontend stays connected. The backend
///   finds what the frontend has published.
/// * If the program of the frontend starts again while its state says Connected, the new machine
///   begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frontend {
    nodes: Option<FrontendNodes>,
    link: Link,
    /// The caller wants to close, or publishing or connecting has failed.
    closes: bool,
    /// The caller wants to connect again once closed.
    restarts: bool,
}

/// The nodes that a frontend watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrontendNodes {
    /// The node `state` of the frontend. `None` if it does not exist: the device is gone.
    pub state: Option<XenbusState>,
    /// The node `state` of the backend. `None` if it does not exist.
    pub backend_state: Option<XenbusState>,
}

impl Frontend {
    /// Creates the machine for a device that is not connected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the current values of the nodes.
    pub fn handle_nodes(&mut self, nodes: FrontendNodes) {
        self.nodes = Some(nodes);
    }

    /// Takes the report that the last action has been carried out, or has failed; see
    /// [`Backend::handle_done`](super::Backend::handle_done).
    pub fn handle_done(&mut self, succeeded: bool) {
        let (link, has_failed) = self.link.done(succeeded);
        self.link = link;
        self.closes |= has_failed;
    }

    /// Makes the frontend close, and stay closed.
    pub fn close(&mut self) {
        self.closes = true;
        self.restarts = false;
    }

    /// Makes the frontend connect again once both ends are closed.
    pub fn restart(&mut self) {
        self.restarts = true;
    }

    /// Returns the next action, or `None` until the nodes change or the last action is done.
    pub fn poll_action(&mut self) -> Option<Action> {
        let nodes = self.nodes.filter(|_| self.link.is_idle())?;
        if nodes.state == Some(Closed) {
            // Nothing is left to close.
            self.closes = false;
        }
        let action = self.decide(nodes)?;
        if let (Action::Write(state), Some(nodes)) = (action, &mut self.nodes) {
            nodes.state = Some(state);
            match state {
                Initialising => self.restarts = false,
                Closed => self.closes = false,
                _ => {}
            }
        }
        self.link = self.link.after(action);
        Some(action)
    }

    /// Returns the state of this end, as last reported or written. `None` if the node does not
    /// exist, or nothing was reported yet.
    pub fn state(&self) -> Option<XenbusState> {
        self.nodes.and_then(|nodes| nodes.state)
    }

    /// Returns whether the frontend is connected to the backend.
    pub fn is_connected(&self) -> bool {
        self.link == Link::Up
    }

    fn decide(&self, nodes: FrontendNodes) -> Option<Action> {
        let is_down = self.link == Link::Down;
        let Some(own) = nodes.state else {
            return Some(if is_down { Action::Remove } else { Action::Disconnect });
        };
        let backend = nodes.backend_state.unwrap_or(Unknown);
        if own == Closed {
            return self.stay_closed(backend);
        }
        match backend {
            Unknown | Closing | Closed => self.finish(own),
            _ if self.closes && is_down => self.finish(own),
            // The backend has to disconnect first.
            _ if self.closes || own == Closing => {
                (own != Closing).then_some(Action::Write(Closing))
            }
            _ => self.connect(own, backend),
        }
    }

    /// Decides while the backend exists and is not closing.
    fn connect(&self, own: XenbusState, backend: XenbusState) -> Option<Action> {
        let has_begun = !matches!(own, Unknown | Initialising | InitWait);
        match self.link {
            // Another program has served this end before.
            Link::Down if has_begun => Some(Action::Write(Initialising)),
            Link::Down => matches!(backend, InitWait | Initialised).then_some(Action::Publish),
            Link::Published if !has_begun => Some(Action::Write(Initialised)),
            Link::Published => (!matches!(backend, Initialising | InitWait | Initialised))
                .then_some(Action::Connect),
            _ => (own != Connected).then_some(Action::Write(Connected)),
        }
    }

    /// Decides while the backend is closing or has closed, or this end closes unconnected.
    fn finish(&self, own: XenbusState) -> Option<Action> {
        let has_begun = !matches!(own, Unknown | Initialising | InitWait);
        match self.link {
            Link::Down if has_begun || self.closes => Some(Action::Write(Closed)),
            // The backend may become ready again.
            Link::Down => None,
            _ if own != Closing => Some(Action::Write(Closing)),
            _ => Some(Action::Disconnect),
        }
    }

    /// Decides while this end is closed.
    fn stay_closed(&self, backend: XenbusState) -> Option<Action> {
        if self.link != Link::Down {
            return Some(Action::Disconnect);
        }
        // Until the backend has closed, its state may belong to the previous connection.
        let begins = self.restarts && backend == Closed;
        begins.then_some(Action::Write(Initialising))
    }
}
