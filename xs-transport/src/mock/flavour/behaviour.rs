//! The differences between daemons: one field for each, whose value a flavour sets.

use xs_proto::{ErrorCode, MessageType};

use crate::mock::store::tree::Accounting;

/// The behaviour of a daemon where daemons differ.
#[derive(Debug)]
pub(crate) struct Behaviour {
    // Accepting a request.
    /// The types of requests that the daemon answers with ENOSYS.
    pub(crate) unsupported: &'static [MessageType],
    /// Whether an unknown transaction is reported before an unsupported type.
    pub(crate) checks_transaction_before_type: bool,
    /// Whether a guest's privileged request is refused before its transaction is looked up.
    pub(crate) checks_privilege_before_transaction: bool,
    /// The types of requests that only a privileged domain may make.
    pub(crate) privileged: &'static [MessageType],
    /// Whether a domain whose target is dom0 is privileged.
    pub(crate) target_lends_privilege: bool,
    /// The error for a transaction that does not exist.
    pub(crate) unknown_transaction_error: &'static ErrorCode,
    /// Whether the reply to WATCH and UNWATCH repeats the transaction of the request. These
    /// requests are never part of a transaction.
    pub(crate) watch_reply_repeats_transaction: bool,

    // Arguments.
    /// The types of requests whose domain ids have to be decimal numbers in range. In other
    /// requests the daemon reads them like atoi(3).
    pub(crate) strict_domain_ids: &'static [MessageType],
    /// Whether RESUME and IS_DOMAIN_INTRODUCED accept further strings after the domain id.
    pub(crate) domain_queries_ignore_extra_arguments: bool,
    /// Whether SET_TARGET accepts further strings after the target.
    pub(crate) set_target_ignores_extra_arguments: bool,
    /// Whether RESET_WATCHES is accepted inside a transaction. A daemon that does not accept it
    /// crashes; here the request fails with EINVAL.
    pub(crate) resets_watches_in_transactions: bool,
    /// Whether SET_PERMS accepts `DOMID_ANY`. A daemon that does not accept it crashes; here the
    /// request fails with EINVAL.
    pub(crate) sets_permissions_of_any_domain: bool,
    /// Whether RELEASE is accepted for a domain that owns the permissions of a special watch. A
    /// daemon that does not accept it crashes; here the request fails with EINVAL.
    pub(crate) releases_owners_of_special_nodes: bool,
    /// Whether TRANSACTION_END accepts further strings after `T` or `F`.
    pub(crate) transaction_end_ignores_extra_arguments: bool,
    /// The types of requests that accept the path of a special watch, besides WATCH, UNWATCH and
    /// SET_PERMS.
    pub(crate) special_paths: &'static [MessageType],
    /// Whether the quota for path lengths applies to dom0.
    pub(crate) path_quota_binds_dom0: bool,

    // Nodes and permissions.
    /// The order of the steps of a request that changes nodes.
    pub(crate) node_changes: NodeChanges,
    /// Whether a missing node is reported with EACCES to a domain that has no rights on the
    /// nearest existing ancestor.
    pub(crate) hides_missing_nodes: bool,
    /// How the entries of a node's permissions are evaluated.
    pub(crate) permission_check: PermissionCheck,
    /// Whether an entry for `DOMID_ANY` applies to all domains.
    pub(crate) knows_any_domain: bool,
    /// Whether changed permissions of a special watch fire watches.
    pub(crate) special_permission_changes_fire: bool,
    /// Whether DIRECTORY sorts the names. Otherwise they are in the order of creation.
    pub(crate) sorts_children: bool,
    /// Whether DIRECTORY sends a list that is longer than the protocol's limit. Otherwise it fails
    /// with E2BIG.
    pub(crate) sends_long_directories: bool,

    // Transactions.
    /// How a transaction is isolated from other changes.
    pub(crate) isolation: Isolation,
    /// The maximum number of requests in a guest's transaction. A full transaction accepts no
    /// further request, not even TRANSACTION_END.
    pub(crate) transaction_requests_max: usize,

    // Events.
    /// Whether the events that a request of this type causes follow its reply. Otherwise they
    /// precede it. The type is `None` if it is unknown.
    pub(crate) events_follow_reply: fn(Option<MessageType>) -> bool,
    /// Whether equal pending events of one request are merged.
    pub(crate) merges_equal_events: bool,
    /// Whether WATCH accepts a depth.
    pub(crate) watches_have_depth: bool,
    /// Whether a watch on the root fires for special events.
    pub(crate) root_watches_see_special_events: bool,
    /// Whether special events also fire for `@releaseDomain/<domid>` and the like.
    pub(crate) special_events_name_domain: bool,
    /// The error of UNWATCH for a path that is malformed.
    pub(crate) unwatch_malformed_path_error: &'static ErrorCode,
    /// The error of UNWATCH for an empty path.
    pub(crate) unwatch_empty_path_error: &'static ErrorCode,

    // Domains.
    /// The treatment of a released domain's nodes and permissions.
    pub(crate) release: Release,
    /// The error of RELEASE and RESUME for a domain that is not introduced.
    pub(crate) unknown_domain_error: &'static ErrorCode,
    /// Whether RESUME accepts dom0.
    pub(crate) resumes_dom0: bool,
    /// Whether the target of SET_TARGET has to be introduced.
    pub(crate) target_must_be_introduced: bool,
    /// Whether a domain that has shut down is reported once. Otherwise it is reported whenever the
    /// hypervisor signals a change.
    pub(crate) reports_shutdown_once: bool,
    /// The commands of CONTROL.
    pub(crate) control: ControlCommands,

    // Quotas.
    /// How nodes are counted.
    pub(crate) accounting: Accounting,
    /// Whether a domain's memory is limited.
    pub(crate) limits_memory: bool,
    /// Whether a domain's outstanding requests are limited.
    pub(crate) limits_outstanding_requests: bool,
    /// Whether the nodes that a transaction creates count before its commit.
    pub(crate) counts_nodes_in_transactions: bool,
    /// The number of watches that a value of the quota allows.
    pub(crate) watches_allowed: fn(quota: u32) -> u32,
    /// The number of open transactions that a value of the quota allows.
    pub(crate) transactions_allowed: fn(quota: u32) -> u32,
    /// The number of nodes in a transaction that a value of the quota allows.
    pub(crate) transaction_nodes_allowed: fn(quota: u32) -> u32,
    /// The number of permissions of a node that a value of the quota allows.
    pub(crate) permissions_allowed: fn(quota: u32) -> u32,
    /// The error for too many watches.
    pub(crate) watch_quota_error: &'static ErrorCode,
    /// The error for too many nodes, transactions or requests in a transaction.
    pub(crate) quota_error: &'static ErrorCode,
}

/// The order of the steps of a request that changes nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeChanges {
    /// Rights are checked first. Then the node and its missing parents are created from the bottom
    /// up, and a failure undoes them. A guest owns the nodes that it creates, and a quota bounds
    /// the size of each node.
    BottomUp,
    /// Missing parents are created from the top down, each like a node of its own, and stay if a
    /// later step fails. A new node has the owner of its parent. Values have a maximum length.
    TopDown {
        /// The maximum length of a value.
        value_max: usize,
    },
}

/// How the entries of a node's permissions are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PermissionCheck {
    /// The first entry that names the domain or its target decides. Entries that are older than the
    /// domain are void.
    FirstEntry,
    /// The domain has its own rights and those of its target, and all rights if the target is dom0.
    SumWithTarget,
}

/// How a transaction is isolated from other changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// The transaction sees each node as it was at the first access, and fails if any of these
    /// nodes has changed.
    TrackedNodes,
    /// The transaction sees the store as it was at the start. If the store has changed, the
    /// requests are repeated, and the transaction fails if an answer differs.
    Snapshot,
}

/// The treatment of a released domain's nodes and permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The domain's nodes are removed and watches on them fire. Its entries in the permissions of
    /// other nodes stay and are void for a later domain of the same number.
    RemovesNodes,
    /// The domain's nodes and its entries in the permissions of other nodes are removed, and no
    /// watch fires. RELEASE also does this for a domain that it does not know.
    RemovesNodesAndPermissions,
}

/// The commands of CONTROL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlCommands {
    /// The commands of `xenstore-control`.
    Full,
    /// `quota <domid>` reports a domain's nodes to dom0. Anything else succeeds without effect.
    QuotaOnly,
}
