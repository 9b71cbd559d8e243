//! The texts that the C daemon's CONTROL replies with, release by release.

use super::behaviour::ControlTexts;
use crate::mock::store::quota::Quota;

pub(super) const CONTROL_4_17: ControlTexts = ControlTexts {
    help: "check\t\n\
        log\ton|off\n\
        live-update\t[-c <cmdline>] [-F] [-t <timeout>] <file>\n\
        \x20   Default timeout is 60 seconds.\n\
        logfile\t<file>\n\
        memreport\t[<file>]\n\
        print\t<string>\n\
        quota\t[set <name> <val>|<domid>]\n\
        quota-soft\t[set <name> <val>]\n\
        help\t\n",
    quotas: &[
        (Quota::Nodes, "nodes", "Nodes per domain"),
        (Quota::Watches, "watches", "Watches per domain"),
        (Quota::Transactions, "transactions", "Transactions per domain"),
        (Quota::Outstanding, "outstanding", "Outstanding requests per domain"),
        (
            Quota::TransactionNodes,
            "transaction-nodes",
            "Max. number of accessed nodes per transaction",
        ),
        (Quota::Memory, "memory", "Total Xenstore memory per domain (error level)"),
        (Quota::NodeSize, "node-size", "Max. size of a node"),
        (Quota::PathMax, "path-max", "Max. length of a node path"),
        (Quota::NodePermissions, "permissions", "Max. number of permissions per node"),
    ],
    soft_quotas: &[(
        Quota::SoftMemory,
        "memory",
        "Total Xenstore memory per domain (warning level)",
    )],
    has_switches_and_maxima: false,
};

pub(super) const CONTROL_4_20: ControlTexts = ControlTexts {
    help: "check           \n\
        log             [on|off|+<switch>|-<switch>]\n\
        live-update     [-c <cmdline>] [-F] [-t <timeout>] <file>\n\
        \x20   Default timeout is 60 seconds.\n\
        logfile         <file>\n\
        memreport       [<file>]\n\
        print           <string>\n\
        quota           [set <name> <val>|<domid>|max [-r]]\n\
        quota-soft      [set <name> <val>]\n\
        help            \n",
    quotas: &quotas("Total Xenstore memory per domain (error level)"),
    has_switches_and_maxima: true,
    ..CONTROL_4_17
};

pub(super) const CONTROL_4_22: ControlTexts = ControlTexts {
    help: "check           \n\
        log             [on|off|+<switch>|-<switch>]\n\
        live-update     [-c <cmdline>] [-F] [-t <timeout>] [-v <version>] <file>\n\
        \x20   Default timeout is 60 seconds, default version is 2.\n\
        logfile         <file>\n\
        memreport       [<file>]\n\
        print           <string>\n\
        quota           [set <name> <val>|<domid>|max [-r]]\n\
        quota-soft      [set <name> <val>]\n\
        help            \n",
    quotas: &quotas("Total Xenstore memory per domain"),
    soft_quotas: &[(Quota::SoftMemory, "memory", "Total Xenstore memory per domain")],
    ..CONTROL_4_20
};

/// The quotas of Xen 4.20 and later, which differ in the description of the one for memory.
const fn quotas(memory: &'static str) -> [(Quota, &'static str, &'static str); 9] {
    [
        (Quota::Nodes, "nodes", "Nodes per domain"),
        (Quota::Watches, "watches", "Watches per domain"),
        (Quota::Outstanding, "outstanding", "Outstanding requests per domain"),
        (Quota::Memory, "memory", memory),
        (Quota::Transactions, "transactions", "Active transactions per domain"),
        (
            Quota::TransactionNodes,
            "transaction-nodes",
            "Max. number of accessed nodes per transaction",
        ),
        (Quota::NodePermissions, "node-permissions", "Max. number of permissions per node"),
        (Quota::PathMax, "path-max", "Max. length of a node path"),
        (Quota::NodeSize, "node-size", "Max. size of a node"),
    ]
}
