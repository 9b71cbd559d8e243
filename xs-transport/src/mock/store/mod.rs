//! The tree of nodes with its permissions, transactions and quotas. Pure data structures that know
//! neither connections nor requests.

pub(crate) mod name_list;
pub(crate) mod node;
pub(crate) mod path;
pub(crate) mod permissions;
pub(crate) mod quota;
pub(crate) mod scope;
pub(crate) mod snapshot;
pub(crate) mod tracked;
pub(crate) mod transaction;
pub(crate) mod tree;
pub(crate) mod view;

pub(crate) use self::path::join;
pub(crate) use self::tree::Store;
