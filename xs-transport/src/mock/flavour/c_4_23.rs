//! The C daemon of Xen 4.23.

use xs_proto::{ErrorCode, MessageType};

use super::behaviour::Behaviour;
use super::c_4_17;
use crate::mock::store::tree::Accounting;

pub(super) const BEHAVIOUR: Behaviour = Behaviour {
    unsupported: &[],
    privileged: &[
        MessageType::Control,
        MessageType::Introduce,
        MessageType::Release,
        MessageType::IsDomainIntroduced,
        MessageType::Resume,
        MessageType::SetTarget,
        MessageType::GetFeature,
        MessageType::SetFeature,
        MessageType::GetQuota,
        MessageType::SetQuota,
    ],
    strict_domain_ids: &[
        MessageType::Introduce,
        MessageType::Release,
        MessageType::IsDomainIntroduced,
        MessageType::Resume,
        MessageType::SetTarget,
        MessageType::GetDomainPath,
    ],
    resets_watches_in_transactions: true,
    sets_permissions_of_any_domain: false,
    releases_owners_of_special_nodes: false,
    special_paths: &[MessageType::GetPerms],
    path_quota_binds_dom0: false,
    knows_any_domain: true,
    special_permission_changes_fire: true,
    watches_have_depth: true,
    root_watches_see_special_events: false,
    special_events_name_domain: true,
    unwatch_malformed_path_error: &ErrorCode::Invalid,
    unwatch_empty_path_error: &ErrorCode::Invalid,
    accounting: Accounting { node_header: 16, counts_special_nodes: true, counts_root: true },
    counts_nodes_in_transactions: true,
    watches_allowed: less_than,
    transactions_allowed: less_than,
    transaction_nodes_allowed: |quota| if quota == 0 { u32::MAX } else { quota },
    permissions_allowed: less_than,
    watch_quota_error: &ErrorCode::NoSpace,
    ..c_4_17::BEHAVIOUR
};

/// The count has to stay below the quota. A quota of 0 means no limit.
fn less_than(quota: u32) -> u32 {
    quota.checked_sub(1).unwrap_or(u32::MAX)
}
