//! oxenstored, the OCaml daemon, release by release.

use xs_proto::{ErrorCode, Features, MessageType};

use super::behaviour::{
    Behaviour, Bound, Bounds, Control, DomainIds, EventOrder, FinalNul, Isolation, LongEvents,
    NodeChanges, PathLengths, PermissionCheck, PermissionIds, Release, SpecialWatches,
};
use crate::mock::store::tree::Accounting;

pub(super) const OX_4_17: Behaviour = Behaviour {
    unsupported: &[
        MessageType::DirectoryPart,
        MessageType::GetFeature,
        MessageType::SetFeature,
        MessageType::GetQuota,
        MessageType::SetQuota,
    ],
    checks_transaction_before_type: true,
    checks_privilege_before_transaction: false,
    // A guest's CONTROL succeeds without effect.
    privileged: &[
        MessageType::Introduce,
        MessageType::Release,
        MessageType::IsDomainIntroduced,
        MessageType::Resume,
        MessageType::SetTarget,
    ],
    target_lends_privilege: true,
    unknown_transaction_error: &ErrorCode::Io,
    watch_reply_repeats_transaction: false,
    ring_features: Features::RECONNECTION,

    domain_ids: DomainIds::Ocaml,
    permission_ids: PermissionIds::Ocaml,
    one_path_error: Some(&ErrorCode::Invalid),
    final_nul: FinalNul::Separates,
    set_target_ignores_extra_arguments: false,
    resets_watches_in_transactions: true,
    sets_permissions_of_any_domain: true,
    releases_owners_of_special_nodes: true,
    special_paths: &[MessageType::Read, MessageType::Directory, MessageType::GetPerms],
    special_watches: SpecialWatches::Nodes,
    path_lengths: PathLengths::Fixed,

    node_changes: NodeChanges::TopDown { value_max: 2048 },
    hides_missing_nodes: false,
    permission_check: PermissionCheck::SumWithTarget,
    knows_any_domain: false,
    owners_must_exist: false,
    releases_are_public: false,
    special_permission_changes_fire: true,
    sorts_children: true,
    cuts_long_payloads: true,
    sends_long_directories: true,

    isolation: Isolation::Snapshot,
    transaction_requests_max: 1024,

    replies_after_events: Some(&[
        MessageType::TransactionEnd,
        MessageType::Introduce,
        MessageType::Release,
    ]),
    event_order: EventOrder::TopDown,
    long_events: LongEvents::Reported,
    merges_equal_events: false,
    watches_have_depth: false,
    special_events_name_domain: false,
    unwatch_malformed_path_error: &ErrorCode::NoEntry,
    unwatch_empty_path_error: &ErrorCode::Invalid,

    release: Release::NodesAndPermissions,
    unknown_domain_error: &ErrorCode::Invalid,
    second_introduce_repeats_frame: true,
    second_introduce_keeps_connection: true,
    introduces_with_port_0: true,
    resumes_dom0: true,
    target_must_be_introduced: false,
    reports_shutdown_once: false,
    control: Control::Ocaml { has_reports: false },
    control_sets_quotas_of_present_domains: false,

    accounting: Accounting { node_header: 24, counts_special_nodes: true, counts_root: false },
    limits_memory: false,
    dom0_exceeds_memory_of_owners: true,
    counts_messages_of_dom0: false,
    limits_outstanding_requests: false,
    counts_nodes_of_request: true,
    counts_nodes_of_transaction: true,
    keeps_node_counts: true,
    bounds: Bounds {
        nodes: Bound::Value,
        watches: Bound::Fixed(101),
        transactions: Bound::OneMore,
        transaction_nodes: Bound::Unlimited,
        node_permissions: Bound::Unlimited,
        path_max: Bound::Fixed(1024),
        node_size: Bound::Unlimited,
    },
    watch_quota_error: &ErrorCode::Quota,
    quota_error: &ErrorCode::Quota,
};

pub(super) const OX_4_20: Behaviour = Behaviour {
    control: Control::Ocaml { has_reports: true },
    keeps_node_counts: false,
    ..OX_4_17
};

pub(super) const OX_4_22: Behaviour = Behaviour { ..OX_4_20 };
