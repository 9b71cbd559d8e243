//! Watches: their events and errors, their callbacks, and their removal.

#[path = "../support/mod.rs"]
mod support;

mod callbacks;
mod events;
mod removal;
mod reset;
mod set_model;
mod sets;
