//! Requests: from a message to its answer, with the checks of the daemon in the order of the
//! daemon.
//!
//! [`dispatch`] accepts a request and hands it to one of the groups below. Where daemons differ, a
//! request asks the daemon's [`Behaviour`](super::flavour::behaviour::Behaviour).

mod answer;
mod args;
mod call;
mod control;
mod control_ocaml;
mod dispatch;
mod domains;
mod internal;
mod limits;
mod lookup;
mod nodes;
mod release;
mod replay;
mod settings;
mod transactions;
mod watches;
