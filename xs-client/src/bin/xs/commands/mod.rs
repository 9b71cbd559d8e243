//! The commands of `xs`, each with its arguments.

pub(crate) mod chmod;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod cp;
pub(crate) mod diff;
pub(crate) mod domain;
pub(crate) mod dump;
pub(crate) mod edit;
pub(crate) mod exists;
pub(crate) mod features;
pub(crate) mod find;
pub(crate) mod get_perms;
#[cfg(all(target_os = "linux", feature = "xen"))]
pub(crate) mod host;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mkdir;
pub(crate) mod nodes;
pub(crate) mod ping;
pub(crate) mod proxy;
pub(crate) mod quota;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod serve;
#[cfg(feature = "shell")]
pub(crate) mod shell;
#[cfg(feature = "top")]
pub(crate) mod top;
pub(crate) mod transaction;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod write;
