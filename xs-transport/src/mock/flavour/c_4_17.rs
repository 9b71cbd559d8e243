//! The C daemon of Xen 4.17.

use xs_proto::{ErrorCode, MessageType};

use super::behaviour::{
    Behaviour, ControlCommands, Isolation, NodeChanges, PermissionCheck, Release,
};
use crate::mock::store::tree::Accounting;

pub(super) const BEHAVIOUR: Behaviour = Behaviour {
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

    strict_domain_ids: &[],
    domain_queries_ignore_extra_arguments: false,
    set_target_ignores_extra_arguments: true,
    resets_watches_in_transactions: false,
    sets_permissions_of_any_domain: true,
    releases_owners_of_special_nodes: true,
    transaction_end_ignores_extra_arguments: false,
    special_paths: &[],
    path_quota_binds_dom0: true,

    node_changes: NodeChanges::BottomUp,
    hides_missing_nodes: true,
    permission_check: PermissionCheck::FirstEntry,
    knows_any_domain: false,
    special_permission_changes_fire: false,
    sorts_children: false,
    sends_long_directories: false,

    isolation: Isolation::TrackedNodes,
    transaction_requests_max: usize::MAX,

    events_follow_reply: |_| false,
    merges_equal_events: true,
    watches_have_depth: false,
    root_watches_see_special_events: true,
    special_events_name_domain: false,
    // The daemon does not validate the path, and no watch has it.
    unwatch_malformed_path_error: &ErrorCode::NoEntry,
    unwatch_empty_path_error: &ErrorCode::NoEntry,

    release: Release::RemovesNodes,
    unknown_domain_error: &ErrorCode::NoEntry,
    resumes_dom0: false,
    target_must_be_introduced: true,
    reports_shutdown_once: true,
    control: ControlCommands::Full,

    accounting: Accounting { node_header: 24, counts_special_nodes: false, counts_root: true },
    limits_memory: true,
    limits_outstanding_requests: true,
    counts_nodes_in_transactions: false,
    // The daemon refuses a watch or a transaction when the domain has more than the quota.
    watches_allowed: |quota| quota.saturating_add(1),
    transactions_allowed: |quota| quota.saturating_add(1),
    transaction_nodes_allowed: |quota| quota,
    permissions_allowed: |quota| quota,
    watch_quota_error: &ErrorCode::TooBig,
    quota_error: &ErrorCode::NoSpace,
};
