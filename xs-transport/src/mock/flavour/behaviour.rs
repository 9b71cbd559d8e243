//! The differences between daemons: one field for each, whose value a flavour sets.

use xs_proto::{ErrorCode, Features, MessageType};

use crate::mock::store::quota::Quota;
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
    /// The features that the daemon offers in the page that a guest shares with it. Changed in Xen
    /// 4.22.
    pub(crate) ring_features: Features,

    // Arguments.
    /// How the daemon reads a domain id. Changed in Xen 4.22.
    pub(crate) domain_ids: DomainIds,
    /// How the daemon reads the number in a permission.
    pub(crate) permission_ids: PermissionIds,
    /// The error for a path argument that is not exactly one string. `None`: the daemon replies
    /// with the error that it met last, whatever the request was. Changed by Xen 4.20.
    pub(crate) one_path_error: Option<&'static ErrorCode>,
    /// The treatment of the NUL after the last argument.
    pub(crate) final_nul: FinalNul,
    /// Whether SET_TARGET accepts further strings after the target.
    pub(crate) set_target_ignores_extra_arguments: bool,
    /// Whether RESET_WATCHES is accepted inside a transaction. A daemon that does not accept it
    /// crashes; here the connection is closed. Changed by Xen 4.20.
    pub(crate) resets_watches_in_transactions: bool,
    /// Whether SET_PERMS accepts `DOMID_ANY`. A daemon that does not accept it crashes; here the
    /// request fails with EINVAL. Changed in Xen 4.22.
    pub(crate) sets_permissions_of_any_domain: bool,
    /// Whether RELEASE is accepted for a domain that owns the permissions of a special watch. A
    /// daemon that does not accept it crashes; here the request fails with EINVAL. Changed in Xen
    /// 4.22.
    pub(crate) releases_owners_of_special_nodes: bool,
    /// The types of requests that accept the path of a special watch, besides WATCH and UNWATCH.
    /// Changed by Xen 4.20.
    pub(crate) special_paths: &'static [MessageType],
    /// The form of the path of a special watch. Changed by Xen 4.20.
    pub(crate) special_watches: SpecialWatches,
    /// The lengths that paths may have, besides the quota. Changed by Xen 4.20.
    pub(crate) path_lengths: PathLengths,

    // Nodes and permissions.
    /// The order of the steps of a request that changes nodes.
    pub(crate) node_changes: NodeChanges,
    /// Whether a missing node is reported with EACCES to a domain that has no rights on the
    /// nearest existing ancestor.
    pub(crate) hides_missing_nodes: bool,
    /// How the entries of a node's permissions are evaluated.
    pub(crate) permission_check: PermissionCheck,
    /// Whether an entry for `DOMID_ANY` applies to all domains. Changed in Xen 4.22.
    pub(crate) knows_any_domain: bool,
    /// Whether the owner in SET_PERMS has to exist.
    pub(crate) owners_must_exist: bool,
    /// Whether each domain may read the permissions of `@releaseDomain` and receives its events.
    /// Changed in Xen 4.22.
    pub(crate) releases_are_public: bool,
    /// Whether changed permissions of a special watch fire watches. Changed by Xen 4.20.
    pub(crate) special_permission_changes_fire: bool,
    /// Whether DIRECTORY sorts the names. Otherwise they are in the order of creation.
    pub(crate) sorts_children: bool,
    /// Whether a payload above the protocol's limit is cut off there, and the rest is taken for the
    /// next message. Otherwise the connection is closed.
    pub(crate) cuts_long_payloads: bool,
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
    /// The types of requests whose events precede their reply. `None`: all types.
    pub(crate) replies_after_events: Option<&'static [MessageType]>,
    /// The order of the events that one change causes on a connection.
    pub(crate) event_order: EventOrder,
    /// The treatment of an event that does not fit into a message.
    pub(crate) long_events: LongEvents,
    /// Whether equal pending events of one request are merged.
    pub(crate) merges_equal_events: bool,
    /// Whether WATCH accepts a depth. Changed in Xen 4.22.
    pub(crate) watches_have_depth: bool,
    /// Whether special events also fire for `@releaseDomain/<domid>` and the like. Changed in Xen
    /// 4.22.
    pub(crate) special_events_name_domain: bool,
    /// The error of UNWATCH for a path that is malformed. Changed by Xen 4.20.
    pub(crate) unwatch_malformed_path_error: &'static ErrorCode,
    /// The error of UNWATCH for an empty path. Changed by Xen 4.20.
    pub(crate) unwatch_empty_path_error: &'static ErrorCode,

    // Domains.
    /// The traces of a domain that its release removes. Changed in Xen 4.22.
    pub(crate) release: Release,
    /// The error of RELEASE and RESUME for a domain that is not introduced.
    pub(crate) unknown_domain_error: &'static ErrorCode,
    /// Whether INTRODUCE of a known domain has to repeat the frame of its page.
    pub(crate) second_introduce_repeats_frame: bool,
    /// Whether the connection of a known domain outlives INTRODUCE. Otherwise it is reset.
    pub(crate) second_introduce_keeps_connection: bool,
    /// Whether the port of INTRODUCE may be 0.
    pub(crate) introduces_with_port_0: bool,
    /// Whether RESUME accepts dom0.
    pub(crate) resumes_dom0: bool,
    /// Whether the target of SET_TARGET has to be introduced.
    pub(crate) target_must_be_introduced: bool,
    /// Whether a domain that has shut down is reported once. Otherwise it is reported whenever the
    /// hypervisor signals a change.
    pub(crate) reports_shutdown_once: bool,
    /// The commands of CONTROL. Changed by Xen 4.20, and in Xen 4.22.
    pub(crate) control: Control,
    /// Whether `quota set` of CONTROL also sets the quotas of domains that exist. Changed in Xen
    /// 4.22.
    pub(crate) control_sets_quotas_of_present_domains: bool,

    // Quotas.
    /// How nodes are counted. Changed by Xen 4.20.
    pub(crate) accounting: Accounting,
    /// Whether a domain's memory is limited.
    pub(crate) limits_memory: bool,
    /// Whether dom0's changes may exceed the memory of the domain that owns a node. Changed by Xen
    /// 4.20.
    pub(crate) dom0_exceeds_memory_of_owners: bool,
    /// Whether the memory of dom0 includes its pending messages. Changed by Xen 4.20.
    pub(crate) counts_messages_of_dom0: bool,
    /// Whether a domain's outstanding requests are limited.
    pub(crate) limits_outstanding_requests: bool,
    /// Whether nodes that the current request has created count against the quota. Changed in Xen
    /// 4.22.
    pub(crate) counts_nodes_of_request: bool,
    /// Whether nodes that the current transaction has created count against the quota before the
    /// commit. Changed by Xen 4.20, and in Xen 4.22.
    pub(crate) counts_nodes_of_transaction: bool,
    /// Whether a domain's count of nodes outlives the domain. Changed by Xen 4.20.
    pub(crate) keeps_node_counts: bool,
    /// The meaning of the values of quotas. Changed by Xen 4.20, and in Xen 4.22.
    pub(crate) bounds: Bounds,
    /// The error for too many watches. Changed in Xen 4.22.
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
    /// The transaction sees the store as it was at the start. If other nodes have changed by the
    /// commit, the changes are merged. If nodes that the transaction uses have changed, its
    /// requests are repeated, and it fails if an answer differs.
    Snapshot,
}

/// The order of the events that one change causes on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventOrder {
    /// In the order in which the watches were set.
    OldestFirst,
    /// From watches on the root to watches on the changed node and below. On each path from the
    /// newest watch to the oldest.
    TopDown,
}

/// The treatment of an event that does not fit into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LongEvents {
    /// It is lost.
    Dropped,
    /// The client receives E2BIG, as an error that answers no request.
    Reported,
}

/// The traces of a domain that its release removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The domain's nodes are removed and watches on them fire. Its entries in the permissions of
    /// other nodes stay and are void for a later domain of the same number.
    Nodes,
    /// The domain's nodes are removed and watches on them fire. Its entries in the permissions of
    /// other nodes are removed.
    NodesThenPermissions,
    /// The domain's nodes and its entries in the permissions of other nodes are removed, and no
    /// watch fires. RELEASE also does this for a domain that it does not know.
    NodesAndPermissions,
}

/// How a daemon reads a domain id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DomainIds {
    /// Like atoi(3), which ignores what follows the number.
    Prefix,
    /// Like strtoul(3), up to 65535 and with nothing after the number. An empty text is 0.
    Whole,
    /// Like `int_of_string` of OCaml. GET_DOMAIN_PATH and SET_TARGET use the first number in the
    /// text.
    Ocaml,
}

/// How a daemon reads the number in a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PermissionIds {
    /// Like strtol(3), with octal and hexadecimal numbers.
    AnyBase,
    /// Like `int_of_string` of OCaml.
    Ocaml,
}

/// The treatment of the NUL after the last argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinalNul {
    /// It belongs to each argument. Bytes after the last NUL are ignored, except by requests with
    /// one argument.
    Required,
    /// It may be missing in INTRODUCE, RESUME, IS_DOMAIN_INTRODUCED, CONTROL and TRANSACTION_END,
    /// which also ignore further arguments. In other requests nothing may follow it.
    Separates,
}

/// The form of the path of a special watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpecialWatches {
    /// Any text of up to 2,048 bytes. SET_PERMS knows `@introduceDomain` and `@releaseDomain` only,
    /// and ignores the transaction and their owners.
    Texts,
    /// A path that is checked like one of a node.
    Paths,
    /// The name of a node below the root, whatever characters it has. The events do not depend on
    /// the node.
    Nodes,
}

/// The lengths that paths may have, besides the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathLengths {
    /// The quota also applies to dom0. No absolute path has more than 3,072 bytes.
    QuotaForAll,
    /// The quota does not apply to dom0, whose paths can be of any length.
    QuotaForGuests,
    /// There is a fixed length of 1,024 bytes, except for watches: the stock configuration.
    Fixed,
}

/// The commands of CONTROL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// The commands of `xenstore-control`.
    Full(&'static ControlTexts),
    /// The commands of oxenstored. Any other one succeeds without effect.
    Ocaml {
        /// Whether `compact` replies with a text.
        has_reports: bool,
    },
}

/// The features that SET_FEATURE can switch off for a domain. The C daemon of Xen 4.22 has them.
pub(crate) const FEATURES: Features =
    Features::ERROR.union(Features::WATCH_DEPTH).union(Features::DOMID_ANY);

/// Quotas, each with its name and its description.
pub(crate) type QuotaTexts = &'static [(Quota, &'static str, &'static str)];

/// The texts that CONTROL replies with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ControlTexts {
    /// The reply to `help`.
    pub(crate) help: &'static str,
    /// The name of each quota and its description in the reply to `quota`.
    pub(crate) quotas: QuotaTexts,
    /// The same for `quota-soft`.
    pub(crate) soft_quotas: QuotaTexts,
    /// Whether `log` shows and sets switches, and `quota` shows the highest counts seen.
    pub(crate) has_switches_and_maxima: bool,
}

/// The [`Bound`] of each quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) nodes: Bound,
    pub(crate) watches: Bound,
    pub(crate) transactions: Bound,
    pub(crate) transaction_nodes: Bound,
    pub(crate) node_permissions: Bound,
    pub(crate) path_max: Bound,
    pub(crate) node_size: Bound,
}

/// The greatest number that the value of a quota allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The value.
    Value,
    /// One more than the value.
    OneMore,
    /// One less than the value. A value of 0 allows any number.
    Below,
    /// This number, whatever the value is.
    Fixed(u32),
    /// Any number.
    Unlimited,
}

impl Bound {
    /// Returns the greatest number that is allowed if the quota has this value.
    pub(crate) fn allowed(self, value: u32) -> u32 {
        match self {
            Bound::Value => value,
            Bound::OneMore => value.saturating_add(1),
            Bound::Below => value.checked_sub(1).unwrap_or(u32::MAX),
            Bound::Fixed(number) => number,
            Bound::Unlimited => u32::MAX,
        }
    }
}
