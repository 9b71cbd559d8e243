//! The C daemon, release by release.

use xs_proto::{ErrorCode, Features, MessageType};

use super::behaviour::{
    Behaviour, Bound, Bounds, Control, DomainIds, EventOrder, FEATURES, FinalNul, Isolation,
    LongEvents, NodeChanges, PathLengths, PermissionCheck, PermissionIds, Release, SpecialWatches,
};
use super::control_texts::{CONTROL_4_17, CONTROL_4_20, CONTROL_4_22};
use crate::mock::store::tree::Accounting;

pub(super) const C_4_17: Behaviour = Behaviour {
    unsupported: &[
        MessageType::GetFeature,
        MessageType::SetFeature,
        MessageType::GetQuota,
        MessageType::SetQuota,
    ],
    checks_transaction_before_type: false,
    checks_privilege_before_transaction: true,
    privileged: &[
        MessageType::Control,
        MessageType::Introduce,
        MessageType::Release,
        MessageType::IsDomainIntroduced,
        MessageType::Resume,
        MessageType::SetTarget,
    ],
    target_lends_privilege: false,
    unknown_transaction_error: &ErrorCode::NoEntry,
    watch_reply_repeats_transaction: true,
    ring_features: Features::NONE,

    domain_ids: DomainIds::Prefix,
    permission_ids: PermissionIds::AnyBase,
    one_path_error: None,
    final_nul: FinalNul::Required,
    set_target_ignores_extra_arguments: true,
    resets_watches_in_transactions: false,
    sets_permissions_of_any_domain: true,
    releases_owners_of_special_nodes: true,
    special_paths: &[MessageType::SetPerms],
    special_watches: SpecialWatches::Texts,
    path_lengths: PathLengths::QuotaForAll,

    node_changes: NodeChanges::BottomUp,
    hides_missing_nodes: true,
    permission_check: PermissionCheck::FirstEntry,
    knows_any_domain: false,
    owners_must_exist: true,
    releases_are_public: false,
    special_permission_changes_fire: false,
    sorts_children: false,
    cuts_long_payloads: false,
    sends_long_directories: false,

    isolation: Isolation::TrackedNodes,
    transaction_requests_max: usize::MAX,

    replies_after_events: None,
    event_order: EventOrder::OldestFirst,
    long_events: LongEvents::Dropped,
    merges_equal_events: true,
    watches_have_depth: false,
    special_events_name_domain: false,
    // The daemon does not validate the path, and no watch has it.
    unwatch_malformed_path_error: &ErrorCode::NoEntry,
    unwatch_empty_path_error: &ErrorCode::NoEntry,

    release: Release::Nodes,
    unknown_domain_error: &ErrorCode::NoEntry,
    second_introduce_repeats_frame: false,
    second_introduce_keeps_connection: false,
    introduces_with_port_0: false,
    resumes_dom0: false,
    target_must_be_introduced: true,
    reports_shutdown_once: true,
    control: Control::Full(&CONTROL_4_17),
    control_sets_quotas_of_present_domains: true,

    accounting: Accounting { node_header: 24, counts_special_nodes: false, counts_root: true },
    limits_memory: true,
    dom0_exceeds_memory_of_owners: false,
    counts_messages_of_dom0: false,
    limits_outstanding_requests: true,
    counts_nodes_of_request: true,
    counts_nodes_of_transaction: false,
    keeps_node_counts: false,
    bounds: Bounds {
        nodes: Bound::Value,
        watches: Bound::OneMore,
        transactions: Bound::OneMore,
        transaction_nodes: Bound::Value,
        node_permissions: Bound::Value,
        path_max: Bound::Value,
        node_size: Bound::Below,
    },
    watch_quota_error: &ErrorCode::TooBig,
    quota_error: &ErrorCode::NoSpace,
};

pub(super) const C_4_20: Behaviour = Behaviour {
    one_path_error: Some(&ErrorCode::Invalid),
    resets_watches_in_transactions: true,
    special_paths: &[MessageType::GetPerms, MessageType::SetPerms],
    special_watches: SpecialWatches::Paths,
    path_lengths: PathLengths::QuotaForGuests,
    special_permission_changes_fire: true,
    unwatch_malformed_path_error: &ErrorCode::Invalid,
    unwatch_empty_path_error: &ErrorCode::Invalid,
    control: Control::Full(&CONTROL_4_20),
    accounting: Accounting { node_header: 16, counts_special_nodes: true, counts_root: true },
    dom0_exceeds_memory_of_owners: true,
    counts_messages_of_dom0: true,
    counts_nodes_of_transaction: true,
    bounds: Bounds { node_size: Bound::Value, ..C_4_17.bounds },
    ..C_4_17
};

pub(super) const C_4_22: Behaviour = Behaviour {
    unsupported: &[],
    privileged: &[
        MessageType::Control,
        MessageType::Introduce,
        MessageType::Release,
        MessageType::IsDomainIntroduced,
        MessageType::Resume,
        MessageType::SetTarget,
        MessageType::SetFeature,
        MessageType::GetQuota,
        MessageType::SetQuota,
    ],
    ring_features: FEATURES,
    domain_ids: DomainIds::Whole,
    sets_permissions_of_any_domain: false,
    releases_owners_of_special_nodes: false,
    knows_any_domain: true,
    releases_are_public: true,
    watches_have_depth: true,
    special_events_name_domain: true,
    release: Release::NodesThenPermissions,
    control: Control::Full(&CONTROL_4_22),
    control_sets_quotas_of_present_domains: false,
    counts_nodes_of_request: false,
    counts_nodes_of_transaction: false,
    bounds: Bounds {
        nodes: Bound::Below,
        watches: Bound::Below,
        transactions: Bound::Below,
        transaction_nodes: Bound::Below,
        node_permissions: Bound::Below,
        path_max: Bound::Below,
        node_size: Bound::Below,
    },
    watch_quota_error: &ErrorCode::NoSpace,
    ..C_4_20
};
