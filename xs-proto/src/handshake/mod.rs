//! The handshake of the two ends of a device: how a backend and a frontend find each other.
//!
//! A paravirtual device has two ends: the *frontend*, a driver in the guest that uses the device,
//! and the *backend*, which provides it. Each end has a directory in Xenstore with a node `state`
//! (a [`XenbusState`]), and watches the state of the other end. The toolstack creates both
//! directories, each in the state Initialising, and removes them in the end.
//!
//! [`Backend`] and [`Frontend`] are state machines with the rules for one end of one device,
//! without I/O. Give such a machine the current states in the nodes, whenever one of them may have
//! changed (`handle_nodes`). Then carry out the actions that it asks for, one by one
//! (`poll_action`), and report when an action is done (`handle_done`). The machine accepts missed
//! and repeated states, as long as it learns of the latest ones.
//!
//! # The usual course
//!
//! | backend | frontend | what happens |
//! |---|---|---|
//! | Initialising | Initialising | The toolstack has created the device. |
//! | InitWait | Initialising | The backend has published what the frontend needs to know. |
//! | InitWait | Initialised | The frontend has published its rings and event channels. Some frontends go to Connected at once. |
//! | Connected | Initialised | The backend has connected to the rings. |
//! | Connected | Connected | The device is in use. |
//! | Connected | Closing | The frontend stops, for example because the guest shuts down. |
//! | Closing | Closed | The backend has disconnected. |
//! | Closed | Closed | If the backend's node `online` is 1, the device may connect again. |
//! | Closed | Initialising | A new frontend starts, for example after a boot loader. |
//! | InitWait | Initialising | The backend is ready for it. |
//!
//! The toolstack removes a device when it writes 0 to `online`, and Closing to the backend's
//! `state`. The frontend then closes, the backend ends in Closed, and the toolstack removes the
//! directories. It may also remove them without this exchange.
//!
//! The states Reconfiguring and Reconfigured, which only PCI devices use, count as Connected here.
//!
//! # Example
//!
//! ```
//! use xs_proto::XenbusState::{Closed, Closing, Connected, InitWait, Initialised, Initialising};
//! use xs_proto::handshake::{Action, Backend, BackendNodes};
//!
//! let mut backend = Backend::new();
//! let nodes = |state, frontend_state, online| BackendNodes { state, frontend_state, online };
//!
//! // The toolstack has created the device.
//! backend.handle_nodes(nodes(Some(Initialising), Some(Initialising), true));
//! assert_eq!(backend.poll_action(), Some(Action::Write(InitWait)));
//! assert_eq!(backend.poll_action(), None);
//!
//! // The frontend has published its rings.
//! backend.handle_nodes(nodes(Some(InitWait), Some(Initialised), true));
//! assert_eq!(backend.poll_action(), Some(Action::Connect));
//! backend.handle_done(true);
//! assert_eq!(backend.poll_action(), Some(Action::Write(Connected)));
//!
//! // The toolstack removes the device, and the frontend closes.
//! backend.handle_nodes(nodes(Some(Closing), Some(Connected), false));
//! assert_eq!(backend.poll_action(), None);
//! backend.handle_nodes(nodes(Some(Closing), Some(Closed), false));
//! assert_eq!(backend.poll_action(), Some(Action::Disconnect));
//! backend.handle_done(true);
//! assert_eq!(backend.poll_action(), Some(Action::Write(Closed)));
//! assert_eq!(backend.poll_action(), Some(Action::Remove));
//! ```

mod backend;
mod frontend;

use crate::XenbusState;

pub use backend::{Backend, BackendNodes};
pub use frontend::{Frontend, FrontendNodes};

/// The next step of one end of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Write this state to the node `state` of this end.
    ///
    /// Write only if the node still exists, and check this in the same transaction. Otherwise, if
    /// the toolstack has just removed the device, the write would create the node again.
    Write(XenbusState),
    /// Publish how to connect to this end: ring references and event channels. Only a frontend asks
    /// for this. Call `handle_done` when the nodes are written.
    Publish,
    /// Connect to the other end, whose nodes can be read now. Call `handle_done` when that has
    /// succeeded or failed.
    Connect,
    /// Release everything that belongs to the other end. Call `handle_done` afterwards.
    Disconnect,
    /// The device is gone. Remove the watches on its nodes, and drop the machine: it asks for
    /// nothing more.
    Remove,
}

/// How far one end is connected to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Link {
    #[default]
    Down,
    /// The frontend has published its rings.
    Published,
    Up,
    /// The caller carries out an action, after which the link is as given, or down if it fails.
    Busy(Then),
    /// The device is gone.
    Removed,
}

/// The link after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Down,
    Published,
    Up,
}

impl Link {
    fn is_idle(self) -> bool {
        !matches!(self, Link::Busy(_) | Link::Removed)
    }

    /// Returns the link after the machine has asked for an action.
    fn after(self, action: Action) -> Link {
        match action {
            Action::Write(_) => self,
            Action::Publish => Link::Busy(Then::Published),
            Action::Connect => Link::Busy(Then::Up),
            Action::Disconnect => Link::Busy(Then::Down),
            Action::Remove => Link::Removed,
        }
    }

    /// Returns the link once an action is done, and whether it has failed.
    fn done(self, succeeded: bool) -> (Link, bool) {
        match self {
            Link::Busy(Then::Published) if succeeded => (Link::Published, false),
            Link::Busy(Then::Up) if succeeded => (Link::Up, false),
            Link::Busy(Then::Down) => (Link::Down, false),
            Link::Busy(_) => (Link::Down, true),
            idle => (idle, false),
        }
    }
}
