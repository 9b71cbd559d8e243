//! Requests on nodes.

mod bottom_up;
mod change;
mod read;
mod top_down;
