//! The commands of `xs`, each with its arguments.

pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod dump;
pub(crate) mod info;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod nodes;
pub(crate) mod ping;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod transaction;
pub(crate) mod wait;
pub(crate) mod watch;
