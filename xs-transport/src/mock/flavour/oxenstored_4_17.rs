//! oxenstored, the OCaml daemon, of Xen 4.17.

use xs_proto::{ErrorCode, MessageType};

use super::behaviour::{
    Behaviour, ControlCommands, Isolation, NodeChanges, PermissionCheck, Release,
};
use crate::mock::store::tree::Accounting;

pub(super) const BEHAVIOUR: Behaviour = Behaviour {
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

    strict_domain_ids: &[
        MessageType::Release,
        MessageType::IsDomainIntroduced,
        MessageType::Resume,
    ],
    domain_queries_ignore_extra_arguments: true,
    set_target_ignores_extra_arguments: false,
    resets_watches_in_transactions: true,
    sets_permissions_of_any_domain: true,
    releases_owners_of_special_nodes: true,
    transaction_end_ignores_extra_arguments: true,
    special_paths: &[MessageType::Read, MessageType::Directory, MessageType::GetPerms],
    path_quota_binds_dom0: true,

    node_changes: NodeChanges::TopDown { value_max: 2048 },
    hides_missing_nodes: false,
    permission_check: PermissionCheck::SumWithTarget,
    knows_any_domain: false,
    special_permission_changes_fire: true,
    sorts_children: true,
    sends_long_directories: true,

    isolation: Isolation::Snapshot,
    transaction_requests_max: 1024,

    events_follow_reply: |msg_type| {
        use MessageType::{Introduce, Release, TransactionEnd};
        !matches!(msg_type, Some(TransactionEnd | Introduce | Release))
    },
    merges_equal_events: false,
    watches_have_depth: false,
    root_watches_see_special_events: true,
    special_events_name_domain: false,
    unwatch_malformed_path_error: &ErrorCode::NoEntry,
    unwatch_empty_path_error: &ErrorCode::Invalid,

    release: Release::RemovesNodesAndPermissions,
    unknown_domain_error: &ErrorCode::Invalid,
    resumes_dom0: true,
    target_must_be_introduced: false,
    reports_shutdown_once: false,
    control: ControlCommands::QuotaOnly,

    accounting: Accounting { node_header: 24, counts_special_nodes: false, counts_root: false },
    limits_memory: false,
    limits_outstanding_requests: false,
    counts_nodes_in_transactions: false,
    // The daemon has a fixed limit and counts no permissions.
    watches_allowed: |_| 101,
    transactions_allowed: |quota| quota.saturating_add(1),
    transaction_nodes_allowed: |_| u32::MAX,
    permissions_allowed: |_| u32::MAX,
    watch_quota_error: &ErrorCode::Quota,
    quota_error: &ErrorCode::Quota,
};
