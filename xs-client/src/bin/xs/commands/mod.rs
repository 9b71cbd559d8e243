//! The commands of `xs`, each with its arguments.

pub(crate) mod chmod;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod cp;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod edit;
pub(crate) mod exists;
pub(crate) mod find;
pub(crate) mod get_perms;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mkdir;
pub(crate) mod nodes;
pub(crate) mod ping;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod transaction;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod write;
