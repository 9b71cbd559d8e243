//! Aids for tests of programs that use Xenstore: faults, recorded requests, an unreliable
//! transport, and a store written down as text.

pub(super) mod fault;
pub(super) mod record;
pub mod text;
pub(super) mod unreliable;
